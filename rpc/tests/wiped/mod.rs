//! Secrets are gone from a process's memory after their last use.
//!
//! A child process holds a channel, closes it and waits; its parent, which was
//! the other end and so can compute every secret, searches the child's core for
//! them. Linux only, because only there a process's memory is a file.

#[path = "../common/mod.rs"]
mod common;
pub(crate) mod core;
pub(crate) mod group;
pub(crate) mod ml_kem_secrets;
pub(crate) mod noise;
pub(crate) mod process;
pub(crate) mod schedule;
pub(crate) mod table;
pub(crate) mod tls;

use process::Pipe;

/// The test that a child process runs; in any other process it does nothing.
pub(crate) const ENTRY: &str = "child_process";

/// Runs what the parent names first.
pub(crate) fn child() {
    let Some(mut pipe) = Pipe::of_child() else {
        return;
    };
    match pipe.receive().as_slice() {
        b"noise" => noise::child(pipe),
        b"control" => noise::control(pipe),
        b"serve" => tls::serve(pipe),
        b"connect" => tls::connect(pipe),
        other => panic!("no case {other:?}"),
    }
}

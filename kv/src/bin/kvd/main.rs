//! `kvd`: the node.

mod control;
mod daemon;
mod demo;
mod failures;
mod join;
mod run;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sealmoot_authn::cli::{self, CommonArgs, Failure, Output};

// What TLS and ring leave in freed memory is wiped with the memory.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// The node of an encrypted, leaderless quorum store
#[derive(Debug, Parser)]
#[command(name = "kvd", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster in a temporary directory and show what it promises
    Demo(demo::DemoArgs),
    /// Answer an invite: make this directory a node and run it
    Join(join::JoinArgs),
    /// Run a node that has joined
    Start(run::StartArgs),
    /// Stop a running node, letting requests in progress end
    Stop(control::DataArgs),
    /// Say how a node is
    Status(control::StatusArgs),
    /// Authenticate every byte of a stopped node
    Verify(verify::VerifyArgs),
    #[command(flatten)]
    About(cli::About),
}

/// Where a node's root key is looked for.
#[derive(Debug, Clone, Default, clap::Args)]
struct KeyArgs {
    /// The node's root key, where it is not in the configuration directory
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::run(
        "kvd",
        |arguments: &Arguments| arguments.common.clone(),
        dispatch,
    )
}

fn dispatch(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    let common = arguments.common;
    match arguments.command {
        Command::Demo(args) => demo::demo(&args, &common, output),
        Command::Join(args) => join::join(&args, &common, output),
        Command::Start(args) => run::start(&args, &common, output),
        Command::Stop(args) => control::stop(&args, &common, output),
        Command::Status(args) => control::status(&args, &common, output),
        Command::Verify(args) => verify::verify(&args, output),
        Command::About(about) => about.run::<Arguments>(output),
    }
}

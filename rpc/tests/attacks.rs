//! Attacks by whoever owns the network: a man in the middle at every record of
//! both channels, peers with the wrong key or in the wrong role, recordings,
//! downgrades, and keys of low order.
//!
//! What must hold of each: the application receives a prefix of what was sent
//! and nothing behind the first manipulated record; the end of the stream is
//! success only behind the peer's own close; nobody panics.
//!
//! `cargo test -p sealmoot-rpc --test attacks -- --nocapture` tells how many
//! attacks of each kind were refused. `SEALMOOT_ATTACKS=full` tries every bit of
//! every handshake record and every bit of every header; for a release build.
#![allow(missing_docs, unreachable_pub)]

mod common;

mod attacks {
    mod calls;
    mod downgrade;
    mod hostile;
    mod keys;
    mod low_order;
    mod panics;
    mod proxy;
    mod records;
    mod replay;
    mod session;
    mod tls_hello;
    #[cfg(unix)]
    mod unix;
}

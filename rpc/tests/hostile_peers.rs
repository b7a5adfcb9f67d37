//! Peers that were admitted and then break every rule, or keep all rules and ask
//! for more than anybody should: each is answered or closed with the reason,
//! memory stays within its bounds, and somebody else's calls all succeed
//! meanwhile.
//!
//! `SEALMOOT_HOSTILE=full cargo test -p sealmoot-rpc --test hostile_peers` uses the full
//! counts; without it a share of them.
#![allow(missing_docs, unreachable_pub)]

mod common;

mod hostile_peers {
    mod credit;
    mod floods;
    mod memory;
    mod nesting;
    mod peer;
    mod quotas;
    mod servers;
    mod service;
    mod violations;
    mod world;
}

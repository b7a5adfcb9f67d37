//! The whole system under test: real binaries, real processes, real disks.
//!
//! The suites in `tests/` drive `authctl`, `kvd` and `kv` exactly as a user or a
//! script does; nothing here links against the crates that those are made of, so
//! that a test can only rely on what the command lines promise.
//!
//! A [`home::Home`] is a temporary machine: directories of its own for
//! configuration and data, files with the secrets of the tests, and at its end no
//! process left. A [`cluster::Cluster`] is three nodes in such a home.
//!
//! ```no_run
//! use sealmoot_tests::cluster::Cluster;
//!
//! let cluster = Cluster::form();
//! cluster.kv("put app/x value").succeeded();
//! assert_eq!(cluster.kv("get app/x").stdout, b"value");
//! ```
//!
//! | module | idea |
//! |---|---|
//! | [`agent`] | a real ssh-agent, and keys of OpenSSH |
//! | [`authenticator`] | codes by the clock, as an app shows them |
//! | [`binaries`] | the binaries under test, built when first needed |
//! | [`capture`] | packets on the loopback |
//! | [`cluster`] | three nodes, and one cluster shared by tests that disturb nothing |
//! | [`command`] | one run of a binary and what it came to |
//! | [`console`] | transcripts in Markdown, run and compared |
//! | [`files`] | what lies in a data directory, and how it is damaged |
//! | [`held`] | a command held where it tells its result |
//! | [`home`] | a machine of its own |
//! | [`memory`] | what is in the memory of a process |
//! | [`node`] | a node in the foreground |
//! | [`poll`] | waiting for what becomes true, with a bound |
//! | [`ports`] | ports that nobody else takes |
//! | [`random`] | random choices that a seed repeats |
//! | [`terminal`] | a person at a terminal |

pub mod agent;
pub mod authenticator;
pub mod binaries;
pub mod capture;
pub mod cluster;
pub mod command;
pub mod console;
pub mod files;
pub mod held;
pub mod home;
pub mod memory;
pub mod node;
pub mod poll;
pub mod ports;
pub mod random;
pub mod terminal;

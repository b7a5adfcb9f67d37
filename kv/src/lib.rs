//! An encrypted, integrity-checked, leaderless quorum store.
//!
//! Every key is a small consensus register; any node coordinates any key; nothing
//! fails over, because nobody leads. What is decided (registers, replicas,
//! coordinators, how nodes gather) is apart from what is done (sockets, files, the
//! clock): the machines can be run by hand, as here.
//!
//! ```
//! use bytes::Bytes;
//! use sealmoot_kv::ballot::Ballot;
//! use sealmoot_kv::clock::Clock;
//! use sealmoot_kv::register::{Applied, Change, Operation, OperationId, Outcome, Register};
//!
//! let put = Operation {
//!     id: OperationId { client: [7; 16], sequence: 1 },
//!     deadline: Clock::from_ms(60_000),
//!     change: Change::Put(Bytes::from_static(b"value")),
//! };
//! let ballot = Ballot { clock: Clock::from_ms(1_000), ..Ballot::ZERO };
//! let Applied::Changed(state, outcome) = Register::default().apply(&put, ballot) else {
//!     panic!("a put applies to an empty register");
//! };
//! assert_eq!(outcome, Outcome::Written { revision: 1 });
//!
//! // The same operation again, through whatever node: it acts once.
//! assert_eq!(state.apply(&put, ballot), Applied::Unchanged(outcome));
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`register`], [`ballot`], [`clock`], [`quorum`] | one key's state, and the order of proposals |
//! | [`namespace`], [`placement`] | how many members must take part in what, and which is asked first |
//! | [`replica`], [`coordinator`], [`message`] | the protocol, without I/O |
//! | [`directory`], [`reconfiguration`] | who the members are, and how they change |
//! | [`attest`] | how far each other's logs were, so that nobody goes back |
//! | [`record`], [`log`], [`disk`] | what must not be forgotten, and where it lies |
//! | [`storage`] | ordered keys and values beyond memory, sealed; where a node keeps what its log no longer holds |
//! | [`audit`] | what happened on this node, sealed and chained |
//! | [`node`] | the shell: sockets, files, how a cluster forms |
//! | [`client`] | finding a node, retrying where that is safe |
//! | [`proto`], [`wire`] | messages on the wire |
//! | [`mutant`] | rules taken out, to test the checker; in no other build |
//!
//! Formats and protocol: `kv/DESIGN.md`.

pub mod attest;
pub mod audit;
pub mod ballot;
mod checkpoint;
pub mod client;
pub mod clock;
pub mod coordinator;
pub mod directory;
pub mod disk;
pub mod log;
pub mod message;
pub mod mutant;
pub mod namespace;
pub mod node;
pub mod placement;
pub mod proto;
pub mod quorum;
pub mod reconfiguration;
pub mod record;
pub mod register;
pub mod replica;
pub mod storage;
pub mod wire;

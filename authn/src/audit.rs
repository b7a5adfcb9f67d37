//! The audit log: what happened, chained so that nothing of it is changed unseen.
//!
//! Every node keeps a chain of its own ([`sealmoot_crypto::hash_chain`]), and so does
//! the realm's directory for what the administrator does there. An [`Event`] says what
//! happened; an [`Entry`] is an event in its place, with its link.
//!
//! **Who can verify.** The first key of a chain is made where the chain is, sealed to
//! the realm's audit key ([`first_key`]) and forgotten: whoever holds the realm can
//! open it, the node cannot. A node keeps the current key only.
//!
//! **What a thief can do.** Who steals a node's disk together with its root key reads
//! its log, and can invent what comes next; what was appended before cannot be changed
//! or dropped from the middle. A tail can be cut away, or the whole chain replaced by a
//! new one; that shows, because nodes sign the head of their chain and tell it to the
//! others, which remember it ([`witness`]). What was appended in the last second, and
//! not told yet, can be cut away unseen. All nodes together can forget what no
//! administrator has fetched. An administrator who lies holds the first keys, and so
//! can rewrite copies, but not what the nodes hold.
//!
//! **What is not promised.** A file system may keep old blocks, so that "the old key is
//! gone" means: no file of the node holds it. An event is what the node says it saw: a
//! node that is taken over can lie about what comes after.
//!
//! Deliberately absent: the store's own reads and writes, and values of any kind.

pub mod chain;
pub mod check;
pub mod client;
pub mod difference;
mod event;
pub mod first_key;
mod head;
pub mod local;
mod login;
mod queue;
mod text;
pub mod witness;

/// Messages and stubs of the audit service, generated from `authn/proto/audit.proto`.
pub mod proto {
    sealmoot_rpc::include_proto!("sealmoot.audit.v1");
}

pub use chain::{ENTRIES_BYTES_MAX, ENTRIES_MAX, Entry};
pub use event::{EVENT_LENGTH_MAX, Event, Outcome, Subject, What, Who};
pub use head::{HEAD_LENGTH_MAX, HeadError, SignedHead};
pub use login::{Attempt, CodeAttempt};
pub use queue::{
    AuditRefused, Auditor, Place, QUEUED_MAX, Submission, Submissions, Submitted, queue,
};
pub use text::escape;

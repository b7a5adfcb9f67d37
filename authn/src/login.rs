//! Logging in: a password becomes a receipt, and the user's own key a session.
//!
//! By OPAQUE (see [`crate::opaque`]) the client proves the password to the node, which
//! never sees it, and recovers the key that seals its user's key. The node issues a
//! *receipt* for the key of the channel; the client signs with the user's key a
//! *session* for the same key. A reconnect shows both and costs no password work.
//!
//! A wrong password, an unknown user, a disabled user and a malformed message end
//! alike. An unknown or disabled user gets an answer that nothing opens, of the same
//! length and by the same work; receipt, user statement and sealed key leave only when
//! the password is proved.
//!
//! A password that was imported as a hash takes one message more: the challenge says how
//! the hash is computed, and the client begins anew with it. The first challenge is one
//! that nothing opens, so that a login is one guess for whatever user.
//!
//! Where the user has a second factor ([`crate::second_factor`]), a code of it is asked
//! for behind the proof of the password and before anything else leaves: nothing in
//! front of the proof tells who has one.
//!
//! By an enrolled key there is nothing to recover: the node challenges it, and the same
//! key signs the session ([`log_in_with_key`]).
//!
//! # What bounds a node's work
//!
//! A login costs the node some ten multiplications on the curve, and no Argon2id: that
//! runs on the client (`cargo bench -p sealmoot-authn --bench login` prints both). The
//! state of a login lives in its handler, so there are no more of them than calls in
//! flight, which the node's authorizer limits to a few for each guest's connection,
//! as it limits the bytes; the channel limits the connections of guests for each
//! source and in all. A login whose proof does not come within [`PROOF_WITHIN`] ends,
//! and one whose codes do not come within [`CODES_WITHIN`].
//! How often a password may be guessed through a node is what [`crate::throttle`]
//! admits: a login is charged before its challenge leaves.

mod client;
mod code;
mod decoys;
mod key;
mod register;
mod second_factor;
mod service;
#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::users::UserDirectory;

pub use client::{Claimant, LoginError, SessionProof, WantedSession, log_in, log_in_with_codes};
pub use code::{CodeAsked, CodeSource, NoCodes};
pub use key::{KeyLoginError, log_in_with_key};
pub use register::{RegisterError, Registered, register_at};
pub use service::LoginService;

/// The users that a node knows, shared by its services.
pub type SharedUsers = Arc<RwLock<UserDirectory>>;

/// How long a node waits for each message of a client: time enough for the dearest
/// stretching on a slow machine.
pub const PROOF_WITHIN: Duration = Duration::from_secs(20);

/// How long the proof of a password may take from the first message on.
pub const LOGIN_WITHIN: Duration = Duration::from_secs(30);

/// How long a node waits for codes of a second factor, for all of them together: time
/// enough to find the telephone.
pub const CODES_WITHIN: Duration = Duration::from_secs(100);

/// How many codes may be tried in one login.
pub const CODE_TRIES: u32 = 3;

//! Who may do what in Sealmoot, and how they prove it.
//!
//! Identity is a key; authority is a signed statement. A *realm* is one root key.
//! The root signs users, roles and calls for nodes; a node's identity rests on a
//! roster that all nodes countersigned; a session needs the user's own key and a
//! node's receipt. A client pins one string, the realm's id, and can check all of
//! it without asking anybody.
//!
//! This crate never reads the clock: times are parameters, except in [`cli`],
//! which is what the command lines share.
//!
//! ```
//! use sealmoot_authn::policy::{Action, Role, decide};
//!
//! let roles: Vec<Role> = vec!["app/*:rw".parse()?];
//! assert!(decide("ci", &roles, Action::Write, b"app/db/password").is_ok());
//! assert!(decide("ci", &roles, Action::Delete, b"app/db/password").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`name`], [`realm_id`] | names, and the one string to pin |
//! | [`statement`] | signed statements, kind by kind |
//! | [`roster`], [`invite`] | how nodes come in, and who they are |
//! | [`users`], [`policy`] | signed user records; grants and decisions |
//! | [`session`], [`login`] | believing a session; making one |
//! | [`presentation`], [`pin`] | what is shown in a channel; the client's trust |
//! | [`realm`], [`files`] | the realm on the administrator's disk |
//! | [`publish`], [`proto`] | telling running nodes; generated stubs |
//! | [`cli`] | what `authctl`, `kvd` and `kv` have in common |

pub mod cli;
pub mod files;
pub mod invite;
pub mod login;
pub mod name;
pub mod pin;
pub mod policy;
pub mod presentation;
pub mod proto;
pub mod publish;
pub mod realm;
pub mod realm_id;
pub mod roster;
pub mod session;
pub mod statement;
pub mod users;

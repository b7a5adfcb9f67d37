//! Who may do what in Sealmoot, and how they prove it.
//!
//! Identity is a key; authority is a signed statement. A *realm* has one root
//! key at a time. The root signs users, roles and calls for nodes; a node's identity rests on a
//! roster that all nodes countersigned; a session needs the user's own key and a
//! node's receipt. A client pins one string, the realm's id, and can check all of
//! it without asking anybody.
//!
//! This crate never reads the clock: times are parameters, except in [`cli`],
//! which is what the command lines share.
//!
//! ```
//! use sealmoot_authn::policy::{Action, NamedRoles, Role, decide};
//!
//! let mut named = NamedRoles::default();
//! named.add("deploy".parse()?, vec!["app/*:rw".parse()?])?;
//! let roles: Vec<Role> = vec!["deploy".parse()?];
//! let ci_may = |action| decide("ci", &roles, &named, action, b"app/db/password");
//! assert_eq!(ci_may(Action::Write)?.rule, "role deploy: app/*:rw");
//! assert!(ci_may(Action::Delete).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`name`], [`realm_id`] | names, and the one string to pin |
//! | [`roots`] | which keys speak for a realm, and how one hands it to the next |
//! | [`statement`] | signed statements, kind by kind |
//! | [`roster`], [`invite`] | how nodes come in, and who they are |
//! | [`delegation`] | administrators beside the root, and within which bounds |
//! | [`users`], [`policy`] | signed user records; grants, named roles and decisions |
//! | [`records`] | signed records of every kind, as nodes keep and exchange them |
//! | [`narrowing`] | what a key's sessions are narrowed to |
//! | [`opaque`], [`user_key`] | passwords that no server sees; what they open |
//! | [`second_factor`] | codes by the clock and codes on paper, beside a password |
//! | [`session`], [`login`] | believing a session; making one |
//! | [`ended`] | sessions that ended themselves |
//! | [`throttle`] | how often passwords may be tried |
//! | [`client_key`], [`agent`], [`openssh`] | keys that log in, and where they are held |
//! | [`presentation`], [`pin`] | what is shown in a channel; the client's trust |
//! | [`realm`], [`files`] | the realm on the administrator's disk |
//! | [`approval`] | a second person for dangerous acts |
//! | [`import`] | users of other systems |
//! | [`audit`] | what happened, chained and witnessed |
//! | [`context`] | what a client keeps between commands |
//! | [`parallel`] | the same work on many things |
//! | [`publish`], [`fetch`], [`proto`] | telling and asking running nodes; generated stubs |
//! | [`cli`] | what `authctl`, `kvd` and `kv` have in common |

pub mod agent;
pub mod approval;
pub mod audit;
pub mod cli;
pub mod client_key;
pub mod context;
pub mod delegation;
pub mod ended;
pub mod fetch;
pub mod files;
pub mod import;
pub mod invite;
pub mod login;
pub mod name;
pub mod narrowing;
pub mod opaque;
pub mod openssh;
pub mod parallel;
pub mod pin;
pub mod policy;
pub mod presentation;
pub mod proto;
pub mod publish;
pub mod realm;
pub mod realm_id;
pub mod records;
pub mod roots;
pub mod roster;
pub mod second_factor;
pub mod session;
pub mod statement;
pub mod throttle;
pub mod user_key;
pub mod users;

//! From a name to an endpoint that answers.
//!
//! A [`record`] says, signed, where a name is served, under which keys, and with
//! which schemas. A [`Resolver`] finds it: in a [`table`], in a file, or at a name
//! service, none of which has to be trusted, because a [`VerifiedRecord`] exists
//! only where the signature was checked. The [`cache`] decides when to ask again,
//! and [`balance`] which endpoint gets the next call.
//!
//! A [`Binder`] is what programs use: it makes callers of names.
//!
//! Records, tables without their files, the cache and the balance are values: time
//! and randomness are parameters. What connects, asks and reads files stands around
//! them.

pub mod balance;
mod binder;
pub mod cache;
pub(crate) mod endpoints;
mod name;
pub mod record;
mod resolver;
pub mod table;

pub use binder::{BindError, Binder, EndpointFault};
pub use name::{BadName, Name};
pub(crate) use record::is_service;
pub use record::{Endpoint, Fingerprint, NameRecord, RecordError, Served, VerifiedRecord, Way};
pub use resolver::{Resolution, ResolveError, Resolver, unix_ms};

//! From a name to an endpoint that answers.
//!
//! A [`record`] says, signed, where a name is served, under which keys, and with
//! which schemas. A [`Resolver`] finds it: in a [`table`], in a file, or at a name
//! service, none of which has to be trusted, because a [`VerifiedRecord`] exists
//! only where the signature was checked. The [`cache`] decides when to ask again,
//! and [`balance`] which endpoint gets the next call.
//!
//! All but the resolvers themselves are values: time and randomness are
//! parameters.

pub mod balance;
pub mod cache;
mod name;
pub mod record;
mod resolver;
pub mod table;

pub use name::{BadName, Name};
pub use record::{Endpoint, Fingerprint, NameRecord, RecordError, Served, VerifiedRecord, Way};
pub use resolver::{Resolution, ResolveError, Resolver, unix_ms};

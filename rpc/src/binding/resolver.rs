//! Where records come from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::name::Name;
use super::record::{RecordError, VerifiedRecord};

/// What a [`Resolver`] comes to.
pub type Resolution<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<VerifiedRecord>, ResolveError>> + Send + 'a>>;

/// Finds the record of a name.
///
/// A resolver answers only with what a trusted signer has signed: the type of its
/// answer says so. Whoever trusts too many signers lets all of them send its calls
/// wherever they like; the names behind which the calls are meant to go then
/// protect nothing.
///
/// An old record may be among the answers: the [`cache`](super::cache) refuses
/// what is older than what it has seen.
pub trait Resolver: Send + Sync + 'static {
    /// The newest record of `name` that this source has. May be dropped before it
    /// is done.
    ///
    /// # Errors
    ///
    /// In the future's output: [`ResolveError`].
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolution<'a>;
}

/// Why there is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The source knows no such name.
    #[error("{0} is not known")]
    NotFound(Name),
    /// The source cannot be asked now.
    #[error("names cannot be resolved: {0}")]
    Unavailable(String),
    /// It had an answer, which is not to be believed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// More names are in use than a cache holds.
    #[error("too many names are in use")]
    TooManyNames,
}

/// Milliseconds since 1970 by the system's clock.
///
/// A clock before 1970 reads as the end of all time, so that with it no record
/// counts: it would else revive every expired one.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(u64::MAX)
}

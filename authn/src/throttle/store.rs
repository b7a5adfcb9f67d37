//! Where charges are kept.

use std::future::Future;
use std::pin::Pin;

/// The charge could not be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the attempt could not be recorded")]
pub struct NotDurable;

/// Ends when a record is durable.
pub type StoreFuture = Pin<Box<dyn Future<Output = Result<(), NotDurable>> + Send>>;

/// Keeps records of a [`Throttle`](super::Throttle), to be replayed in their order
/// after a restart.
///
/// A store that says "durable" too early lets whoever can make the node crash try
/// passwords without end.
pub trait ThrottleStore: Send + Sync + 'static {
    /// Gives the record its place, at once and behind all before it, and returns what
    /// ends when it is durable. Must not block: locks are held.
    fn append(&self, record: Vec<u8>) -> StoreFuture;
}

/// Keeps nothing: charges last as long as the process, for services that accept it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Volatile;

impl ThrottleStore for Volatile {
    fn append(&self, _record: Vec<u8>) -> StoreFuture {
        Box::pin(std::future::ready(Ok(())))
    }
}

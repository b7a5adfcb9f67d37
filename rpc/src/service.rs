//! What a server runs: services, found by method.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::status::Status;

/// The work of one call.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;

/// What a handler knows beside the request.
#[derive(Clone, Debug)]
pub struct CallContext {
    peer: Peer,
    deadline: Option<Instant>,
}

impl CallContext {
    /// The context of a call by `peer`.
    pub fn new(peer: Peer, deadline: Option<Instant>) -> Self {
        Self { peer, deadline }
    }

    /// Who calls, verified.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When the caller stops waiting and the handler is dropped.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time that is left, for calls that the handler makes itself.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Answers calls of some methods.
///
/// The future is polled once on the connection's task, where it must not
/// block, and spawned only when it is pending. It is dropped at any await when
/// the caller cancels, the deadline passes or the connection is lost: what
/// must not stop halfway belongs into a task of its own.
pub trait Service: Send + Sync + 'static {
    /// The methods answered here, asked for once.
    fn methods(&self) -> &[u64];

    /// Starts the work of one call of one of [`Service::methods`].
    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture;
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn methods(&self) -> &[u64] {
        (**self).methods()
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        (**self).call(context, method, body)
    }
}

/// Which service answers which method.
#[derive(Clone, Default)]
pub struct Router {
    services: HashMap<u64, Arc<dyn Service>>,
}

impl Router {
    /// No methods yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The router with one more service.
    ///
    /// # Errors
    ///
    /// A method that is answered already.
    pub fn service(mut self, service: impl Service) -> Result<Self, DuplicateMethod> {
        let service: Arc<dyn Service> = Arc::new(service);
        for method in service.methods() {
            let replaced = self.services.insert(*method, Arc::clone(&service));
            if replaced.is_some() {
                return Err(DuplicateMethod(*method));
            }
        }
        Ok(self)
    }

    pub(crate) fn find(&self, method: u64) -> Option<&Arc<dyn Service>> {
        self.services.get(&method)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Router")
            .field("methods", &self.services.len())
            .finish()
    }
}

/// Two services answer the same method, or two method names share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("method {0:#018x} is answered twice")]
pub struct DuplicateMethod(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<u64>);

    impl Service for Fixed {
        fn methods(&self) -> &[u64] {
            &self.0
        }

        fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
            Box::pin(async move { Ok(body) })
        }
    }

    #[test]
    fn methods_are_found_by_number() {
        let router = Router::new()
            .service(Fixed(vec![1, 2]))
            .and_then(|router| router.service(Arc::new(Fixed(vec![3]))))
            .expect("distinct methods");
        assert!(router.find(1).is_some() && router.find(3).is_some());
        assert!(router.find(4).is_none());
    }

    #[test]
    fn a_method_answered_twice_is_refused() {
        let router = Router::new().service(Fixed(vec![1])).expect("one method");
        let refused = router.service(Fixed(vec![2, 1])).expect_err("duplicate");
        assert_eq!(refused, DuplicateMethod(1));
        assert!(Router::new().service(Fixed(vec![5, 5])).is_err());
    }
}

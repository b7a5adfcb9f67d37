//! What a server runs: services, found by method.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::descriptor::ServiceDescriptor;
use crate::interceptor::{ServerInterceptor, intercepted};
use crate::metadata::Metadata;
use crate::multiplexer::StreamKey;
use crate::peer::Peer;
use crate::quota::Permit;
use crate::serving::Link;
use crate::status::{Code, Execution, Status};
use crate::streams::{RawReplies, RawRequests};

/// The work of one call.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;

/// The work of one call whose replies are a stream.
pub type StreamFuture = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// Which directions of a method's calls are streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One request, one reply.
    #[default]
    Unary,
    /// A stream of requests, one reply.
    ClientStream,
    /// One request, a stream of replies.
    ServerStream,
    /// Both.
    Bidirectional,
}

impl MethodKind {
    /// The kind with these streams.
    pub fn of_streams(requests: bool, replies: bool) -> Self {
        match (requests, replies) {
            (false, false) => Self::Unary,
            (true, false) => Self::ClientStream,
            (false, true) => Self::ServerStream,
            (true, true) => Self::Bidirectional,
        }
    }

    /// Whether the client sends a stream.
    pub fn has_request_stream(self) -> bool {
        matches!(self, Self::ClientStream | Self::Bidirectional)
    }

    /// Whether the server sends a stream.
    pub fn has_reply_stream(self) -> bool {
        matches!(self, Self::ServerStream | Self::Bidirectional)
    }
}

/// What a handler knows beside the request.
#[derive(Clone, Debug)]
pub struct CallContext {
    origin: CallOrigin,
    deadline: Option<Instant>,
    metadata: Metadata,
    /// One of a type.
    values: Vec<Arc<dyn Any + Send + Sync>>,
}

/// Where a call comes from, and with that who counts it.
#[derive(Clone, Debug)]
pub(crate) enum CallOrigin {
    /// Code that made the context itself: nobody counts.
    Elsewhere(Peer),
    /// A connection. The peer is the connection's, so that a call costs one
    /// reference and not two.
    Connection {
        link: Arc<Link>,
        key: StreamKey,
        /// Of an at-most-once call: its handler may outlive the connection.
        permit: Option<Arc<Permit>>,
    },
}

impl CallContext {
    /// The context of a call by `peer`, without metadata.
    pub fn new(peer: Peer, deadline: Option<Instant>) -> Self {
        Self {
            origin: CallOrigin::Elsewhere(peer),
            deadline,
            metadata: Metadata::new(),
            values: Vec::new(),
        }
    }

    pub(crate) fn of(origin: CallOrigin, deadline: Instant, metadata: Metadata) -> Self {
        Self {
            origin,
            deadline: Some(deadline),
            metadata,
            values: Vec::new(),
        }
    }

    /// What counts the call in its identity's quota for as long as it is held;
    /// `None` where nothing is counted.
    pub(crate) fn permit(&self) -> Option<Arc<Permit>> {
        match &self.origin {
            CallOrigin::Elsewhere(_) => None,
            CallOrigin::Connection {
                permit: Some(permit),
                ..
            } => Some(Arc::clone(permit)),
            CallOrigin::Connection { link, key, .. } => link.permit(*key),
        }
    }

    /// The context with what came beside the request.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// What the caller sent beside the request. It is the caller's word, like
    /// the request.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Leaves a value for whoever comes behind, in place of one of its type.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        self.values.retain(|other| !other.is::<T>());
        self.values.push(Arc::new(value));
    }

    /// The value of this type that an interceptor has left.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.values.iter().find_map(|value| value.downcast_ref())
    }

    /// Who calls, verified.
    pub fn peer(&self) -> &Peer {
        match &self.origin {
            CallOrigin::Elsewhere(peer) => peer,
            CallOrigin::Connection { link, .. } => link.peer(),
        }
    }

    /// When the caller stops waiting and the handler is dropped.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time that is left. A handler that calls others gives it to them as
    /// their timeout (or less), so that nobody works on after the first caller
    /// has gone. `None` outside of a call with a deadline.
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
/// must not stop halfway belongs into [`CallContext::shield`].
///
/// A call is handed to the entry point of its method's [`Service::kind`]; one
/// whose caller takes the method for another kind is refused before.
pub trait Service: Send + Sync + 'static {
    /// The methods answered here, asked for once.
    fn methods(&self) -> &[u64];

    /// What the service is, where there is a schema of it: for reflection, and for
    /// clients that compare schemas before they call.
    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        None
    }

    /// Told once when a server that runs the service begins to drain: calls that
    /// end by nobody's asking are to end now, or they hold the server up.
    fn draining(&self) {}

    /// Which directions of a method's calls are streams.
    fn kind(&self, method: u64) -> MethodKind {
        let _ = method;
        MethodKind::Unary
    }

    /// Starts the work of one unary call of one of [`Service::methods`].
    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture;

    /// Starts the work of one call with a stream of requests. It may answer
    /// before they end.
    fn client_stream(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
    ) -> ReplyFuture {
        let _ = (context, requests);
        Box::pin(std::future::ready(Err(no_entry(method))))
    }

    /// Starts the work of one call with a stream of replies, which ends well
    /// when the future does.
    fn server_stream(
        &self,
        context: CallContext,
        method: u64,
        body: Bytes,
        replies: RawReplies,
    ) -> StreamFuture {
        let _ = (context, body, replies);
        Box::pin(std::future::ready(Err(no_entry(method))))
    }

    /// Starts the work of one call with streams both ways.
    fn bidirectional(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
        replies: RawReplies,
    ) -> StreamFuture {
        let _ = (context, requests, replies);
        Box::pin(std::future::ready(Err(no_entry(method))))
    }
}

/// The answer of a service that names a kind and does not serve it.
fn no_entry(method: u64) -> Status {
    let message = format!("method {method:#018x} has no such entry point");
    Status::new(Code::Unimplemented, Execution::NotStarted, message)
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn methods(&self) -> &[u64] {
        (**self).methods()
    }

    fn descriptor(&self) -> Option<&'static ServiceDescriptor> {
        (**self).descriptor()
    }

    fn draining(&self) {
        (**self).draining();
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        (**self).call(context, method, body)
    }

    fn kind(&self, method: u64) -> MethodKind {
        (**self).kind(method)
    }

    fn client_stream(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
    ) -> ReplyFuture {
        (**self).client_stream(context, method, requests)
    }

    fn server_stream(
        &self,
        context: CallContext,
        method: u64,
        body: Bytes,
        replies: RawReplies,
    ) -> StreamFuture {
        (**self).server_stream(context, method, body, replies)
    }

    fn bidirectional(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
        replies: RawReplies,
    ) -> StreamFuture {
        (**self).bidirectional(context, method, requests, replies)
    }
}

/// Which service answers which method.
#[derive(Clone, Default)]
pub struct Router {
    /// As they are called: with the interceptors around them.
    services: HashMap<u64, Arc<dyn Service>>,
    bare: HashMap<u64, Arc<dyn Service>>,
    /// Each service once, in the order in which they came, without interceptors.
    distinct: Vec<Arc<dyn Service>>,
    interceptors: Vec<Arc<dyn ServerInterceptor>>,
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
        let called = intercepted(Arc::clone(&service), &self.interceptors);
        for method in service.methods() {
            self.services.insert(*method, Arc::clone(&called));
            let replaced = self.bare.insert(*method, Arc::clone(&service));
            if replaced.is_some() {
                return Err(DuplicateMethod(*method));
            }
        }
        self.distinct.push(service);
        Ok(self)
    }

    /// What the services are that have a schema, in the order in which they came.
    pub fn descriptors(&self) -> impl Iterator<Item = &'static ServiceDescriptor> {
        self.distinct
            .iter()
            .filter_map(|service| service.descriptor())
    }

    /// Tells the services that the server drains.
    pub(crate) fn draining(&self) {
        for service in &self.distinct {
            service.draining();
        }
    }

    /// The router with one more interceptor, behind those that it has: it comes
    /// after them before a call, and before them behind it. It sees the calls of
    /// all services, those that are added later too, so that none is left out by
    /// mistake.
    #[must_use]
    pub fn intercepted_by(mut self, interceptor: impl ServerInterceptor) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        for (method, service) in &self.bare {
            let called = intercepted(Arc::clone(service), &self.interceptors);
            self.services.insert(*method, called);
        }
        self
    }

    /// Who answers a method. Zero is none: it opens incarnations.
    pub(crate) fn find(&self, method: u64) -> Option<&Arc<dyn Service>> {
        self.services.get(&method).filter(|_| method != 0)
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

//! Before and behind the handlers of a server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::service::{CallContext, MethodKind, ReplyFuture, Service, StreamFuture};
use crate::status::{Code, Execution, Status};
use crate::streams::{RawReplies, RawRequests};

/// Sees the calls that a [`Router`](crate::Router) answers.
///
/// What it sees is what runs: a call that is refused before its handler, by a
/// bound or because there is no such method, does not come here, and neither
/// does an attempt of an at-most-once call that joins one that runs or is
/// answered from memory.
///
/// Its functions run where handlers do, and the last of them perhaps while one
/// is dropped: they must not block or panic. Whoever decides here who may call what must
/// decide by [`CallContext::peer`]; metadata is the caller's word.
pub trait ServerInterceptor: Send + Sync + 'static {
    /// Looks at a call before its handler, and may leave something in the
    /// context for it.
    ///
    /// # Errors
    ///
    /// The call is refused so, and its handler does not run. Whatever the status
    /// says of its execution, the caller is told [`Execution::NotStarted`].
    fn before(&self, context: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        let _ = (context, call);
        Ok(())
    }

    /// Runs `work`, which is a part of the handler: its start, one poll, or its
    /// drop. For what is to be in force while it runs, such as a task-local
    /// value. Without a call of `work` it runs behind this; more than one do
    /// nothing.
    fn around(&self, context: &CallContext, call: &IncomingCall, work: &mut dyn FnMut()) {
        let _ = (context, call);
        work();
    }

    /// A call that [`ServerInterceptor::before`] let pass has ended; once for
    /// each.
    ///
    /// The outcome is the handler's word, before bounds of the connection are
    /// held against it. A handler that is dropped, because its caller cancelled,
    /// its deadline passed or its connection was lost, ends with
    /// [`Code::Cancelled`]; one that panicked with [`Code::Internal`]. A stream
    /// of replies ends here with its handler: its last messages may still wait
    /// to leave.
    fn after(
        &self,
        context: &CallContext,
        call: &IncomingCall,
        outcome: Result<(), &Status>,
        elapsed: Duration,
    ) {
        let _ = (context, call, outcome, elapsed);
    }
}

impl<I: ServerInterceptor + ?Sized> ServerInterceptor for Arc<I> {
    fn before(&self, context: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        (**self).before(context, call)
    }

    fn around(&self, context: &CallContext, call: &IncomingCall, work: &mut dyn FnMut()) {
        (**self).around(context, call, work);
    }

    fn after(
        &self,
        context: &CallContext,
        call: &IncomingCall,
        outcome: Result<(), &Status>,
        elapsed: Duration,
    ) {
        (**self).after(context, call, outcome, elapsed);
    }
}

/// A call that has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingCall {
    /// Which method.
    pub method: u64,
    /// Which of its directions are streams.
    pub kind: MethodKind,
}

/// In the order in which they were added.
type Interceptors = Arc<[Arc<dyn ServerInterceptor>]>;

/// The service, seen by interceptors.
pub(crate) fn intercepted(
    service: Arc<dyn Service>,
    interceptors: &[Arc<dyn ServerInterceptor>],
) -> Arc<dyn Service> {
    if interceptors.is_empty() {
        return service;
    }
    Arc::new(InterceptedService {
        service,
        interceptors: interceptors.into(),
    })
}

struct InterceptedService {
    service: Arc<dyn Service>,
    interceptors: Interceptors,
}

impl InterceptedService {
    /// The work of a call, unless it is refused.
    fn run<T: Send + 'static>(
        &self,
        context: CallContext,
        method: u64,
        kind: MethodKind,
        start: impl FnOnce(CallContext) -> HandlerFuture<T>,
    ) -> HandlerFuture<T> {
        let mut call = Seen {
            interceptors: Arc::clone(&self.interceptors),
            passed: 0,
            context,
            call: IncomingCall { method, kind },
            begun: Instant::now(),
        };
        if let Err(status) = call.pass() {
            // What it passed is told on the spot: nothing of it goes on.
            call.end(Err(&status));
            return Box::pin(std::future::ready(Err(status)));
        }
        let mut running = Running {
            call,
            handler: None,
            is_inside: true,
            has_ended: false,
        };
        let context = running.call.context.clone();
        running.handler = running.call.around(|| start(context));
        running.is_inside = false;
        Box::pin(running)
    }
}

impl Service for InterceptedService {
    fn methods(&self) -> &[u64] {
        self.service.methods()
    }

    fn kind(&self, method: u64) -> MethodKind {
        self.service.kind(method)
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        self.run(context, method, MethodKind::Unary, |context| {
            self.service.call(context, method, body)
        })
    }

    fn client_stream(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
    ) -> ReplyFuture {
        self.run(context, method, MethodKind::ClientStream, |context| {
            self.service.client_stream(context, method, requests)
        })
    }

    fn server_stream(
        &self,
        context: CallContext,
        method: u64,
        body: Bytes,
        replies: RawReplies,
    ) -> StreamFuture {
        self.run(context, method, MethodKind::ServerStream, |context| {
            self.service.server_stream(context, method, body, replies)
        })
    }

    fn bidirectional(
        &self,
        context: CallContext,
        method: u64,
        requests: RawRequests,
        replies: RawReplies,
    ) -> StreamFuture {
        self.run(context, method, MethodKind::Bidirectional, |context| {
            self.service
                .bidirectional(context, method, requests, replies)
        })
    }
}

type HandlerFuture<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

/// A call and those who see it.
struct Seen {
    interceptors: Interceptors,
    /// So many of them have let it pass.
    passed: usize,
    context: CallContext,
    call: IncomingCall,
    begun: Instant,
}

impl Seen {
    fn pass(&mut self) -> Result<(), Status> {
        for interceptor in self.interceptors.iter() {
            interceptor
                .before(&mut self.context, &self.call)
                .map_err(|status| status.refusing(Execution::NotStarted))?;
            self.passed += 1;
        }
        Ok(())
    }

    /// Runs a part of the handler inside of all of them.
    fn around<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let (mut work, mut result) = (Some(work), None);
        let mut run = || {
            if let Some(work) = work.take() {
                result = Some(work());
            }
        };
        nested(&self.interceptors, &self.context, &self.call, &mut run);
        result
    }

    fn end(&self, outcome: Result<(), &Status>) {
        let elapsed = self.begun.elapsed();
        for interceptor in self.interceptors[..self.passed].iter().rev() {
            interceptor.after(&self.context, &self.call, outcome, elapsed);
        }
    }
}

/// The first of them outermost. `work` runs once or, repeated, does nothing; it
/// runs though one of them forgets it, or its call would wait for ever.
fn nested(
    interceptors: &[Arc<dyn ServerInterceptor>],
    context: &CallContext,
    call: &IncomingCall,
    work: &mut dyn FnMut(),
) {
    match interceptors.split_first() {
        None => work(),
        Some((first, rest)) => {
            let mut inner = || nested(rest, context, call, work);
            first.around(context, call, &mut inner);
            inner();
        }
    }
}

/// A handler at work: however it ends, interceptors are told once.
struct Running<T> {
    call: Seen,
    handler: Option<HandlerFuture<T>>,
    /// Left behind by a panic.
    is_inside: bool,
    has_ended: bool,
}

impl<T> Running<T> {
    fn end(&mut self, outcome: Result<(), &Status>) {
        // What the handler holds goes before anybody is told that it is over.
        if let Some(handler) = self.handler.take() {
            self.call.around(|| drop(handler));
        }
        self.has_ended = true;
        self.call.end(outcome);
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let running = &mut *self;
        let Some(handler) = running.handler.as_mut() else {
            return Poll::Pending;
        };
        running.is_inside = true;
        let polled = running.call.around(|| handler.as_mut().poll(cx));
        running.is_inside = false;
        match polled {
            Some(Poll::Ready(outcome)) => {
                running.end(outcome.as_ref().map(drop));
                Poll::Ready(outcome)
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (code, message) = if self.is_inside {
            (Code::Internal, "the handler failed")
        } else {
            (Code::Cancelled, "the handler was dropped")
        };
        let status = Status::new(code, Execution::MaybeExecuted, message);
        self.end(Err(&status));
    }
}

//! Before and behind the calls that a client makes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::client::CallOptions;
use crate::retry::Guard;
use crate::service::MethodKind;
use crate::status::{Code, Execution, Status};
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

/// Sees the calls of an [`Intercepted`] caller.
///
/// Its functions run on the caller's task, and the last of them perhaps while
/// something is dropped: they must not block or panic.
pub trait ClientInterceptor: Send + Sync + 'static {
    /// Looks at a call before anything of it is sent, and may change its options.
    ///
    /// # Errors
    ///
    /// The call is refused so. Whatever the status says of its execution, the
    /// caller is told [`Execution::NotSent`].
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// A call that [`ClientInterceptor::before`] let pass has ended; once for
    /// each.
    ///
    /// A call whose future, reply stream or pending reply is dropped unanswered
    /// ends with [`Code::Cancelled`].
    fn after(&self, call: &EndedCall<'_>) {
        let _ = call;
    }
}

impl<I: ClientInterceptor + ?Sized> ClientInterceptor for Arc<I> {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        (**self).before(call)
    }

    fn after(&self, call: &EndedCall<'_>) {
        (**self).after(call);
    }
}

/// A call that is about to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutgoingCall {
    /// Which method.
    pub method: u64,
    /// Which of its directions are streams.
    pub kind: MethodKind,
    /// Metadata and timeout, to be changed at will.
    pub options: CallOptions,
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EndedCall<'a> {
    /// Which method.
    pub method: u64,
    /// Which of its directions are streams.
    pub kind: MethodKind,
    /// What it was made with, as interceptors left it.
    pub options: &'a CallOptions,
    /// How it ended.
    pub outcome: Result<(), &'a Status>,
    /// Since it began.
    pub elapsed: Duration,
}

/// A [`Caller`] whose calls an interceptor sees.
///
/// Over [`Retrying`](crate::Retrying) one call is seen once, whatever number of
/// attempts it takes. Of several interceptors, one around the other, the
/// outermost comes first before a call and last behind it.
pub struct Intercepted<C, I> {
    caller: C,
    interceptor: Arc<I>,
}

impl<C, I> Intercepted<C, I> {
    /// Calls over `caller`.
    pub fn new(caller: C, interceptor: I) -> Self {
        let interceptor = Arc::new(interceptor);
        Self {
            caller,
            interceptor,
        }
    }

    /// What is called over.
    pub fn caller(&self) -> &C {
        &self.caller
    }
}

impl<C, I: ClientInterceptor> Intercepted<C, I> {
    fn begin(
        &self,
        method: u64,
        kind: MethodKind,
        options: &CallOptions,
    ) -> Result<Running<I>, Status> {
        let mut call = OutgoingCall {
            method,
            kind,
            options: options.clone(),
        };
        self.interceptor
            .before(&mut call)
            .map_err(|status| status.refusing(Execution::NotSent))?;
        Ok(Running {
            interceptor: Arc::clone(&self.interceptor),
            call,
            begun: Instant::now(),
            has_ended: false,
        })
    }

    /// A stream that was begun, or was not.
    fn started<T>(
        running: Running<I>,
        started: Result<T, Status>,
        ends_with: impl FnOnce(&mut T, Box<dyn Watcher>),
    ) -> Result<T, Status> {
        match started {
            Ok(mut stream) => {
                ends_with(&mut stream, Box::new(running));
                Ok(stream)
            }
            Err(status) => {
                Box::new(running).ended(Err(&status));
                Err(status)
            }
        }
    }
}

impl<C: Caller, I: ClientInterceptor> Caller for Intercepted<C, I> {
    async fn call(
        &self,
        method: u64,
        guard: Guard,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        let mut running = self.begin(method, MethodKind::Unary, options)?;
        let options = &running.call.options;
        let outcome = self.caller.call(method, guard, body, options).await;
        running.end(outcome.as_ref().map(drop));
        outcome
    }

    async fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        let running = self.begin(method, MethodKind::ClientStream, options)?;
        let started = self
            .caller
            .client_stream(method, &running.call.options)
            .await;
        Self::started(running, started, |(_, reply), watcher| reply.watch(watcher))
    }

    async fn server_stream(
        &self,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        let running = self.begin(method, MethodKind::ServerStream, options)?;
        let options = &running.call.options;
        let started = self.caller.server_stream(method, body, options).await;
        Self::started(running, started, |replies, watcher| replies.watch(watcher))
    }

    async fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        let running = self.begin(method, MethodKind::Bidirectional, options)?;
        let started = self
            .caller
            .bidirectional(method, &running.call.options)
            .await;
        Self::started(running, started, |(_, replies), watcher| {
            replies.watch(watcher);
        })
    }
}

impl<C: Clone, I> Clone for Intercepted<C, I> {
    fn clone(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            interceptor: Arc::clone(&self.interceptor),
        }
    }
}

impl<C: fmt::Debug, I> fmt::Debug for Intercepted<C, I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Intercepted")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// Wants to know how a call with a stream ends.
pub(crate) trait Watcher: Send + Sync {
    /// It has ended. One that is dropped untold takes it for cancelled.
    fn ended(self: Box<Self>, outcome: Result<(), &Status>);
}

/// A call that an interceptor let pass: however it ends, the interceptor is told
/// once.
struct Running<I: ClientInterceptor> {
    interceptor: Arc<I>,
    call: OutgoingCall,
    begun: Instant,
    has_ended: bool,
}

impl<I: ClientInterceptor> Running<I> {
    fn end(&mut self, outcome: Result<(), &Status>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.interceptor.after(&EndedCall {
            method: self.call.method,
            kind: self.call.kind,
            options: &self.call.options,
            outcome,
            elapsed: self.begun.elapsed(),
        });
    }
}

impl<I: ClientInterceptor> Watcher for Running<I> {
    fn ended(mut self: Box<Self>, outcome: Result<(), &Status>) {
        self.end(outcome);
    }
}

impl<I: ClientInterceptor> Drop for Running<I> {
    fn drop(&mut self) {
        if !self.has_ended {
            let message = "the caller waits no more";
            let status = Status::new(Code::Cancelled, Execution::MaybeExecuted, message);
            self.end(Err(&status));
        }
    }
}

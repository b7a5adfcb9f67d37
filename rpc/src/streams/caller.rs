//! The caller's ends of a call with a stream, over bytes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::client::StreamCall;
use crate::interceptor::Watcher;
use crate::status::{Code, Execution, Status};

/// The requests of a call. Dropping it before [`RawRequestSink::finish`]
/// cancels the call.
pub struct RawRequestSink {
    call: Arc<StreamCall>,
    is_finished: bool,
}

impl RawRequestSink {
    fn new(call: Arc<StreamCall>) -> Self {
        Self {
            call,
            is_finished: false,
        }
    }

    /// The ends of a call with a stream of requests and one reply.
    pub(crate) fn answered(call: Arc<StreamCall>) -> (Self, RawPendingReply) {
        (Self::new(Arc::clone(&call)), RawPendingReply::new(call))
    }

    /// The ends of a call with streams both ways.
    pub(crate) fn both_ways(call: Arc<StreamCall>) -> (Self, RawReplyStream) {
        (Self::new(Arc::clone(&call)), RawReplyStream::new(call))
    }

    /// Queues a message, when there is credit for it. Dropping the future
    /// before that leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The status with which the call failed. A call that was answered well
    /// before its requests ended fails here with [`Code::Cancelled`] and
    /// [`Execution::Executed`]: its replies tell more. A message above
    /// [`Limits::message_bytes_max`](crate::Limits::message_bytes_max) fails
    /// with [`Code::InvalidArgument`], and the call goes on.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), Status> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.call.poll_send(&mut message, cx)).await
    }

    /// Says that no message follows. What was queued is still sent.
    pub fn finish(mut self) {
        self.is_finished = true;
        self.call.finish();
    }
}

impl Drop for RawRequestSink {
    fn drop(&mut self) {
        if !self.is_finished {
            self.call.cancel();
        }
    }
}

/// The replies of a call. Dropping it before their end cancels the call.
pub struct RawReplyStream {
    call: Arc<StreamCall>,
    watchers: Watchers,
}

impl RawReplyStream {
    pub(crate) fn new(call: Arc<StreamCall>) -> Self {
        Self {
            call,
            watchers: Watchers::default(),
        }
    }

    /// Tells `watcher` of the end.
    pub(crate) fn watch(&mut self, watcher: Box<dyn Watcher>) {
        self.watchers.0.push(watcher);
    }

    /// The next message; `None` when the call has ended well. Messages that
    /// came before a failure come before it here, too. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// The status with which the call failed, again and again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let next = poll_fn(|cx| self.call.poll_reply(cx)).await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.watchers.tell(Ok(())),
            Err(status) => self.watchers.tell(Err(status)),
        }
        next
    }

    pub(crate) fn cancel(&self) {
        self.call.cancel();
    }
}

impl Drop for RawReplyStream {
    fn drop(&mut self) {
        self.call.cancel();
    }
}

/// The one reply to a stream of requests. A future; dropping it unanswered
/// cancels the call.
pub struct RawPendingReply {
    call: Arc<StreamCall>,
    watchers: Watchers,
}

impl RawPendingReply {
    fn new(call: Arc<StreamCall>) -> Self {
        Self {
            call,
            watchers: Watchers::default(),
        }
    }

    /// Tells `watcher` of the end.
    pub(crate) fn watch(&mut self, watcher: Box<dyn Watcher>) {
        self.watchers.0.push(watcher);
    }
}

impl Future for RawPendingReply {
    type Output = Result<Bytes, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(self.call.poll_reply(cx));
        let reply = reply.and_then(|reply| {
            reply.ok_or_else(|| {
                Status::new(
                    Code::Internal,
                    Execution::Executed,
                    "the reply was taken already",
                )
            })
        });
        self.watchers.tell(reply.as_ref().map(drop));
        Poll::Ready(reply)
    }
}

impl Drop for RawPendingReply {
    fn drop(&mut self) {
        self.call.cancel();
    }
}

/// Those who want to know how a call ends. What is dropped with it ends so, too.
#[derive(Default)]
struct Watchers(Vec<Box<dyn Watcher>>);

impl Watchers {
    fn tell(&mut self, outcome: Result<(), &Status>) {
        // The innermost interceptor was added first and is told first.
        for watcher in self.0.drain(..) {
            watcher.ended(outcome);
        }
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(RawRequestSink, RawReplyStream, RawPendingReply);

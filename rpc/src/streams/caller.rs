//! The caller's ends of a call with a stream, over bytes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::client::StreamCall;
use crate::status::{Code, Execution, Status};

/// The requests of a call. Dropping it before [`RawRequestSink::finish`]
/// cancels the call.
pub struct RawRequestSink {
    call: Arc<StreamCall>,
    is_finished: bool,
}

impl RawRequestSink {
    pub(crate) fn new(call: Arc<StreamCall>) -> Self {
        Self {
            call,
            is_finished: false,
        }
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
}

impl RawReplyStream {
    pub(crate) fn new(call: Arc<StreamCall>) -> Self {
        Self { call }
    }

    /// The next message; `None` when the call has ended well. Messages that
    /// came before a failure come before it here, too. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// The status with which the call failed, again and again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|cx| self.call.poll_reply(cx)).await
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
}

impl RawPendingReply {
    pub(crate) fn new(call: Arc<StreamCall>) -> Self {
        Self { call }
    }
}

impl Future for RawPendingReply {
    type Output = Result<Bytes, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(self.call.poll_reply(cx));
        Poll::Ready(reply.and_then(|reply| {
            reply.ok_or_else(|| {
                Status::new(
                    Code::Internal,
                    Execution::Executed,
                    "the reply was taken already",
                )
            })
        }))
    }
}

impl Drop for RawPendingReply {
    fn drop(&mut self) {
        self.call.cancel();
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

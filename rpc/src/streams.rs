//! Streams of messages, as callers and handlers hold them.
//!
//! The `Raw` ones carry bytes; the others carry Protocol Buffers messages, and
//! are what generated code uses. Sending waits for credit, so whoever sends is
//! never further ahead of the reader than a window
//! ([`STREAM_WINDOW_BYTES`](crate::limits::STREAM_WINDOW_BYTES)) and a message.
//!
//! Dropping is cancelling: a [`RequestSink`] that is not finished, a
//! [`ReplyStream`] that has not ended and a [`PendingReply`] that was not
//! answered cancel the call, and the server drops its handler.

mod caller;
mod handler;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use prost::Message;

pub use caller::{RawPendingReply, RawReplyStream, RawRequestSink};
pub use handler::{RawReplies, RawRequests};

use crate::generated::{bad_reply, encode};
use crate::status::{Code, Execution, Status};
use crate::strict::{Deterministic, StrictError, decode_strict};

/// How a message is read.
type Decode<M> = fn(Bytes) -> Result<M, StrictError>;

fn leniently<M: Message + Default>(body: Bytes) -> Result<M, StrictError> {
    Ok(M::decode(body)?)
}

/// The requests of a call, to be sent one by one.
pub struct RequestSink<M> {
    raw: RawRequestSink,
    messages: PhantomData<fn(&M)>,
}

impl<M: Message> RequestSink<M> {
    /// Sends messages over `raw`.
    pub fn new(raw: RawRequestSink) -> Self {
        let messages = PhantomData;
        Self { raw, messages }
    }

    /// Queues a message, when there is credit for it. Dropping the future
    /// before that leaves nothing behind.
    ///
    /// # Errors
    ///
    /// As [`RawRequestSink::send`].
    pub async fn send(&mut self, message: &M) -> Result<(), Status> {
        self.raw.send(encode(message)).await
    }

    /// Says that no message follows. What was queued is still sent.
    pub fn finish(self) {
        self.raw.finish();
    }
}

/// The replies of a call, to be taken one by one.
pub struct ReplyStream<M> {
    raw: RawReplyStream,
    decode: Decode<M>,
}

impl<M: Message + Default> ReplyStream<M> {
    /// Takes messages from `raw`.
    pub fn new(raw: RawReplyStream) -> Self {
        let decode = leniently;
        Self { raw, decode }
    }

    /// The same, and takes them in their deterministic encoding alone.
    pub fn strict(raw: RawReplyStream) -> Self
    where
        M: Deterministic,
    {
        let decode = decode_strict;
        Self { raw, decode }
    }

    /// The next message; `None` when the call has ended well. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`RawReplyStream::next`]; or a reply that does not decode, with which
    /// the call is cancelled.
    pub async fn next(&mut self) -> Result<Option<M>, Status> {
        let Some(body) = self.raw.next().await? else {
            return Ok(None);
        };
        (self.decode)(body).map(Some).map_err(|error| {
            self.raw.cancel();
            let message = format!("reply does not decode: {error}");
            Status::new(Code::Internal, Execution::MaybeExecuted, message)
        })
    }
}

/// The one reply to a stream of requests. A future; dropping it unanswered
/// cancels the call.
pub struct PendingReply<M> {
    raw: RawPendingReply,
    decode: Decode<M>,
}

impl<M: Message + Default> PendingReply<M> {
    /// Waits for a message from `raw`.
    pub fn new(raw: RawPendingReply) -> Self {
        let decode = leniently;
        Self { raw, decode }
    }

    /// The same, and takes them in their deterministic encoding alone.
    pub fn strict(raw: RawPendingReply) -> Self
    where
        M: Deterministic,
    {
        let decode = decode_strict;
        Self { raw, decode }
    }
}

impl<M: Message + Default> Future for PendingReply<M> {
    type Output = Result<M, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let body = ready!(Pin::new(&mut self.raw).poll(cx));
        let decode = self.decode;
        Poll::Ready(body.and_then(|body| decode(body).map_err(|error| bad_reply(&error))))
    }
}

/// The requests of a call, as its handler takes them. Dropping it throws the
/// rest away; the call goes on.
pub struct Requests<M> {
    raw: RawRequests,
    decode: Decode<M>,
}

impl<M: Message + Default> Requests<M> {
    /// Takes messages from `raw`.
    pub fn new(raw: RawRequests) -> Self {
        let decode = leniently;
        Self { raw, decode }
    }

    /// The same, and takes them in their deterministic encoding alone.
    pub fn strict(raw: RawRequests) -> Self
    where
        M: Deterministic,
    {
        let decode = decode_strict;
        Self { raw, decode }
    }

    /// The next message; `None` when the caller has finished. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`RawRequests::next`]; or a request that does not decode: to be
    /// returned to the caller, unless the handler knows better.
    pub async fn next(&mut self) -> Result<Option<M>, Status> {
        let Some(body) = self.raw.next().await? else {
            return Ok(None);
        };
        (self.decode)(body).map(Some).map_err(|error| {
            let message = format!("request does not decode: {error}");
            Status::new(Code::InvalidArgument, Execution::MaybeExecuted, message)
        })
    }
}

/// The replies of a call, as its handler sends them. They end when the handler
/// does.
pub struct Replies<M> {
    raw: RawReplies,
    messages: PhantomData<fn(&M)>,
}

impl<M: Message> Replies<M> {
    /// Sends messages over `raw`.
    pub fn new(raw: RawReplies) -> Self {
        let messages = PhantomData;
        Self { raw, messages }
    }

    /// Queues a message, when there is credit for it.
    ///
    /// # Errors
    ///
    /// As [`RawReplies::send`].
    pub async fn send(&mut self, message: &M) -> Result<(), Status> {
        self.raw.send(encode(message)).await
    }
}

/// What is in a stream is nobody's to log.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl<M> fmt::Debug for $name<M> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_tuple(stringify!($name)).field(&self.raw).finish()
            }
        }
    )*};
}

opaque!(RequestSink, ReplyStream, PendingReply, Requests, Replies);

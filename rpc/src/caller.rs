//! What generated clients call over.

use std::future::Future;

use bytes::Bytes;

use crate::client::{CallOptions, Connection};
use crate::retry::Guard;
use crate::retrying::Retrying;
use crate::status::Status;
use crate::streams::{RawPendingReply, RawReplyStream, RawRequestSink};

/// Makes calls: a [`Connection`], each call once, or [`Retrying`].
///
/// Whoever implements it decides whether a call may act twice: it may be sent
/// again beyond what [`Guard`] allows only after
/// [`Execution::is_safe_to_retry`](crate::Execution::is_safe_to_retry).
pub trait Caller: Send + Sync {
    /// Calls a method and waits for its reply, at most for the options' timeout.
    ///
    /// Dropping the future cancels the call.
    fn call(
        &self,
        method: u64,
        guard: Guard,
        body: Bytes,
        options: &CallOptions,
    ) -> impl Future<Output = Result<Bytes, Status>> + Send;

    /// Calls a method with a stream of requests, which is answered once. Done as
    /// soon as there is something to call over; nothing has been sent yet then.
    ///
    /// Its errors are [`NotSent`](crate::Execution::NotSent): what fails later
    /// comes out of the streams.
    fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> impl Future<Output = Result<(RawRequestSink, RawPendingReply), Status>> + Send;

    /// Calls a method that answers with a stream; otherwise as
    /// [`Caller::client_stream`].
    fn server_stream(
        &self,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> impl Future<Output = Result<RawReplyStream, Status>> + Send;

    /// Calls a method with streams both ways; otherwise as
    /// [`Caller::client_stream`].
    fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> impl Future<Output = Result<(RawRequestSink, RawReplyStream), Status>> + Send;
}

/// One attempt, whatever the guard: nothing is sent twice, so an at-most-once
/// method needs no name here, and the server keeps nothing of the call. It ends
/// with the connection, as any other does.
impl Caller for Connection {
    async fn call(
        &self,
        method: u64,
        _: Guard,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        self.call_with(method, body, options).await
    }

    async fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        Self::client_stream(self, method, options)
    }

    async fn server_stream(
        &self,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        Self::server_stream(self, method, body, options)
    }

    async fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        Self::bidirectional(self, method, options)
    }
}

impl Caller for Retrying {
    async fn call(
        &self,
        method: u64,
        guard: Guard,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Status> {
        Self::call(self, method, guard, body, options).await
    }

    async fn client_stream(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawPendingReply), Status> {
        Self::client_stream(self, method, options).await
    }

    async fn server_stream(
        &self,
        method: u64,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<RawReplyStream, Status> {
        Self::server_stream(self, method, body, options).await
    }

    async fn bidirectional(
        &self,
        method: u64,
        options: &CallOptions,
    ) -> Result<(RawRequestSink, RawReplyStream), Status> {
        Self::bidirectional(self, method, options).await
    }
}

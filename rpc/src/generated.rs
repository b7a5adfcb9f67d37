//! What generated stubs call. Not for use by hand: it changes with the
//! generator.

use bytes::Bytes;
use prost::Message;

use crate::service::{ReplyFuture, StreamFuture};
use crate::status::{Code, Execution, Status};

/// A request for a handler.
///
/// # Errors
///
/// Bytes that are no such message: the handler does not run.
pub fn decode_request<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| {
        let message = format!("request does not decode: {error}");
        Status::new(Code::InvalidArgument, Execution::NotStarted, message)
    })
}

/// A reply for a caller.
///
/// # Errors
///
/// Bytes that are no such message: the handler has run.
pub fn decode_reply<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| {
        let message = format!("reply does not decode: {error}");
        Status::new(Code::Internal, Execution::Executed, message)
    })
}

/// A message as a body.
pub fn encode<M: Message>(message: &M) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// The answer to a call that has no handler.
pub fn refuse(status: Status) -> ReplyFuture {
    Box::pin(std::future::ready(Err(status)))
}

/// The same for a call with a stream of replies.
pub fn refuse_stream(status: Status) -> StreamFuture {
    Box::pin(std::future::ready(Err(status)))
}

/// The status of a method that a service does not have.
pub fn unknown_method(method: u64) -> Status {
    let message = format!("no method {method:#018x}");
    Status::new(Code::Unimplemented, Execution::NotStarted, message)
}

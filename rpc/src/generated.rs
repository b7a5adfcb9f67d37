//! What generated stubs call. Not for use by hand: it changes with the
//! generator.

use std::fmt;

use bytes::Bytes;
use prost::Message;

use crate::service::{ReplyFuture, StreamFuture};
use crate::status::{Code, Execution, Status};
use crate::strict::{Deterministic, decode_strict};

/// A request for a handler.
///
/// # Errors
///
/// Bytes that are no such message: the handler does not run.
pub fn decode_request<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| bad_request(&error))
}

/// The same, in its deterministic encoding alone.
///
/// # Errors
///
/// Any other bytes: the handler does not run.
pub fn decode_request_strict<M: Deterministic + Default>(body: Bytes) -> Result<M, Status> {
    decode_strict(body).map_err(|error| bad_request(&error))
}

/// A reply for a caller.
///
/// # Errors
///
/// Bytes that are no such message: the handler has run.
pub fn decode_reply<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| bad_reply(&error))
}

/// The same, in its deterministic encoding alone.
///
/// # Errors
///
/// Any other bytes: the handler has run.
pub fn decode_reply_strict<M: Deterministic + Default>(body: Bytes) -> Result<M, Status> {
    decode_strict(body).map_err(|error| bad_reply(&error))
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
    Status::new(
        Code::Unimplemented,
        Execution::NotStarted,
        no_method(method),
    )
}

/// For whoever reads logs: a number says nothing by itself.
pub(crate) fn no_method(method: u64) -> String {
    format!("no method {method:#018x}: its service is not served here, or by another schema")
}

fn bad_request(error: &dyn fmt::Display) -> Status {
    let message = format!("request does not decode: {error}");
    Status::new(Code::InvalidArgument, Execution::NotStarted, message)
}

pub(crate) fn bad_reply(error: &dyn fmt::Display) -> Status {
    let message = format!("reply does not decode: {error}");
    Status::new(Code::Internal, Execution::Executed, message)
}

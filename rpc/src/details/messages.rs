//! The messages of `rpc/proto/sealmoot/rpc/v1/details.proto`. Written by hand:
//! the generator's output needs this crate.

use prost::{Message, Name};

const PACKAGE: &str = "sealmoot.rpc.v1";

/// All details of a status.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Details {
    #[prost(message, repeated, tag = "1")]
    pub(super) details: Vec<Detail>,
}

/// One message of any type.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// When the same call may well succeed. A client that sends calls again waits so
/// long: [`Attempts::failed`](crate::retry::Attempts::failed).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RetryAfter {
    /// From the failure on.
    #[prost(uint64, tag = "1")]
    pub milliseconds: u64,
}

/// What is wrong with a request.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BadRequest {
    /// Field by field.
    #[prost(message, repeated, tag = "1")]
    pub violations: Vec<FieldViolation>,
}

/// What is wrong with a field.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FieldViolation {
    /// Its path, such as `items.count`.
    #[prost(string, tag = "1")]
    pub field: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
}

macro_rules! named {
    ($($name:ident),*) => {$(
        impl Name for $name {
            const NAME: &'static str = stringify!($name);
            const PACKAGE: &'static str = PACKAGE;
        }
    )*};
}

named!(RetryAfter, BadRequest, FieldViolation);

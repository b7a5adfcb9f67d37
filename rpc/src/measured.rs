//! Counts and times calls.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::interceptor::{
    ClientInterceptor, EndedCall, IncomingCall, MethodNames, OutgoingCall, ServerInterceptor,
};
use crate::service::CallContext;
use crate::status::{Code, Status};

/// Tells the recorder of the `metrics` crate of every call, on both sides:
///
/// | Name | Kind | Labels |
/// |---|---|---|
/// | `sealmoot_rpc_client_calls_total` | counter, of ended calls | `method`, `code` |
/// | `sealmoot_rpc_client_call_duration_seconds` | histogram, of ended calls | `method` |
/// | `sealmoot_rpc_client_calls_in_flight` | gauge | `method` |
/// | `sealmoot_rpc_server_calls_total` | counter, of ended handlers | `method`, `code` |
/// | `sealmoot_rpc_server_call_duration_seconds` | histogram, of ended handlers | `method` |
/// | `sealmoot_rpc_server_calls_in_flight` | gauge, of handlers | `method` |
///
/// With the feature `metrics` every server of the process also tells of its
/// connections, whether or not its router is measured:
///
/// | Name | Kind | Labels |
/// |---|---|---|
/// | `sealmoot_rpc_server_connections_open` | gauge, of admitted peers | |
/// | `sealmoot_rpc_server_handshakes_failed_total` | counter | `reason`: `failed` (refused, or broke a rule), `out_of_time`, `displaced` |
///
/// `method` is a name of the table, or `other`, so that callers cannot make up
/// labels. `code` is the [`Code`] in snake case, such as `deadline_exceeded`;
/// `ok` of a success. A call with a stream lasts as long as it does.
///
/// What never reaches a handler is not counted by the server: see
/// [`ServerInterceptor`]. Neither is what an interceptor before this one refuses.
#[derive(Clone, Debug)]
pub struct Measured {
    names: MethodNames,
}

impl Measured {
    /// With these labels.
    pub fn new(names: MethodNames) -> Self {
        Self { names }
    }

    fn method(&self, method: u64) -> Arc<str> {
        self.names.name(method)
    }
}

impl ClientInterceptor for Measured {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let method = self.method(call.method);
        gauge!("sealmoot_rpc_client_calls_in_flight", "method" => method).increment(1.0);
        Ok(())
    }

    fn after(&self, call: &EndedCall<'_>) {
        let method = self.method(call.method);
        let code = code_of(call.outcome);
        gauge!("sealmoot_rpc_client_calls_in_flight", "method" => method.clone()).decrement(1.0);
        counter!("sealmoot_rpc_client_calls_total", "method" => method.clone(), "code" => code)
            .increment(1);
        histogram!("sealmoot_rpc_client_call_duration_seconds", "method" => method)
            .record(call.elapsed);
    }
}

impl ServerInterceptor for Measured {
    fn before(&self, _: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        let method = self.method(call.method);
        gauge!("sealmoot_rpc_server_calls_in_flight", "method" => method).increment(1.0);
        Ok(())
    }

    fn after(
        &self,
        _: &CallContext,
        call: &IncomingCall,
        outcome: Result<(), &Status>,
        elapsed: Duration,
    ) {
        let method = self.method(call.method);
        let code = code_of(outcome);
        gauge!("sealmoot_rpc_server_calls_in_flight", "method" => method.clone()).decrement(1.0);
        counter!("sealmoot_rpc_server_calls_total", "method" => method.clone(), "code" => code)
            .increment(1);
        histogram!("sealmoot_rpc_server_call_duration_seconds", "method" => method).record(elapsed);
    }
}

/// As a label.
fn code_of(outcome: Result<(), &Status>) -> &'static str {
    match outcome.map_or_else(Status::code, |()| Code::Ok) {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::InvalidArgument => "invalid_argument",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::Unauthenticated => "unauthenticated",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::OutcomeUnknown => "outcome_unknown",
    }
}

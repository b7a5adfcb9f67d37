//! The interceptor of both sides.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sealmoot_crypto::secret::SecretArray;
use tracing::Span;
use tracing::field::{Empty, display};

use super::{CURRENT, Current, TRACEPARENT, TraceContext, current};
use crate::hexadecimal::Hexadecimal;
use crate::interceptor::{
    ClientInterceptor, EndedCall, IncomingCall, MethodNames, OutgoingCall, ServerInterceptor,
};
use crate::service::CallContext;
use crate::status::{Code, Status};

/// Passes trace contexts on, on both sides.
///
/// Of a client: a call carries a child of the current context, or begins a
/// trace, unless its metadata has a `traceparent` already. Its end is an event
/// `rpc.client` at the level debug.
///
/// Of a server: a call runs in a `tracing` span `rpc.server` at the level info,
/// with the fields `method`, `trace_id`, `span_id`, `parent_id` (of a trace that
/// came in), `peer` (its key id) and, in the end, `code`. While the handler runs
/// its context is [`TraceContext::current`]. A malformed `traceparent` is
/// ignored: a new trace begins.
#[derive(Clone, Debug, Default)]
pub struct Traced {
    names: MethodNames,
}

impl Traced {
    /// With names of methods for the field `method`; others are `other`, with
    /// their number behind it.
    pub fn new(names: MethodNames) -> Self {
        Self { names }
    }

    fn name(&self, method: u64) -> String {
        let name = self.names.name(method);
        format!("{name} ({method:#018x})")
    }
}

impl ClientInterceptor for Traced {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let metadata = &mut call.options.metadata;
        if metadata.get(TRACEPARENT).is_some() {
            return Ok(());
        }
        if let Some(next) = next(current().as_deref()) {
            next.send(metadata);
        }
        Ok(())
    }

    fn after(&self, call: &EndedCall<'_>) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Some(Current { context, .. }) = Current::received(&call.options.metadata) else {
            return;
        };
        tracing::debug!(
            name: "rpc.client",
            method = self.name(call.method),
            trace_id = %Hexadecimal(&context.trace_id),
            span_id = %Hexadecimal(&context.span_id),
            code = %code_of(call.outcome),
            elapsed = ?call.elapsed,
            "a call has ended"
        );
    }
}

impl ServerInterceptor for Traced {
    fn before(&self, context: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        let parent = Current::received(context.metadata());
        // Without randomness the call goes on untraced.
        let Some(here) = next(parent.as_ref()) else {
            return Ok(());
        };
        let span = tracing::info_span!(
            "rpc.server",
            method = self.name(call.method),
            trace_id = %Hexadecimal(&here.context.trace_id),
            span_id = %Hexadecimal(&here.context.span_id),
            parent_id = Empty,
            peer = %context.peer().key_id(),
            code = Empty,
        );
        if let Some(parent) = parent {
            let parent_id = Hexadecimal(&parent.context.span_id);
            span.record("parent_id", display(parent_id));
        }
        context.insert(Operation {
            current: Arc::new(here),
            span,
        });
        Ok(())
    }

    fn around(&self, context: &CallContext, _: &IncomingCall, work: &mut dyn FnMut()) {
        let Some(operation) = context.get::<Operation>() else {
            return work();
        };
        let current = Arc::clone(&operation.current);
        CURRENT.sync_scope(current, || operation.span.in_scope(work));
    }

    fn after(
        &self,
        context: &CallContext,
        _: &IncomingCall,
        outcome: Result<(), &Status>,
        _: Duration,
    ) {
        if let Some(operation) = context.get::<Operation>() {
            operation.span.record("code", display(code_of(outcome)));
        }
    }
}

/// What a call of the server is, in its trace.
struct Operation {
    current: Arc<Current>,
    span: Span,
}

/// The next operation behind `parent`, or the first of a trace.
fn next(parent: Option<&Current>) -> Option<Current> {
    match parent {
        Some(parent) => Some(parent.child(random()?)),
        None => Some(Current {
            context: TraceContext::root(random()?),
            state: Bytes::new(),
        }),
    }
}

fn random<const LENGTH: usize>() -> Option<[u8; LENGTH]> {
    let random = SecretArray::<LENGTH>::random().ok()?;
    Some(*random.expose())
}

fn code_of(outcome: Result<(), &Status>) -> Code {
    outcome.map_or_else(Status::code, |()| Code::Ok)
}

//! Which calls belong together, over any number of processes: W3C Trace Context
//! Level 1 (<https://www.w3.org/TR/trace-context-1/>).
//!
//! [`Traced`] is an interceptor for both sides. On the server it opens a
//! `tracing` span for each call and makes its context the current one while the
//! handler runs; on the client it sends a child of the current context along. So
//! a handler that calls others passes the trace on by itself. The context
//! travels as the metadata `traceparent` and `tracestate`.
//!
//! What comes in is the caller's word and decides nothing: a peer can choose
//! which trace its calls are counted to.
//!
//! A task that a handler spawns is outside of the context, as is what it
//! [shields](crate::shield()), unless it is wrapped in [`carried`].

mod traced;
mod traceparent;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::metadata::Metadata;

pub use traced::Traced;
pub use traceparent::TraceParentError;

/// The metadata key of a [`TraceContext`].
pub const TRACEPARENT: &str = "traceparent";

/// The metadata key of what other tracing systems say of the trace.
pub const TRACESTATE: &str = "tracestate";

/// Bytes of a `tracestate`, at most; a longer one is dropped whole. What every
/// system has to pass on (section 3.3.1.5).
pub const TRACESTATE_BYTES_MAX: usize = 512;

/// One operation within a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Of all operations that belong together; never all zero.
    pub trace_id: [u8; 16],
    /// Of this one; never all zero. The standard calls it `parent-id`, as the
    /// next one sees it.
    pub span_id: [u8; 8],
    /// Whether the caller may have recorded it.
    pub is_sampled: bool,
}

impl TraceContext {
    /// A new trace, sampled. `random` is uniform.
    pub fn root(random: [u8; 24]) -> Self {
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&random[..16]);
        span_id.copy_from_slice(&random[16..]);
        Self {
            trace_id: not_zero(trace_id),
            span_id: not_zero(span_id),
            is_sampled: true,
        }
    }

    /// The next operation of the same trace. `random` is uniform.
    #[must_use]
    pub fn child(&self, random: [u8; 8]) -> Self {
        Self {
            span_id: not_zero(random),
            ..*self
        }
    }

    /// The context of the handler that runs, or of the [`scope`] around.
    pub fn current() -> Option<Self> {
        current().map(|current| current.context)
    }
}

/// All zero means that there is none.
fn not_zero<const LENGTH: usize>(mut id: [u8; LENGTH]) -> [u8; LENGTH] {
    if id == [0; LENGTH] {
        id[LENGTH - 1] = 1;
    }
    id
}

/// Runs a future with `context` as the current one: a program's own calls then
/// belong to that trace.
pub async fn scope<F: Future>(context: TraceContext, future: F) -> F::Output {
    let state = Bytes::new();
    CURRENT
        .scope(Arc::new(Current { context, state }), future)
        .await
}

/// The future with the context that is current now, wherever it will run: for
/// tasks that a handler spawns.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let current = current();
    async move {
        match current {
            Some(current) => CURRENT.scope(current, future).await,
            None => future.await,
        }
    }
}

/// A context with what other systems say of its trace, unread.
#[derive(Debug, PartialEq, Eq)]
struct Current {
    context: TraceContext,
    /// Empty when there is none.
    state: Bytes,
}

impl Current {
    /// What came with a call. A malformed header is none: the caller's mistake
    /// must not fail its call.
    fn received(metadata: &Metadata) -> Option<Self> {
        let context = TraceContext::parse(metadata.get(TRACEPARENT)?).ok()?;
        let state = metadata.get(TRACESTATE).filter(|state| may_pass(state));
        let state = state.map(Bytes::copy_from_slice).unwrap_or_default();
        Some(Self { context, state })
    }

    /// The next operation of the same trace. `random` is uniform.
    fn child(&self, random: [u8; 8]) -> Self {
        Self {
            context: self.context.child(random),
            state: self.state.clone(),
        }
    }

    fn send(&self, metadata: &mut Metadata) {
        // Metadata that is full has no room for a trace; the call goes on.
        let is_sent = metadata
            .insert(TRACEPARENT, self.context.to_string())
            .is_ok();
        if is_sent && !self.state.is_empty() {
            let _ = metadata.insert(TRACESTATE, &self.state);
        }
    }
}

/// What a handler's own call sends of a trace that came with `received`; `None`
/// where none came. `random` is uniform.
pub(crate) fn passed_on(received: &Metadata, random: [u8; 8]) -> Option<Metadata> {
    let mut sent = Metadata::new();
    Current::received(received)?.child(random).send(&mut sent);
    Some(sent)
}

/// Whether it could be a header of HTTP, where it may go next. Its list is read
/// by those whose entries stand in it.
fn may_pass(state: &[u8]) -> bool {
    state.len() <= TRACESTATE_BYTES_MAX && state.iter().all(|byte| matches!(byte, 0x20..=0x7e))
}

tokio::task_local! {
    static CURRENT: Arc<Current>;
}

fn current() -> Option<Arc<Current>> {
    CURRENT.try_with(Arc::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn received(state: &[u8]) -> Option<Current> {
        let mut metadata = Metadata::new();
        metadata.insert(TRACEPARENT, PARENT).expect("room");
        metadata.insert(TRACESTATE, state).expect("room");
        Current::received(&metadata)
    }

    #[test]
    fn ids_are_never_all_zero() {
        let root = TraceContext::root([0; 24]);
        assert_ne!(root.trace_id, [0; 16]);
        assert_ne!(root.span_id, [0; 8]);
        assert_ne!(root.child([0; 8]).span_id, [0; 8]);
        assert!(TraceContext::parse(root.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn a_child_is_another_operation_of_the_same_trace() {
        let root = TraceContext::root([7; 24]);
        let child = root.child([8; 8]);
        assert_eq!(child.trace_id, root.trace_id);
        assert_eq!(child.is_sampled, root.is_sampled);
        assert_eq!(child.span_id, [8; 8]);
    }

    #[test]
    fn a_tracestate_passes_unread_within_its_limits() {
        let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
        let current = received(state.as_bytes()).expect("a context");
        assert_eq!(current.state, state.as_bytes());
        let mut metadata = Metadata::new();
        current.send(&mut metadata);
        assert_eq!(metadata.get(TRACEPARENT), Some(PARENT.as_bytes()));
        assert_eq!(metadata.get(TRACESTATE), Some(state.as_bytes()));
        let longest = [b'a'; TRACESTATE_BYTES_MAX];
        assert_eq!(received(&longest).expect("a context").state, &longest[..]);
    }

    #[test]
    fn a_tracestate_beyond_its_limits_is_dropped_and_the_trace_goes_on() {
        let too_long = [b'a'; TRACESTATE_BYTES_MAX + 1];
        for state in [&too_long[..], b"a=1\r\nx: y", b"a=\xff", b"a=\0"] {
            let current = received(state).expect("a context");
            assert!(current.state.is_empty(), "{state:?}");
        }
    }

    #[test]
    fn a_tracestate_without_a_sound_parent_is_not_believed() {
        let mut metadata = Metadata::new();
        metadata.insert(TRACESTATE, "a=1").expect("room");
        assert_eq!(Current::received(&metadata), None);
        metadata.insert(TRACEPARENT, "00-0-0-0").expect("room");
        assert_eq!(Current::received(&metadata), None);
    }

    #[tokio::test]
    async fn what_is_carried_keeps_its_context_in_another_task() {
        assert_eq!(TraceContext::current(), None);
        let context = TraceContext::root([7; 24]);
        let (bare, kept) = scope(context, async {
            let ask = || async { TraceContext::current() };
            (tokio::spawn(ask()), tokio::spawn(carried(ask())))
        })
        .await;
        assert_eq!(bare.await.expect("no panic"), None);
        assert_eq!(kept.await.expect("no panic"), Some(context));
    }
}

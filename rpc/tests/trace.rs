//! A trace and a deadline through several servers, and the spans of one.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::{Anyone, PATIENCE, connect, key};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{Origin, Transport};
use sealmoot_rpc::interceptor::MethodNames;
use sealmoot_rpc::trace::{TRACEPARENT, TRACESTATE, TraceContext, Traced, scope};
use sealmoot_rpc::{
    CallContext, CallOptions, Caller, ChannelBinding, Code, Connection, Execution, Guard,
    Idempotency, Intercepted, Limits, Peer, ReplyFuture, Router, Server, ServerHandle, Service,
    Status,
};
use tokio::net::TcpListener;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const HOP: u64 = 1;
const FAIL: u64 = 2;

const PLAIN: Guard = Guard::Method(Idempotency::Unknown);

type Client = Intercepted<Connection, Traced>;

/// Answers with a line about its call, behind those of the servers that it calls.
struct Hop {
    next: Option<Client>,
    /// What it lets the next one have.
    timeout_max: Duration,
}

impl Service for Hop {
    fn methods(&self) -> &[u64] {
        &[HOP, FAIL]
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        let (next, timeout_max) = (self.next.clone(), self.timeout_max);
        Box::pin(async move {
            // Not in the first poll alone.
            tokio::task::yield_now().await;
            if method == FAIL {
                return Err(Status::new(Code::NotFound, Execution::Executed, ""));
            }
            let here = TraceContext::current().map_or("none".to_owned(), |here| here.to_string());
            let remaining = context.remaining().expect("a deadline").as_millis();
            let metadata = context.metadata();
            let state = metadata.get(TRACESTATE).unwrap_or(b"none");
            let came = metadata.get(TRACEPARENT).unwrap_or(b"none");
            let text = |bytes| std::str::from_utf8(bytes).expect("text");
            let line = format!("{here} {} {remaining} {}\n", text(came), text(state));
            let mut lines = line.into_bytes();
            if let Some(next) = next {
                // Behind what was said to remain: taken before, it would be more.
                let options = CallOptions::within(&context, timeout_max);
                lines.extend(next.call(HOP, PLAIN, body, &options).await?);
            }
            Ok(Bytes::from(lines))
        })
    }
}

async fn serve(hop: Hop) -> ServerHandle {
    let names = MethodNames::from_iter([(HOP, "trial.v1.Trial/Hop")]);
    let router = Router::new()
        .service(hop)
        .expect("no duplicates")
        .intercepted_by(Traced::new(names));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authorizer = Arc::new(Anyone(b""));
    Server::start(listener, &key(), authorizer, router, Limits::default())
        .expect("sound configuration")
}

/// Servers that call each other in order, the first by its client. Each gives the
/// next so much time at most.
async fn chain(timeouts_max: &[Duration]) -> (Vec<ServerHandle>, Client) {
    LazyLock::force(&CAPTURE);
    let mut servers: Vec<ServerHandle> = Vec::new();
    let mut next = None;
    for timeout_max in timeouts_max.iter().rev() {
        let timeout_max = *timeout_max;
        let server = serve(Hop { next, timeout_max }).await;
        next = Some(Intercepted::new(connect(&server).await, Traced::default()));
        servers.push(server);
    }
    (servers, next.expect("a server"))
}

/// What one server said: its context, the one that came in, the milliseconds
/// that remained, and the state.
struct Line {
    here: TraceContext,
    came: Option<TraceContext>,
    remaining: u64,
    state: String,
}

fn lines(reply: &[u8]) -> Vec<Line> {
    let text = std::str::from_utf8(reply).expect("text");
    let line = |line: &str| {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        Line {
            here: TraceContext::parse(parts[0].as_bytes()).expect("a context"),
            came: TraceContext::parse(parts[1].as_bytes()).ok(),
            remaining: parts[2].parse().expect("a number"),
            state: parts[3].to_owned(),
        }
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn the_trace_and_the_deadline_travel_through_three_servers() {
    let minute = Duration::from_secs(60);
    let (_servers, client) = chain(&[minute, minute, minute]).await;
    let mut options = CallOptions::new(Duration::from_secs(30));
    options.metadata.insert(TRACESTATE, "a=1,b=2").unwrap();
    let root = TraceContext::root([9; 24]);
    options
        .metadata
        .insert(TRACEPARENT, root.to_string())
        .unwrap();
    let reply = client.call(HOP, PLAIN, Bytes::new(), &options).await;
    let lines = lines(&reply.expect("an answer"));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].came, Some(root), "as the caller had set it");
    let mut spans = vec![root.span_id];
    let mut remaining = 30_000;
    for line in &lines {
        assert_eq!(line.here.trace_id, root.trace_id);
        assert_eq!(line.came.expect("a context").trace_id, root.trace_id);
        assert_eq!(line.state, "a=1,b=2");
        // Beyond the first server there are two operations for each: the call
        // made, and the call answered.
        spans.push(line.here.span_id);
        spans.push(line.came.expect("a context").span_id);
        // Not a minute, and never more than the caller has.
        assert!(line.remaining <= remaining, "{}", line.remaining);
        remaining = line.remaining;
    }
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans.len(), 6, "the root, three answered and two made");
}

#[tokio::test]
async fn a_handler_may_give_less_than_it_has() {
    let (minute, given) = (Duration::from_secs(60), Duration::from_secs(20));
    let (_servers, client) = chain(&[given, minute]).await;
    let options = CallOptions::new(Duration::from_secs(100));
    let reply = client.call(HOP, PLAIN, Bytes::new(), &options).await;
    let lines = lines(&reply.expect("an answer"));
    assert!(lines[0].remaining > 20_000 && lines[1].remaining <= 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_call_within_a_handler_has_no_more_time_than_is_left() {
    let now = tokio::time::Instant::now();
    let context = |deadline| {
        let binding = ChannelBinding::from_bytes([0; 32]);
        let (key, claims) = (key().verifying_key(), Arc::new(()));
        let peer = Peer::danger_assume(key, binding, Origin::Memory, Transport::Memory, claims);
        CallContext::new(peer, deadline)
    };
    let second = Duration::from_secs(1);
    for (deadline, timeout_max, timeout) in [
        (Some(now + 3 * second), 5 * second, 3 * second),
        (Some(now + 3 * second), 2 * second, 2 * second),
        (Some(now), second, Duration::ZERO),
        (Some(now - second), second, Duration::ZERO),
        (None, second, second),
    ] {
        let options = CallOptions::within(&context(deadline), timeout_max);
        assert_eq!(options.timeout, timeout);
    }
}

#[tokio::test]
async fn a_call_without_time_is_not_sent() {
    let (_servers, client) = chain(&[PATIENCE]).await;
    let options = CallOptions::new(Duration::ZERO);
    let status = client.call(HOP, PLAIN, Bytes::new(), &options).await;
    let status = status.expect_err("no time");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::NotSent);
}

#[tokio::test]
async fn a_call_begins_a_trace_or_belongs_to_the_one_around_it() {
    let (_servers, client) = chain(&[PATIENCE]).await;
    let options = CallOptions::new(PATIENCE);
    let call = || client.call(HOP, PLAIN, Bytes::new(), &options);
    let (first, second) = (call().await.unwrap(), call().await.unwrap());
    let (first, second) = (lines(&first), lines(&second));
    assert_ne!(first[0].here.trace_id, second[0].here.trace_id);
    let around = TraceContext::root([3; 24]);
    let inside = lines(&scope(around, call()).await.unwrap());
    assert_eq!(inside[0].here.trace_id, around.trace_id);
    let came = inside[0].came.expect("a context");
    assert_ne!(came.span_id, around.span_id, "a child");
    assert_ne!(came.span_id, inside[0].here.span_id);
}

#[tokio::test]
async fn a_malformed_context_fails_no_call_and_begins_a_trace() {
    let (_servers, client) = chain(&[PATIENCE]).await;
    for header in [
        &b"ff-12345678901234567890123456789012-1234567890123456-01"[..],
        b"00-00000000000000000000000000000000-1234567890123456-01",
        b"00-12345678901234567890123456789012-1234567890123456-01.",
        b"",
        b"nonsense",
    ] {
        let mut options = CallOptions::new(PATIENCE);
        options.metadata.insert(TRACEPARENT, header).unwrap();
        let reply = client.call(HOP, PLAIN, Bytes::new(), &options).await;
        let lines = lines(&reply.expect("an answer"));
        let trace_id = 0x1234_5678_9012_3456_7890_1234_5678_9012_u128.to_be_bytes();
        assert_ne!(lines[0].here.trace_id, trace_id);
        assert!(lines[0].came.is_none());
    }
}

/// One for all tests: whether a span is wanted is remembered for the process.
static CAPTURE: LazyLock<Capture> = LazyLock::new(|| {
    let capture = Capture::default();
    tracing::subscriber::set_global_default(capture.clone()).expect("the only one");
    capture
});

/// Keeps what spans and events say.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Captured>>>);

struct Captured {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        let name = span.metadata().name();
        let mut captured = self.0.lock().unwrap();
        captured.push(Captured { name, fields });
        Id::from_u64(captured.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut captured = self.0.lock().unwrap();
        let span = &mut captured[span.into_u64() as usize - 1];
        values.record(&mut Fields(&mut span.fields));
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let name = event.metadata().name();
        self.0.lock().unwrap().push(Captured { name, fields });
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_span_says_what_is_known_of_its_call() {
    let (_servers, client) = chain(&[PATIENCE]).await;
    let options = CallOptions::new(PATIENCE);
    // Other tests write into the same capture.
    let trace = TraceContext::root([0xa5; 24]);
    let reply = scope(trace, client.call(HOP, PLAIN, Bytes::new(), &options)).await;
    let line = &lines(&reply.expect("an answer"))[0];
    scope(trace, client.call(FAIL, PLAIN, Bytes::new(), &options))
        .await
        .expect_err("not found");
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let captured = CAPTURE.0.lock().unwrap();
    let ours = |name| {
        let is_ours = move |one: &&Captured| {
            one.name == name && one.fields.get("trace_id") == Some(&hex(&trace.trace_id))
        };
        captured.iter().filter(is_ours).collect::<Vec<_>>()
    };
    let spans = ours("rpc.server");
    let fields = &spans[0].fields;
    assert_eq!(fields["method"], "trial.v1.Trial/Hop (0x0000000000000001)");
    assert_eq!(fields["trace_id"], hex(&line.here.trace_id));
    assert_eq!(fields["span_id"], hex(&line.here.span_id));
    assert_eq!(fields["parent_id"], hex(&line.came.unwrap().span_id));
    assert_eq!(fields["code"], "ok");
    assert!(!fields["peer"].is_empty());
    assert_eq!(spans[1].fields["method"], "other (0x0000000000000002)");
    assert_eq!(spans[1].fields["code"], "not found");
    let event = ours("rpc.client")[0];
    assert_eq!(event.fields["span_id"], hex(&line.came.unwrap().span_id));
    assert_eq!(event.fields["code"], "ok");
}

//! What interceptors see and decide, over real connections.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Anyone, Gauge, PATIENCE, connect, connector, key};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::interceptor::{EndedCall, IncomingCall, OutgoingCall};
use sealmoot_rpc::{
    CallContext, CallOptions, Caller, ClientInterceptor, Code, DialError, Execution, Guard,
    Idempotency, Intercepted, Limits, Link, MethodKind, RawReplies, RawRequests, ReplyFuture,
    RetryPolicy, Retrying, Router, Server, ServerHandle, ServerInterceptor, Service, Status,
    StreamFuture,
};
use tokio::net::TcpListener;

const ECHO: u64 = 1;
/// Never answers.
const STUCK: u64 = 2;
/// Panics when it is polled, and in its own task.
const PANIC: u64 = 3;
const PANIC_LATER: u64 = 4;
/// Answers what an interceptor has left.
const LEFT: u64 = 5;
const FAIL: u64 = 6;
/// Answers the number of requests.
const COUNT: u64 = 10;
/// Answers so many messages as the request has bytes.
const REPEAT: u64 = 11;
/// Echoes.
const CHAT: u64 = 12;
/// Never answers.
const STUCK_STREAM: u64 = 13;

const PLAIN: Guard = Guard::Method(Idempotency::Unknown);

#[derive(Clone, Default)]
struct Trial {
    entered: Arc<Mutex<Vec<u64>>>,
    stuck: Gauge,
}

impl Trial {
    fn enter(&self, method: u64) {
        self.entered.lock().unwrap().push(method);
    }

    fn entered(&self) -> Vec<u64> {
        self.entered.lock().unwrap().clone()
    }
}

/// What an interceptor leaves for the handler.
struct Left(&'static str);

impl Service for Trial {
    fn methods(&self) -> &[u64] {
        &[
            ECHO,
            STUCK,
            PANIC,
            PANIC_LATER,
            LEFT,
            FAIL,
            COUNT,
            REPEAT,
            CHAT,
            STUCK_STREAM,
        ]
    }

    fn kind(&self, method: u64) -> MethodKind {
        match method {
            COUNT => MethodKind::ClientStream,
            REPEAT | STUCK_STREAM => MethodKind::ServerStream,
            CHAT => MethodKind::Bidirectional,
            _ => MethodKind::Unary,
        }
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        self.enter(method);
        let entered = (method == STUCK).then(|| self.stuck.enter());
        Box::pin(async move {
            let _entered = entered;
            match method {
                STUCK => std::future::pending().await,
                PANIC => panic!("a handler's fault"),
                PANIC_LATER => {
                    tokio::task::yield_now().await;
                    panic!("a handler's later fault")
                }
                LEFT => {
                    let left = context.get::<Left>().map_or("nothing", |left| left.0);
                    Ok(Bytes::from_static(left.as_bytes()))
                }
                FAIL => Err(Status::new(Code::Aborted, Execution::Executed, "no luck")),
                _ => Ok(body),
            }
        })
    }

    fn client_stream(&self, _: CallContext, method: u64, mut requests: RawRequests) -> ReplyFuture {
        self.enter(method);
        Box::pin(async move {
            let mut count = 0;
            while requests.next().await?.is_some() {
                count += 1;
            }
            Ok(Bytes::from(vec![count]))
        })
    }

    fn server_stream(
        &self,
        _: CallContext,
        method: u64,
        body: Bytes,
        mut replies: RawReplies,
    ) -> StreamFuture {
        self.enter(method);
        let entered = (method == STUCK_STREAM).then(|| self.stuck.enter());
        Box::pin(async move {
            let _entered = entered;
            for _ in 0..body.len() {
                replies.send(&b"again"[..]).await?;
            }
            if method == STUCK_STREAM {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn bidirectional(
        &self,
        _: CallContext,
        method: u64,
        mut requests: RawRequests,
        mut replies: RawReplies,
    ) -> StreamFuture {
        self.enter(method);
        Box::pin(async move {
            while let Some(message) = requests.next().await? {
                replies.send(message).await?;
            }
            Ok(())
        })
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// What was noted, once there are so many lines.
    async fn lines(&self, count: usize) -> Vec<String> {
        let reached = async {
            while self.0.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{:?}", self.take()));
        self.take()
    }
}

fn ended(outcome: Result<(), &Status>) -> String {
    outcome.map_or_else(
        |status| format!("{} ({})", status.code(), status.execution()),
        |()| "ok".to_owned(),
    )
}

/// Notes what it sees, and refuses one method.
#[derive(Clone, Default)]
struct Noting {
    name: &'static str,
    journal: Journal,
    refuses: Option<u64>,
    leaves: Option<&'static str>,
}

impl Noting {
    fn new(name: &'static str, journal: &Journal) -> Self {
        Self {
            name,
            journal: journal.clone(),
            ..Self::default()
        }
    }

    fn before(&self, method: u64, kind: MethodKind) -> Result<(), Status> {
        let name = self.name;
        self.journal
            .note(format!("{name} before {method} {kind:?}"));
        if self.refuses == Some(method) {
            // An execution that is not so.
            let refusal = Status::new(Code::PermissionDenied, Execution::Executed, "not this");
            return Err(refusal);
        }
        Ok(())
    }

    fn after(&self, method: u64, outcome: Result<(), &Status>) {
        let (name, outcome) = (self.name, ended(outcome));
        self.journal
            .note(format!("{name} after {method}: {outcome}"));
    }
}

impl ServerInterceptor for Noting {
    fn before(&self, context: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        if let Some(value) = self.leaves {
            context.insert(Left(value));
        }
        self.before(call.method, call.kind)
    }

    fn after(
        &self,
        _: &CallContext,
        call: &IncomingCall,
        outcome: Result<(), &Status>,
        _: Duration,
    ) {
        self.after(call.method, outcome);
    }
}

impl ClientInterceptor for Noting {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        self.before(call.method, call.kind)
    }

    fn after(&self, call: &EndedCall<'_>) {
        self.after(call.method, call.outcome);
    }
}

async fn start(router: Router) -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authorizer = Arc::new(Anyone(b""));
    Server::start(listener, &key(), authorizer, router, Limits::default())
        .expect("sound configuration")
}

/// A server whose calls two interceptors see, one added before the service and
/// one behind it.
async fn served(first: Noting, second: Noting) -> (ServerHandle, Trial) {
    let trial = Trial::default();
    let router = Router::new()
        .intercepted_by(first)
        .service(trial.clone())
        .expect("no duplicates")
        .intercepted_by(second);
    (start(router).await, trial)
}

fn options() -> CallOptions {
    CallOptions::new(PATIENCE)
}

#[tokio::test]
async fn a_servers_interceptors_come_in_order_before_and_reversed_behind() {
    let journal = Journal::default();
    let (server, _) = served(Noting::new("a", &journal), Noting::new("b", &journal)).await;
    let connection = connect(&server).await;
    let call = |method| connection.call(method, &b"x"[..], PATIENCE);
    call(ECHO).await.expect("an answer");
    let unary = [
        "a before 1 Unary",
        "b before 1 Unary",
        "b after 1: ok",
        "a after 1: ok",
    ];
    assert_eq!(journal.take(), unary);
    call(FAIL).await.expect_err("its own failure");
    assert_eq!(
        journal.take()[2..],
        [
            "b after 6: aborted (executed)",
            "a after 6: aborted (executed)"
        ]
    );
}

#[tokio::test]
async fn a_servers_interceptors_see_every_kind_of_call() {
    let journal = Journal::default();
    let (server, _) = served(Noting::new("a", &journal), Noting::default()).await;
    let connection = connect(&server).await;
    let options = options();
    let (mut requests, reply) = connection.client_stream(COUNT, &options).unwrap();
    requests.send(&b"1"[..]).await.unwrap();
    requests.finish();
    assert_eq!(reply.await.unwrap(), &[1][..]);
    let mut replies = connection
        .server_stream(REPEAT, &b"12"[..], &options)
        .unwrap();
    while replies.next().await.unwrap().is_some() {}
    let (requests, mut replies) = connection.bidirectional(CHAT, &options).unwrap();
    requests.finish();
    assert_eq!(replies.next().await, Ok(None));
    assert_eq!(
        journal.take(),
        [
            "a before 10 ClientStream",
            "a after 10: ok",
            "a before 11 ServerStream",
            "a after 11: ok",
            "a before 12 Bidirectional",
            "a after 12: ok",
        ]
    );
}

#[tokio::test]
async fn a_service_that_is_added_behind_an_interceptor_is_seen_by_it() {
    let refusing = Noting {
        refuses: Some(ECHO),
        ..Noting::default()
    };
    let trial = Trial::default();
    let router = Router::new().intercepted_by(refusing);
    let server = start(router.service(trial.clone()).expect("no duplicates")).await;
    let connection = connect(&server).await;
    let status = connection.call(ECHO, &b""[..], PATIENCE).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(trial.entered(), [0; 0]);
}

#[tokio::test]
async fn what_a_servers_interceptor_refuses_does_not_start() {
    let journal = Journal::default();
    for method in [ECHO, COUNT, REPEAT, CHAT] {
        let second = Noting {
            refuses: Some(method),
            ..Noting::new("b", &journal)
        };
        let (server, trial) = served(Noting::new("a", &journal), second).await;
        let connection = connect(&server).await;
        let options = options();
        let status = match method {
            ECHO => connection.call(ECHO, &b""[..], PATIENCE).await.unwrap_err(),
            COUNT => {
                let (_requests, reply) = connection.client_stream(COUNT, &options).unwrap();
                reply.await.unwrap_err()
            }
            REPEAT => {
                let replies = connection.server_stream(REPEAT, &b"1"[..], &options);
                replies.unwrap().next().await.unwrap_err()
            }
            _ => {
                let (_requests, mut replies) = connection.bidirectional(CHAT, &options).unwrap();
                replies.next().await.unwrap_err()
            }
        };
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.execution(), Execution::NotStarted);
        assert_eq!(status.message(), "not this");
        assert_eq!(trial.entered(), [0; 0]);
        // The one that had let it pass is told; the one that refused knows.
        let lines = journal.take();
        assert_eq!(lines.len(), 3, "{lines:?}");
        let told = format!("a after {method}: permission denied (not started)");
        assert_eq!(lines[2], told);
    }
}

#[tokio::test]
async fn a_handler_that_is_dropped_ends_as_cancelled() {
    let journal = Journal::default();
    let (server, trial) = served(Noting::new("a", &journal), Noting::default()).await;
    let connection = connect(&server).await;
    // Cancelled by its caller, out of time, and with a stream of replies.
    tokio::select! {
        answered = connection.call(STUCK, &b""[..], PATIENCE) => panic!("{answered:?}"),
        () = trial.stuck.reaches(1) => {}
    }
    let lines = journal.lines(2).await;
    assert_eq!(lines[1], "a after 2: cancelled (maybe executed)");
    // By the wall clock: the deadline is the server's. Time enough to reach it.
    let short = Duration::from_secs(5);
    let status = connection.call(STUCK, &b""[..], short).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let lines = journal.lines(2).await;
    assert_eq!(lines[1], "a after 2: cancelled (maybe executed)");
    let mut replies = connection
        .server_stream(STUCK_STREAM, &b"1"[..], &options())
        .unwrap();
    assert!(replies.next().await.unwrap().is_some());
    drop(replies);
    let lines = journal.lines(2).await;
    assert_eq!(lines[1], "a after 13: cancelled (maybe executed)");
    // What the handlers held went before anybody was told.
    assert_eq!(trial.stuck.running(), 0);
    // With its connection.
    let calling = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(STUCK, &b""[..], PATIENCE).await })
    };
    trial.stuck.reaches(1).await;
    assert_eq!(journal.take(), ["a before 2 Unary"]);
    connection.close();
    let lines = journal.lines(1).await;
    assert_eq!(lines, ["a after 2: cancelled (maybe executed)"]);
    let status = calling
        .await
        .unwrap()
        .expect_err("the connection is closed");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
}

#[tokio::test]
async fn a_handler_that_panics_ends_as_failed() {
    let journal = Journal::default();
    let (server, _) = served(Noting::new("a", &journal), Noting::default()).await;
    let connection = connect(&server).await;
    for method in [PANIC, PANIC_LATER] {
        let status = connection.call(method, &b""[..], PATIENCE).await;
        assert_eq!(status.unwrap_err().code(), Code::Internal);
        let lines = journal.lines(2).await;
        let told = format!("a after {method}: internal error (maybe executed)");
        assert_eq!(lines[1], told);
    }
}

#[tokio::test]
async fn a_handler_finds_what_an_interceptor_has_left() {
    let (first, second) = (Noting::default(), Noting::default());
    let (server, _) = served(first.clone(), second.clone()).await;
    let reply = connect(&server).await.call(LEFT, &b""[..], PATIENCE).await;
    assert_eq!(reply.unwrap(), "nothing");
    let leaving = |leaves| Noting {
        leaves: Some(leaves),
        ..Noting::default()
    };
    let (server, _) = served(leaving("first"), leaving("second")).await;
    let reply = connect(&server).await.call(LEFT, &b""[..], PATIENCE).await;
    assert_eq!(reply.unwrap(), "second", "one value of a type");
}

/// Does not run what it is given, or runs it twice.
struct Careless(usize);

impl ServerInterceptor for Careless {
    fn around(&self, _: &CallContext, _: &IncomingCall, work: &mut dyn FnMut()) {
        for _ in 0..self.0 {
            work();
        }
    }
}

#[tokio::test]
async fn a_handler_runs_once_however_often_an_interceptor_runs_it() {
    for times in [0, 1, 2] {
        let trial = Trial::default();
        let router = Router::new().service(trial.clone()).unwrap();
        let router = router
            .intercepted_by(Careless(times))
            .intercepted_by(Careless(times));
        let server = start(router).await;
        let connection = connect(&server).await;
        let reply = connection.call(ECHO, &b"x"[..], PATIENCE).await;
        assert_eq!(reply.unwrap(), "x", "{times}");
        assert_eq!(trial.entered(), [ECHO]);
    }
}

fn retrying(server: &ServerHandle) -> Retrying {
    let address = server.local_addr().to_string();
    let connector = connector(Limits::default());
    let link = Link::start(move || {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let connected = connector.connect(&address, PATIENCE);
            connected.await.map_err(DialError::from)
        }
    });
    Retrying::new(link, RetryPolicy::default())
}

#[tokio::test]
async fn an_at_most_once_call_is_seen_when_its_handler_runs() {
    let journal = Journal::default();
    let (server, trial) = served(Noting::new("a", &journal), Noting::default()).await;
    let caller = retrying(&server);
    for _ in 0..2 {
        let reply = caller.call(ECHO, Guard::Once, &b"x"[..], &options()).await;
        reply.expect("an answer");
    }
    // Two calls, and nothing of the incarnation that was opened for them.
    assert_eq!(trial.entered(), [ECHO, ECHO]);
    let seen = ["a before 1 Unary", "a after 1: ok"];
    assert_eq!(journal.take(), [seen, seen].concat());
}

#[tokio::test]
async fn a_clients_interceptors_come_in_order_before_and_reversed_behind() {
    let journal = Journal::default();
    let (server, _) = served(Noting::default(), Noting::default()).await;
    let inner = Intercepted::new(connect(&server).await, Noting::new("inner", &journal));
    let outer = Intercepted::new(inner, Noting::new("outer", &journal));
    let options = options();
    let call = |method| outer.call(method, PLAIN, Bytes::new(), &options);
    call(ECHO).await.expect("an answer");
    assert_eq!(
        journal.take(),
        [
            "outer before 1 Unary",
            "inner before 1 Unary",
            "inner after 1: ok",
            "outer after 1: ok",
        ]
    );
    call(FAIL).await.expect_err("the handler's failure");
    let lines = journal.take();
    assert_eq!(lines[3], "outer after 6: aborted (executed)");
    let (requests, mut replies) = outer.bidirectional(CHAT, &options).await.unwrap();
    requests.finish();
    assert_eq!(replies.next().await, Ok(None));
    assert_eq!(replies.next().await, Ok(None), "told once");
    assert_eq!(
        journal.take(),
        [
            "outer before 12 Bidirectional",
            "inner before 12 Bidirectional",
            "inner after 12: ok",
            "outer after 12: ok",
        ]
    );
}

#[tokio::test]
async fn what_a_clients_interceptor_refuses_is_not_sent() {
    let journal = Journal::default();
    let (server, trial) = served(Noting::default(), Noting::default()).await;
    let connection = connect(&server).await;
    for method in [ECHO, COUNT, REPEAT, CHAT] {
        let refusing = Noting {
            refuses: Some(method),
            ..Noting::new("inner", &journal)
        };
        let inner = Intercepted::new(connection.clone(), refusing);
        let caller = Intercepted::new(inner, Noting::new("outer", &journal));
        let options = options();
        let status = match method {
            ECHO => caller
                .call(ECHO, PLAIN, Bytes::new(), &options)
                .await
                .unwrap_err(),
            COUNT => caller.client_stream(COUNT, &options).await.unwrap_err(),
            REPEAT => caller
                .server_stream(REPEAT, Bytes::new(), &options)
                .await
                .unwrap_err(),
            _ => caller.bidirectional(CHAT, &options).await.unwrap_err(),
        };
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.execution(), Execution::NotSent);
        let told = format!("outer after {method}: permission denied (not sent)");
        assert_eq!(journal.take()[2..], [told]);
    }
    assert_eq!(trial.entered(), [0; 0]);
}

#[tokio::test]
async fn a_stream_ends_for_a_clients_interceptor_when_it_does_or_is_dropped() {
    let journal = Journal::default();
    let (server, _) = served(Noting::default(), Noting::default()).await;
    let caller = Intercepted::new(connect(&server).await, Noting::new("a", &journal));
    let options = options();
    let (requests, reply) = caller.client_stream(COUNT, &options).await.unwrap();
    requests.finish();
    reply.await.unwrap();
    assert_eq!(journal.take()[1], "a after 10: ok");
    let (requests, reply) = caller.client_stream(COUNT, &options).await.unwrap();
    drop(reply);
    assert_eq!(journal.take()[1], "a after 10: cancelled (maybe executed)");
    drop(requests);
    let mut replies = caller
        .server_stream(REPEAT, Bytes::from_static(b"12"), &options)
        .await
        .unwrap();
    assert!(replies.next().await.unwrap().is_some());
    assert_eq!(journal.take().len(), 1, "it goes on");
    drop(replies);
    assert_eq!(journal.take(), ["a after 11: cancelled (maybe executed)"]);
    let short = CallOptions::new(Duration::from_secs(1));
    let mut replies = caller
        .server_stream(STUCK_STREAM, Bytes::new(), &short)
        .await
        .unwrap();
    replies.next().await.expect_err("out of time");
    drop(replies);
    let lines = journal.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("deadline exceeded"), "{lines:?}");
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_for_a_clients_interceptor() {
    let journal = Journal::default();
    let (server, _) = served(Noting::default(), Noting::default()).await;
    let caller = Intercepted::new(connect(&server).await, Noting::new("a", &journal));
    let options = options();
    let call = caller.call(STUCK, PLAIN, Bytes::new(), &options);
    let waited = tokio::time::timeout(Duration::from_millis(20), call).await;
    assert!(waited.is_err());
    assert_eq!(journal.take()[1], "a after 2: cancelled (maybe executed)");
}

/// What [`Changing`] gives a call, in place of all patience: less, but more than any
/// machine needs.
const GIVEN: Duration = PATIENCE.checked_div(2).expect("not by zero");

/// Gives every call less time and a word.
struct Changing;

impl ClientInterceptor for Changing {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        call.options.timeout = GIVEN;
        call.options.metadata.insert("word", "changed").unwrap();
        Ok(())
    }

    fn after(&self, call: &EndedCall<'_>) {
        assert_eq!(call.options.metadata.get("word"), Some(&b"changed"[..]));
    }
}

/// Answers the metadata's word.
struct Word;

impl ServerInterceptor for Word {
    fn before(&self, context: &mut CallContext, _: &IncomingCall) -> Result<(), Status> {
        let word = context.metadata().get("word").unwrap_or_default();
        let word = String::from_utf8(word.to_vec()).expect("a word");
        assert!(context.remaining().expect("a deadline") <= GIVEN);
        Err(Status::new(
            Code::FailedPrecondition,
            Execution::NotStarted,
            word,
        ))
    }
}

#[tokio::test]
async fn a_clients_interceptor_changes_metadata_and_timeout() {
    let router = Router::new().service(Trial::default()).unwrap();
    let server = start(router.intercepted_by(Word)).await;
    let caller = Intercepted::new(retrying(&server), Changing);
    let status = caller.call(STUCK, PLAIN, Bytes::new(), &options()).await;
    assert_eq!(status.unwrap_err().message(), "changed");
}

/// Turns two calls away and lets the others pass.
#[derive(Default)]
struct BusyAtFirst(AtomicUsize);

impl ServerInterceptor for BusyAtFirst {
    fn before(&self, _: &mut CallContext, _: &IncomingCall) -> Result<(), Status> {
        if self.0.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(Status::new(
                Code::Unavailable,
                Execution::NotStarted,
                "busy",
            ));
        }
        Ok(())
    }
}

#[tokio::test]
async fn over_what_sends_again_a_call_is_seen_once() {
    let busy = Arc::new(BusyAtFirst::default());
    let trial = Trial::default();
    let router = Router::new().service(trial.clone()).unwrap();
    let server = start(router.intercepted_by(Arc::clone(&busy))).await;
    let journal = Journal::default();
    let caller = Intercepted::new(retrying(&server), Noting::new("client", &journal));
    let reply = caller.call(ECHO, PLAIN, Bytes::new(), &options()).await;
    reply.expect("the third attempt");
    assert_eq!(busy.0.load(Ordering::SeqCst), 3, "attempts at the server");
    assert_eq!(trial.entered(), [ECHO]);
    assert_eq!(
        journal.take(),
        ["client before 1 Unary", "client after 1: ok"]
    );
}

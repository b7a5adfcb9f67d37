//! Calls through layers written by hand.
#![cfg(feature = "tower")]
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use common::{BIG, ECHO, FAIL, PATIENCE, STUCK, TestService, connect, serve};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::tower::{CallerService, Request, TowerCaller};
use sealmoot_rpc::{
    CallOptions, Caller, Code, Connection, Execution, Guard, Idempotency, Limits, ServerHandle,
    Status,
};
use tower_service::Service;

const PLAIN: Guard = Guard::Method(Idempotency::Unknown);

type BoxError = Box<dyn Error + Send + Sync>;

/// What a layer does to requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Pass,
    /// Is not ready, for ever.
    Shed,
    /// Is never ready, and does not say so.
    Stall,
    /// Drops the request.
    Refuse,
    /// Keeps the request for later and says what a call that was not sent says.
    Deny,
    /// Keeps the request for later and says that it failed.
    Keep,
    /// Passes it on, and says that it failed before there was an answer.
    GiveUp,
    /// The same behind the answer.
    Lose,
    /// Sends it to another method.
    Divert,
}

#[derive(Clone)]
struct Layer {
    inner: CallerService<Connection>,
    deed: Deed,
    passed: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<Request>>>,
    is_ready: bool,
}

impl Service<Request> for Layer {
    type Response = Bytes;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Bytes, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.deed == Deed::Shed {
            return Poll::Ready(Err("overloaded".into()));
        }
        if self.deed == Deed::Stall {
            return Poll::Pending;
        }
        self.is_ready = true;
        self.inner.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        assert!(self.is_ready, "this clone was asked");
        let own: BoxError = "the layer's own failure".into();
        match self.deed {
            Deed::Refuse => return Box::pin(async move { Err(own) }),
            Deed::Keep => {
                self.kept.lock().unwrap().push(request);
                return Box::pin(async move { Err(own) });
            }
            Deed::Deny => {
                self.kept.lock().unwrap().push(request);
                let denied = Status::new(Code::Unavailable, Execution::NotStarted, "full");
                return Box::pin(async move { Err(denied.into()) });
            }
            Deed::Divert => request.method = ECHO,
            _ => {}
        }
        self.passed.fetch_add(1, Ordering::SeqCst);
        let answered = self.inner.call(request);
        let deed = self.deed;
        Box::pin(async move {
            if deed == Deed::GiveUp {
                return Err(own);
            }
            let outcome = answered.await.map_err(BoxError::from);
            if deed == Deed::Lose {
                Err(own)
            } else {
                outcome
            }
        })
    }
}

struct Fixture {
    caller: TowerCaller<Layer, Connection>,
    passed: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<Request>>>,
    _server: (ServerHandle, TestService),
}

async fn through(deed: Deed) -> Fixture {
    let server = serve(Limits::default()).await;
    let passed = Arc::new(AtomicUsize::new(0));
    let kept = Arc::default();
    let caller = TowerCaller::new(connect(&server.0).await, |inner| Layer {
        inner,
        deed,
        passed: Arc::clone(&passed),
        kept: Arc::clone(&kept),
        is_ready: false,
    });
    Fixture {
        caller,
        passed,
        kept,
        _server: server,
    }
}

impl Fixture {
    async fn call(&self, method: u64, body: &'static [u8]) -> Result<Bytes, Status> {
        let options = CallOptions::new(PATIENCE);
        self.caller
            .call(method, PLAIN, Bytes::from_static(body), &options)
            .await
    }

    async fn failed(&self) -> (Code, Execution) {
        let status = self.call(ECHO, b"x").await.expect_err("a failure");
        (status.code(), status.execution())
    }
}

#[tokio::test]
async fn a_call_comes_through_a_layer_and_so_does_its_failure() {
    let fixture = through(Deed::Pass).await;
    assert_eq!(fixture.call(ECHO, b"hello").await.unwrap(), "hello");
    let status = fixture.call(FAIL, b"why").await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.execution(), Execution::Executed);
    assert_eq!(status.details(), "why");
    assert_eq!(fixture.passed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_layer_changes_what_is_called() {
    let fixture = through(Deed::Divert).await;
    let reply = fixture.call(BIG, b"1234").await;
    assert_eq!(reply.unwrap(), "1234", "echoed");
}

#[tokio::test]
async fn what_a_layer_sheds_or_drops_is_not_sent() {
    for deed in [Deed::Shed, Deed::Refuse] {
        let fixture = through(deed).await;
        let failed = fixture.failed().await;
        assert_eq!(failed, (Code::Unavailable, Execution::NotSent));
    }
}

#[tokio::test]
async fn a_layer_that_is_never_ready_takes_no_more_than_the_timeout() {
    let fixture = through(Deed::Stall).await;
    let options = CallOptions::new(std::time::Duration::from_millis(20));
    let calling = fixture.caller.call(ECHO, PLAIN, Bytes::new(), &options);
    let status = tokio::time::timeout(PATIENCE, calling)
        .await
        .expect("it ends by its deadline")
        .expect_err("nobody was ready");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::NotSent);
}

#[tokio::test]
async fn what_a_layer_has_passed_on_or_keeps_may_have_run() {
    for deed in [Deed::Keep, Deed::Deny, Deed::GiveUp, Deed::Lose] {
        let fixture = through(deed).await;
        let failed = fixture.failed().await;
        assert_eq!(failed, (Code::Unavailable, Execution::MaybeExecuted));
    }
    // It may: what was kept is sent behind the failure.
    let fixture = through(Deed::Keep).await;
    fixture.failed().await;
    let request = fixture.kept.lock().unwrap().pop().expect("kept");
    let mut service = CallerService::new(connect(&fixture._server.0).await);
    assert_eq!(service.call(request).await.unwrap(), "x");
}

/// Sends what failed once more, whatever it was.
#[derive(Clone)]
struct Again(CallerService<Connection>);

impl Service<Request> for Again {
    type Response = Bytes;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            match inner.call(request.clone()).await {
                Ok(reply) => Ok(reply),
                Err(_) => inner.call(request).await,
            }
        })
    }
}

#[tokio::test]
async fn a_second_attempt_that_was_not_sent_takes_nothing_back_of_the_first() {
    let (server, service) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let caller = TowerCaller::new(connection.clone(), Again);
    let options = CallOptions::new(PATIENCE);
    let calling = caller.call(STUCK, PLAIN, Bytes::new(), &options);
    let closing = async {
        service.stuck.reaches(1).await;
        connection.close();
    };
    let (called, ()) = tokio::join!(calling, closing);
    let status = called.expect_err("the connection is closed");
    assert_eq!(status.execution(), Execution::MaybeExecuted, "{status}");
}

#[tokio::test]
async fn a_request_made_by_hand_is_a_call() {
    let (server, _) = serve(Limits::default()).await;
    let mut service = CallerService::new(connect(&server).await);
    let body = Bytes::from_static(b"x");
    let request = Request::new(ECHO, PLAIN, body, PATIENCE.into());
    assert_eq!(service.call(request).await.unwrap(), "x");
}

#[tokio::test]
async fn a_stream_passes_beside_the_layers() {
    let fixture = through(Deed::Shed).await;
    let options = CallOptions::new(PATIENCE);
    let caller = &fixture.caller;
    let mut replies = caller
        .server_stream(ECHO, Bytes::new(), &options)
        .await
        .unwrap();
    let status = replies.next().await.expect_err("not of that kind");
    assert_eq!(status.code(), Code::InvalidArgument, "the server's word");
    let (_requests, reply) = caller.client_stream(ECHO, &options).await.unwrap();
    assert_eq!(reply.await.unwrap_err().code(), Code::InvalidArgument);
    let (_requests, mut replies) = caller.bidirectional(ECHO, &options).await.unwrap();
    assert_eq!(
        replies.next().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

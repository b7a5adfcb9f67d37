//! Stubs as the generator wrote them, over a real connection.
#![allow(missing_docs, unreachable_pub)]

mod common;

use std::sync::Arc;

use common::{Anyone, PATIENCE, connect, connector, key};
use echo::v1::{Echo, EchoClient, EchoServer, SayReply, SayRequest};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    CallContext, Code, DialError, Execution, Guard, Idempotency, Limits, Link, MethodKind, Replies,
    Requests, RetryPolicy, Retrying, Router, Server, Service, Status,
};
use tokio::net::TcpListener;

/// Laid out like the packages, as nested imports expect.
mod echo {
    pub mod v1 {
        include!("../codegen/tests/golden/echo.v1.rs");
    }
}
mod shared {
    pub mod v1 {
        include!("../codegen/tests/golden/shared.v1.rs");
    }
}

struct Parrot;

impl Echo for Parrot {
    async fn say(&self, _: CallContext, request: SayRequest) -> Result<SayReply, Status> {
        if request.times == 0 {
            return Err(Status::new(
                Code::InvalidArgument,
                Execution::Executed,
                "say it at least once",
            ));
        }
        tokio::task::yield_now().await;
        Ok(SayReply {
            words: vec![request.words; request.times as usize],
        })
    }

    async fn r#match(
        &self,
        _: CallContext,
        request: shared::v1::Empty,
    ) -> Result<shared::v1::Empty, Status> {
        Ok(request)
    }

    async fn all(&self, _: CallContext, _: SayRequest) -> Result<SayReply, Status> {
        Ok(SayReply::default())
    }

    async fn note(&self, _: CallContext, _: SayRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn forget(&self, _: CallContext, (): ()) -> Result<(), Status> {
        Ok(())
    }

    async fn collect(&self, _: CallContext, _: Requests<SayRequest>) -> Result<SayReply, Status> {
        Ok(SayReply::default())
    }

    async fn list(
        &self,
        _: CallContext,
        _: SayRequest,
        _: Replies<SayReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn chat(
        &self,
        _: CallContext,
        _: Requests<SayRequest>,
        _: Replies<SayReply>,
    ) -> Result<(), Status> {
        Ok(())
    }
}

async fn client() -> (sealmoot_rpc::ServerHandle, EchoClient) {
    let router = Router::new()
        .service(EchoServer::new(Parrot))
        .expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authorizer = Arc::new(Anyone(b""));
    let server = Server::start(listener, &key(), authorizer, router, Limits::default())
        .expect("sound configuration");
    let client = EchoClient::new(connect(&server).await);
    (server, client)
}

#[tokio::test]
async fn a_generated_client_reaches_a_generated_server() {
    let (_server, client) = client().await;
    let request = SayRequest {
        words: Bytes::from_static(b"hello"),
        times: 2,
        ..SayRequest::default()
    };
    let reply = client.say(request, PATIENCE).await.expect("an answer");
    assert_eq!(reply.words, [&b"hello"[..], b"hello"]);
    let empty = shared::v1::Empty::default();
    client.r#match(empty, PATIENCE).await.expect("an answer");
    let request = SayRequest::default();
    let reply = client.all(request, PATIENCE).await.expect("an answer");
    assert!(reply.words.is_empty());
    assert!(!client.caller().is_closed());
}

#[tokio::test]
async fn a_generated_client_calls_over_what_sends_again() {
    let (server, _) = client().await;
    let address = server.local_addr().to_string();
    let connector = connector(Limits::default());
    let link = Link::start(move || {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let connected = connector.connect(&address, PATIENCE);
            connected.await.map_err(DialError::from)
        }
    });
    let client = EchoClient::new(Retrying::new(link, RetryPolicy::default()));
    let request = SayRequest::default;
    client
        .note(request(), PATIENCE)
        .await
        .expect("at most once");
    client.forget((), PATIENCE).await.expect("idempotent");
    let reply = client.all(request(), PATIENCE).await.expect("an answer");
    assert!(reply.words.is_empty());
    let status = client.say(request(), PATIENCE).await.expect_err("no times");
    assert_eq!(status.execution(), Execution::Executed);
    let mut replies = client
        .list(request(), PATIENCE)
        .await
        .expect("a connection");
    assert_eq!(replies.next().await, Ok(None));
}

#[tokio::test]
async fn a_generated_handlers_failure_arrives() {
    let (_server, client) = client().await;
    let status = client
        .say(SayRequest::default(), PATIENCE)
        .await
        .expect_err("no times");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.execution(), Execution::Executed);
}

#[tokio::test]
async fn a_request_that_does_not_decode_is_not_started() {
    let (_server, client) = client().await;
    let status = client
        .caller()
        .call(echo::v1::echo_methods::SAY, vec![0xff; 3], PATIENCE)
        .await
        .expect_err("no message");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.execution(), Execution::NotStarted);
}

#[test]
fn a_generated_server_lists_its_methods_once() {
    let server = EchoServer::new(Parrot);
    assert_eq!(server.methods(), echo::v1::echo_methods::ALL);
    assert!(Router::new().service(server).is_ok());
}

#[test]
fn a_generated_server_says_what_it_is() {
    let descriptor = EchoServer::new(Parrot).descriptor().expect("generated");
    assert_eq!(descriptor, &echo::v1::echo_methods::SERVICE);
    assert_eq!(descriptor.name, "echo.v1.Echo");
    let methods = descriptor.methods;
    let numbers: Vec<u64> = methods.iter().map(|method| method.number).collect();
    assert_eq!(numbers, echo::v1::echo_methods::ALL);
    let of = |name| {
        let mut methods = methods.iter();
        let method = methods.find(|method| method.name == name);
        let method = method.expect("in the schema");
        (method.kind, method.guard)
    };
    let promise = Guard::Method;
    for (name, kind, guard) in [
        ("Say", MethodKind::Unary, promise(Idempotency::Unknown)),
        (
            "All",
            MethodKind::Unary,
            promise(Idempotency::NoSideEffects),
        ),
        (
            "Forget",
            MethodKind::Unary,
            promise(Idempotency::Idempotent),
        ),
        ("Note", MethodKind::Unary, Guard::Once),
        (
            "Collect",
            MethodKind::ClientStream,
            promise(Idempotency::Unknown),
        ),
        (
            "List",
            MethodKind::ServerStream,
            promise(Idempotency::Unknown),
        ),
        (
            "Chat",
            MethodKind::Bidirectional,
            promise(Idempotency::Unknown),
        ),
    ] {
        assert_eq!(of(name), (kind, guard), "{name}");
    }
    // Through a share, too.
    let shared: Arc<dyn Service> = Arc::new(EchoServer::new(Parrot));
    assert_eq!(Arc::new(shared).descriptor(), Some(descriptor));
}

#[test]
fn a_router_tells_each_service_that_has_a_schema_once() {
    let router = Router::new()
        .service(common::TestService::default())
        .and_then(|router| router.service(EchoServer::new(Parrot)))
        .expect("no duplicates");
    let names: Vec<&str> = router.descriptors().map(|service| service.name).collect();
    assert_eq!(names, ["echo.v1.Echo"]);
}

//! Stubs as the generator wrote them, over a real connection.
#![allow(missing_docs, unreachable_pub)]

mod common;

use std::sync::Arc;

use common::{Anyone, PATIENCE, connect, key};
use echo::v1::{Echo, EchoClient, EchoServer, SayReply, SayRequest};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    CallContext, Code, Execution, Limits, Replies, Requests, Router, Server, Service, Status,
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
    assert!(!client.connection().is_closed());
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
        .connection()
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

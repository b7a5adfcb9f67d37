//! Connections that a server ends by choice, and what their clients learn of it.
#![allow(missing_docs, unreachable_pub)]

mod common;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Anyone, ECHO, PATIENCE, STUCK, connect, connector, key, serve, serve_as};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{
    Authorizer, CallContext, CallOptions, Candidate, Code, ConnectError, Connection, Connector,
    Execution, Limits, Peer, RawReplies, RawRequests, Refusal, ReplyFuture, Router, Server,
    ServerHandle, Service, Status, StreamFuture,
};
use tokio::net::TcpListener;

fn revoked() -> Refusal {
    Refusal {
        code: Code::Unauthenticated,
        message: "the session was revoked".to_owned(),
        details: Bytes::from_static(b"revoked"),
    }
}

fn of(key_id: KeyId) -> impl Fn(&Peer) -> Option<Refusal> {
    move |peer| (peer.key_id() == key_id).then(revoked)
}

fn assert_told(status: &Status, execution: Execution) {
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the session was revoked");
    assert_eq!(status.details(), &b"revoked"[..]);
    assert_eq!(status.execution(), execution);
}

fn own_connector() -> (Connector, KeyId) {
    let key = key();
    let connector = Connector::new(&key, Arc::new(Anyone(b"client")), Limits::default());
    let key_id = key.verifying_key().key_id();
    (connector.expect("sound configuration"), key_id)
}

async fn connect_as(connector: &Connector, server: &ServerHandle) -> Connection {
    let address = server.local_addr().to_string();
    let connected = connector.connect(&address, PATIENCE).await;
    connected.expect("admitted")
}

async fn closes(connection: &Connection) {
    tokio::time::timeout(PATIENCE, connection.closed())
        .await
        .expect("the connection ends");
}

#[tokio::test]
async fn an_idle_connection_ends_and_the_others_go_on() {
    let (server, _) = serve(Limits::default()).await;
    let (own, revoked_id) = own_connector();
    let [first, second] = [
        connect_as(&own, &server).await,
        connect_as(&own, &server).await,
    ];
    let other = connect(&server).await;
    for connection in [&first, &second, &other] {
        let echoed = connection.call(ECHO, &b"before"[..], PATIENCE).await;
        assert_eq!(echoed.expect("an answer"), &b"before"[..]);
    }
    let connections = server.connections();
    assert_eq!(connections.count(), 3);
    assert_eq!(connections.close_where(of(revoked_id)), 2);
    closes(&first).await;
    closes(&second).await;
    for ended in [&first, &second] {
        let status = ended
            .call(ECHO, &b""[..], PATIENCE)
            .await
            .expect_err("over");
        assert_told(&status, Execution::NotSent);
    }
    let echoed = other.call(ECHO, &b"after"[..], PATIENCE).await;
    assert_eq!(echoed.expect("an answer"), &b"after"[..]);
    assert!(!other.is_closed());
    while connections.count() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.close_where(of(revoked_id)), 0, "none is left");
}

#[tokio::test]
async fn a_call_in_flight_may_have_been_executed_and_its_handler_is_dropped() {
    let (server, service) = serve(Limits::default()).await;
    let (own, own_id) = own_connector();
    let (ended, other) = (connect_as(&own, &server).await, connect(&server).await);
    let call = |connection: &Connection| {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(STUCK, &b""[..], PATIENCE).await })
    };
    let in_flight = [call(&ended), call(&ended)];
    let unharmed = call(&other);
    service.stuck.reaches(3).await;
    assert_eq!(server.connections().close_where(of(own_id)), 1);
    for call in in_flight {
        let status = call.await.expect("no panic").expect_err("cut");
        assert_told(&status, Execution::MaybeExecuted);
    }
    service.stuck.reaches(1).await;
    let echoed = other.call(ECHO, &b"after"[..], PATIENCE).await;
    assert_eq!(echoed.expect("an answer"), &b"after"[..]);
    assert!(!unharmed.is_finished());
}

/// Sends a word and then waits for ever, whatever kind of stream it is.
struct Streams(common::Gauge);

const LISTEN: u64 = 21;
const CHAT: u64 = 22;

impl Service for Streams {
    fn methods(&self) -> &[u64] {
        &[LISTEN, CHAT]
    }

    fn kind(&self, method: u64) -> sealmoot_rpc::MethodKind {
        match method {
            LISTEN => sealmoot_rpc::MethodKind::ServerStream,
            _ => sealmoot_rpc::MethodKind::Bidirectional,
        }
    }

    fn call(&self, _: CallContext, _: u64, _: Bytes) -> ReplyFuture {
        Box::pin(std::future::pending())
    }

    fn server_stream(
        &self,
        _: CallContext,
        _: u64,
        _: Bytes,
        mut replies: RawReplies,
    ) -> StreamFuture {
        let running = self.0.enter();
        Box::pin(async move {
            let _running = running;
            replies.send(Bytes::from_static(b"word")).await?;
            std::future::pending().await
        })
    }

    fn bidirectional(
        &self,
        _: CallContext,
        _: u64,
        mut requests: RawRequests,
        mut replies: RawReplies,
    ) -> StreamFuture {
        let running = self.0.enter();
        Box::pin(async move {
            let _running = running;
            while let Some(request) = requests.next().await? {
                replies.send(request).await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn open_streams_end_with_the_reason_at_both_sides() {
    let gauge = common::Gauge::default();
    let router = Router::new()
        .service(Streams(gauge.clone()))
        .expect("no duplicates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let limits = Limits::default();
    let server = Server::start(listener, &key(), Arc::new(Anyone(b"")), router, limits)
        .expect("sound configuration");
    let connector = connector(Limits::default());
    let address = server.local_addr().to_string();
    for over_tls in [false, true] {
        let connected = match over_tls {
            true => connector.connect(&address, PATIENCE).await,
            false => connector.connect_memory(&server.door(), PATIENCE).await,
        };
        let connection = connected.expect("admitted");
        let options = CallOptions::new(PATIENCE);
        let mut listened = connection
            .server_stream(LISTEN, &b""[..], &options)
            .expect("room");
        let (mut sink, mut chatted) = connection.bidirectional(CHAT, &options).expect("room");
        sink.send(Bytes::from_static(b"hello")).await.expect("sent");
        let heard = listened.next().await.expect("no failure");
        assert_eq!(heard, Some(Bytes::from_static(b"word")));
        let heard = chatted.next().await.expect("no failure");
        assert_eq!(heard, Some(Bytes::from_static(b"hello")));
        gauge.reaches(2).await;
        assert_eq!(server.connections().close_where(|_| Some(revoked())), 1);
        for replies in [&mut listened, &mut chatted] {
            let status = replies.next().await.expect_err("cut");
            assert_told(&status, Execution::MaybeExecuted);
        }
        let status = sink.send(Bytes::from_static(b"more")).await;
        assert_told(&status.expect_err("cut"), Execution::MaybeExecuted);
        gauge.reaches(0).await;
        while server.connections().count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Admits everybody until it is told to admit nobody.
#[derive(Default)]
struct Until(Arc<AtomicBool>);

impl Authorizer for Until {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(revoked()),
            false => Ok(Arc::new(())),
        }
    }
}

#[tokio::test]
async fn whoever_was_cut_off_is_refused_at_the_door() {
    let is_revoked = Arc::new(AtomicBool::new(false));
    let (server, _) = serve_as(Until(Arc::clone(&is_revoked)), Limits::default()).await;
    let connector = connector(Limits::default());
    let connection = connect_as(&connector, &server).await;
    is_revoked.store(true, Ordering::SeqCst);
    assert_eq!(server.connections().close_where(|_| Some(revoked())), 1);
    closes(&connection).await;
    let address = server.local_addr().to_string();
    match connector.connect(&address, PATIENCE).await {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal, revoked()),
        Err(error) => panic!("another failure: {error}"),
        Ok(_) => panic!("admitted"),
    }
}

#[tokio::test]
async fn without_a_reason_nothing_ends_and_without_a_server_there_is_nothing() {
    let (server, _) = serve(Limits::default()).await;
    let connection = connect(&server).await;
    let connections = server.connections();
    assert_eq!(connections.close_where(|_| None), 0);
    let echoed = connection.call(ECHO, &b"still"[..], PATIENCE).await;
    assert_eq!(echoed.expect("an answer"), &b"still"[..]);
    server.drain(PATIENCE).await;
    assert_eq!(connections.count(), 0);
    assert_eq!(connections.close_where(|_| Some(revoked())), 0);
}

//! Ends of connections and servers: in time, and truthfully told.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{ECHO, LATER, PATIENCE, STUCK, connect, connector, serve};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, ConnectError, Execution, Limits};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn draining_lets_running_calls_end() {
    let (server, service) = serve(Limits::default()).await;
    let address = server.local_addr().to_string();
    let connection = connect(&server).await;
    let idle = connect(&server).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(LATER, &b"x"[..], PATIENCE).await }
    });
    let begun = async {
        while service.later.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun)
        .await
        .expect("it runs");
    let started = Instant::now();
    server.drain(Duration::from_secs(60)).await;
    assert!(started.elapsed() < Duration::from_secs(30), "ended early");
    assert_eq!(call.await.expect("no panic").expect("an answer"), &b"x"[..]);
    for connection in [connection, idle] {
        connection.closed().await;
        let status = connection
            .call(ECHO, Bytes::new(), PATIENCE)
            .await
            .expect_err("drained");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.execution(), Execution::NotSent);
        assert_eq!(status.message(), "the server is shutting down");
    }
    let error = connector(Limits::default())
        .connect(&address, PATIENCE)
        .await
        .expect_err("gone");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn draining_ends_within_its_time() {
    // What a drain that waits for the stranger, or for the call, would take.
    let long = Duration::from_secs(120);
    let (server, service) = serve(Limits {
        handshake: long,
        ..Limits::default()
    })
    .await;
    let connection = connect(&server).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), long).await }
    });
    service.stuck.reaches(1).await;
    // A stranger in the middle of its handshake must not hold it up either.
    let _silent = TcpStream::connect(server.local_addr()).await.expect("open");
    let started = Instant::now();
    server.drain(Duration::from_millis(100)).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(100), "{elapsed:?}");
    assert!(elapsed < long / 2, "{elapsed:?}");
    let status = call.await.expect("no panic").expect_err("cut off");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    service.stuck.reaches(0).await;
}

#[tokio::test]
async fn dropping_the_server_ends_everything() {
    let (server, service) = serve(Limits::default()).await;
    let address = server.local_addr();
    let connection = connect(&server).await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    drop(server);
    let status = call.await.expect("no panic").expect_err("cut off");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    service.stuck.reaches(0).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_killed_in_the_middle_of_a_call_may_have_executed() {
    let (server, service) = serve(Limits::default()).await;
    let target = server.local_addr();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let proxy = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = TcpStream::connect(target).await.expect("accepting");
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    let connection = connector(Limits::default())
        .connect(&address, PATIENCE)
        .await
        .expect("admitted");
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    proxy.abort();
    let status = call.await.expect("no panic").expect_err("killed");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    connection.closed().await;
    service.stuck.reaches(0).await;
    let status = connection
        .call(ECHO, Bytes::new(), PATIENCE)
        .await
        .expect_err("lost");
    assert_eq!(status.execution(), Execution::NotSent);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed() {
    let (server, service) = serve(Limits {
        // It says nothing unasked.
        keepalive_idle: Duration::from_secs(60),
        ..Limits::default()
    })
    .await;
    let target = server.local_addr();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (freeze, frozen) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = TcpStream::connect(target).await.expect("accepting");
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = frozen => std::future::pending().await,
        }
    });
    let connection = connector(Limits {
        keepalive_idle: Duration::from_secs(1),
        // Longer than a busy machine keeps an answer waiting.
        keepalive_timeout: Duration::from_secs(3),
        ..Limits::default()
    })
    .connect(&address, PATIENCE)
    .await
    .expect("admitted");
    // Pings keep it open while the server answers them.
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    assert!(!connection.is_closed());
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(STUCK, Bytes::new(), PATIENCE).await }
    });
    service.stuck.reaches(1).await;
    freeze.send(()).expect("the proxy runs");
    let status = call.await.expect("no panic").expect_err("silence");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(status.message(), "the peer has fallen silent");
}

#[test]
fn a_runtime_that_goes_away_leaves_nobody_waiting() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let connecting = runtime();
    let connection = connecting.block_on(async {
        let (server, _) = serve(Limits::default()).await;
        let connection = connect(&server).await;
        std::mem::forget(server);
        connection
    });
    drop(connecting);
    let status = runtime()
        .block_on(connection.call(ECHO, Bytes::new(), PATIENCE))
        .expect_err("the driver is gone");
    assert_eq!(status.execution(), Execution::NotSent);
    assert!(connection.is_closed());
}

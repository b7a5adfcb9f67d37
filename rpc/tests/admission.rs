//! Who gets in, what they learn when they do not, and that the server goes on.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    Anyone, Nobody, PATIENCE, assert_serves, connector, key, keyless_client, raw_client,
    raw_connect, raw_server, serve, serve_as,
};
use sealmoot_rpc::frame::{FLAG_WELCOME, Frame, Kind};
use sealmoot_rpc::payload::{decode_failure, encode_failure, encode_hello};
use sealmoot_rpc::{
    ALPN, Code, ConfigError, ConnectError, Connector, Execution, Limits, Refusal, Status,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn frame(kind: Kind, flags: u8, code: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame {
        kind,
        flags,
        code,
        call: 0,
        payload,
    }
    .encode(&mut bytes);
    bytes
}

fn hello(statements: &[u8]) -> Vec<u8> {
    frame(Kind::Hello, 0, 0, &encode_hello(statements).expect("short"))
}

async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    // A reset after the last byte is an end, too.
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the other side closes");
    received
}

/// Skips the server's hello and returns the failure of the goaway behind it.
fn goaway_behind_hello(received: &[u8]) -> Status {
    let (first, size) = Frame::decode(received).expect("lawful").expect("whole");
    assert_eq!(first.kind, Kind::Hello);
    let (second, _) = Frame::decode(&received[size..])
        .expect("lawful")
        .expect("whole");
    assert_eq!(second.kind, Kind::Goaway);
    decode_failure(second.code, second.payload).expect("lawful")
}

/// Serves one raw connection: sends `greeting`, returns what the client says.
async fn greet(
    greeting: Vec<u8>,
    alpn: &'static [&'static [u8]],
) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let Ok(mut stream) = raw_server(alpn).accept(stream).await else {
            return Vec::new();
        };
        // The client may have left already.
        let _ = stream.write_all(&greeting).await;
        let _ = stream.flush().await;
        read_to_end(stream).await
    });
    (address, task)
}

#[tokio::test]
async fn a_client_shows_nothing_to_a_server_it_does_not_trust() {
    let (address, server) = greet(hello(b"trust me"), &[ALPN]).await;
    let connector = Connector::new(&key(), Arc::new(Nobody), Limits::default()).expect("sound");
    let error = connector
        .connect(&address, PATIENCE)
        .await
        .expect_err("untrusted");
    match error {
        ConnectError::Untrusted(refusal) => assert_eq!(refusal.message, "not you"),
        other => panic!("{other}"),
    }
    assert_eq!(server.await.expect("no panic"), b"", "the client spoke");
}

#[tokio::test]
async fn a_client_says_nothing_before_the_server_has() {
    let (address, server) = greet(Vec::new(), &[ALPN]).await;
    let error = connector(Limits::default())
        .connect(&address, Duration::from_millis(100))
        .await
        .expect_err("silence");
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert_eq!(error.cause(), "timed out");
    assert_eq!(server.await.expect("no panic"), b"");
}

#[tokio::test]
async fn a_refused_client_learns_code_and_message() {
    let (server, _) = serve_as(Nobody, Limits::default()).await;
    for _ in 0..3 {
        let error = connector(Limits::default())
            .connect(&server.local_addr().to_string(), PATIENCE)
            .await
            .expect_err("refused");
        match error {
            ConnectError::Refused(Refusal {
                code,
                message,
                details,
            }) => {
                assert_eq!(code, Code::PermissionDenied);
                assert_eq!(message, "not you");
                assert_eq!(details, &b"why"[..]);
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_refused_client_learns_the_reason_even_with_calls_pipelined() {
    let (server, _) = serve_as(Nobody, Limits::default()).await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    let mut bytes = hello(b"me");
    bytes.extend_from_slice(&vec![0; 200_000]);
    stream.write_all(&bytes).await.expect("open");
    stream.flush().await.expect("open");
    let reason = goaway_behind_hello(&read_to_end(stream).await);
    assert_eq!(reason.code(), Code::PermissionDenied);
    assert_eq!(reason.execution(), Execution::NotStarted);
}

#[tokio::test]
async fn calls_may_follow_the_hello_at_once() {
    let (server, _) = serve(Limits::default()).await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    let mut bytes = hello(b"me");
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&common::ECHO.to_le_bytes());
    payload.extend_from_slice(b"ping");
    Frame {
        kind: Kind::Call,
        flags: 0,
        code: 0,
        call: 1,
        payload: &payload,
    }
    .encode(&mut bytes);
    stream.write_all(&bytes).await.expect("open");
    stream.flush().await.expect("open");
    let mut received = Vec::new();
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.expect("open");
        assert_ne!(read, 0);
        received.extend_from_slice(&buffer[..read]);
        while let Some((frame, size)) = Frame::decode(&received).expect("lawful") {
            kinds.push((frame.kind, frame.flags, frame.payload.to_vec()));
            received.drain(..size);
        }
    }
    assert_eq!((kinds[0].0, kinds[0].1), (Kind::Hello, 0));
    assert_eq!(kinds[1], (Kind::Hello, FLAG_WELCOME, Vec::new()));
    assert_eq!(kinds[2], (Kind::Reply, 0, b"ping".to_vec()));
}

#[tokio::test]
async fn a_call_instead_of_a_hello_is_refused() {
    let (server, _) = serve(Limits::default()).await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    let mut bytes = Vec::new();
    Frame {
        kind: Kind::Call,
        flags: 0,
        code: 0,
        call: 1,
        payload: &[0; 12],
    }
    .encode(&mut bytes);
    stream.write_all(&bytes).await.expect("open");
    let reason = goaway_behind_hello(&read_to_end(stream).await);
    assert_eq!(reason.message(), "unexpected Call frame");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_hello_of_another_version_is_refused() {
    let (server, _) = serve(Limits::default()).await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    let bytes = frame(Kind::Hello, 0, 0, &[7, 0, 0, 0, 0, 0]);
    stream.write_all(&bytes).await.expect("open");
    let reason = goaway_behind_hello(&read_to_end(stream).await);
    assert_eq!(reason.message(), "protocol version 7 is not supported");
}

#[tokio::test]
async fn a_hello_too_long_is_refused_by_its_header() {
    let (server, _) = serve(Limits::default()).await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    stream
        .write_all(&[0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0, 0, 0])
        .await
        .expect("open");
    let reason = goaway_behind_hello(&read_to_end(stream).await);
    assert!(reason.message().contains("longer than"), "{reason}");
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    for greeting in [
        frame(Kind::Ping, 0, 0, &[0; 8]),
        frame(Kind::Hello, 0, 0, &[7, 0, 0, 0, 0, 0]),
        frame(Kind::Hello, FLAG_WELCOME, 0, &[]),
        vec![0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let (address, server) = greet(greeting, &[ALPN]).await;
        let error = connector(Limits::default())
            .connect(&address, PATIENCE)
            .await
            .expect_err("unlawful");
        assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
        assert_eq!(server.await.expect("no panic"), b"");
    }
}

#[tokio::test]
async fn a_strangers_refusal_is_not_believed() {
    // Whoever answers at an address has a key of its own; what it says before
    // our authorizer has admitted it is not what the server says.
    let mut refused = Status::new(Code::Unauthenticated, Execution::NotStarted, "go away");
    refused = refused.with_details(sealmoot_rpc::bytes::Bytes::from_static(b"log in elsewhere"));
    let goaway = frame(Kind::Goaway, 0, 16, &encode_failure(&refused));
    let (address, _server) = greet(goaway, &[ALPN]).await;
    let error = connector(Limits::default())
        .connect(&address, PATIENCE)
        .await
        .expect_err("unlawful");
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
    assert!(!error.to_string().contains("elsewhere"));
}

#[tokio::test]
async fn garbage_leaves_the_server_serving() {
    let (server, _) = serve(Limits {
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    })
    .await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0xff; 70_000],
        &[22, 3, 1, 0xff, 0xff, 1],
        b"",
    ] {
        let mut stream = TcpStream::connect(server.local_addr())
            .await
            .expect("accepting");
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        read_to_end(stream).await;
        assert_serves(&server).await;
    }
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let (server, _) = serve(Limits::default()).await;
    // ClientHello with one TLS 1.2 suite and no supported_versions extension.
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 29, // supported_groups: x25519
        0, 13, 0, 4, 0, 2, 8, 7, // signature_algorithms: ed25519
        0, 11, 0, 2, 1, 0, // ec_point_formats
    ];
    body.extend_from_slice(&[0, extensions.len() as u8]);
    body.extend_from_slice(&extensions);
    let mut record = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend_from_slice(&body);
    let mut stream = TcpStream::connect(server.local_addr())
        .await
        .expect("accepting");
    stream.write_all(&record).await.expect("open");
    let answer = read_to_end(stream).await;
    // A fatal alert, protocol_version.
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    assert_eq!(answer.last(), Some(&70), "{answer:?}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    let (server, _) = serve(Limits::default()).await;
    assert!(raw_connect(&server, raw_client(&[b"h2"])).await.is_err());
    // Without any protocol TLS succeeds, and then nothing is said.
    if let Ok(stream) = raw_connect(&server, raw_client(&[])).await {
        assert_eq!(read_to_end(stream).await, b"");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_server_of_another_protocol_is_refused() {
    let (other, _) = greet(hello(b""), &[b"h2"]).await;
    let (none, silent) = greet(hello(b""), &[]).await;
    for address in [other, none] {
        let error = connector(Limits::default())
            .connect(&address, PATIENCE)
            .await
            .expect_err("not ours");
        assert!(matches!(error, ConnectError::NotSealmoot { .. }), "{error}");
    }
    assert_eq!(silent.await.expect("no panic"), b"");
}

#[tokio::test]
async fn something_that_is_no_tls_server_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        read_to_end(stream).await;
    });
    let error = connector(Limits::default())
        .connect(&address, PATIENCE)
        .await
        .expect_err("not TLS");
    assert_eq!(error.cause(), "not a sealmoot server");
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    let (server, _) = serve(Limits::default()).await;
    if let Ok(stream) = raw_connect(&server, keyless_client()).await {
        assert_eq!(read_to_end(stream).await, b"");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_silent_connection_ends_by_the_total_deadline() {
    let (server, _) = serve(Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let started = Instant::now();
    let stream = TcpStream::connect(server.local_addr())
        .await
        .expect("accepting");
    assert_eq!(read_to_end(stream).await, b"");
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(200), "{elapsed:?}");
    // By the limit that it was given, and not by the one that it has otherwise.
    assert!(elapsed < Limits::default().handshake, "{elapsed:?}");
}

#[tokio::test]
async fn a_dripping_connection_ends_by_the_total_deadline() {
    let (server, _) = serve(Limits {
        // Enough for the honest: for TLS here, and for whoever is served below.
        handshake: Duration::from_secs(6),
        ..Limits::default()
    })
    .await;
    // TLS completes; then the hello comes a byte at a time, and would take ten
    // seconds.
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    let mut is_closed = false;
    for byte in hello(&[0; 1000]) {
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            is_closed = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_closed, "the server still listens");
    assert_serves(&server).await;
}

#[tokio::test]
async fn strangers_from_one_source_are_bounded() {
    let (server, _) = serve(Limits {
        unauthenticated_per_source_max: 2,
        // Nobody goes for having taken too long.
        handshake: 10 * PATIENCE,
        ..Limits::default()
    })
    .await;
    let first = TcpStream::connect(server.local_addr()).await.expect("open");
    let second = TcpStream::connect(server.local_addr()).await.expect("open");
    let third = TcpStream::connect(server.local_addr()).await.expect("open");
    assert_eq!(read_to_end(third).await, b"", "closed at once");
    drop((first, second));
    // Until the server has heard of it.
    let room = async {
        let address = server.local_addr().to_string();
        let connector = connector(Limits::default());
        while connector.connect(&address, PATIENCE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, room).await.expect("room");
    assert_serves(&server).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let (server, _) = serve(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let connection = common::connect(&server).await;
    let error = connector(Limits::default())
        .connect(&server.local_addr().to_string(), PATIENCE)
        .await
        .expect_err("full");
    assert!(matches!(error, ConnectError::Interrupted { .. }), "{error}");
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn bytes_before_authentication_are_bounded() {
    let (server, _) = serve(Limits {
        unauthenticated_bytes_max: 20_000,
        ..Limits::default()
    })
    .await;
    let mut stream = raw_connect(&server, raw_client(&[ALPN]))
        .await
        .expect("TLS");
    // Cut off by the server at some point, so it may fail.
    let _ = stream.write_all(&hello(&[0; 60_000])).await;
    let _ = stream.flush().await;
    let received = read_to_end(stream).await;
    let (first, size) = Frame::decode(&received).expect("lawful").expect("whole");
    assert_eq!(first.kind, Kind::Hello);
    assert_eq!(received.len(), size, "no welcome");
    assert_serves(&server).await;
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = connector(Limits::default())
        .connect(&address, PATIENCE)
        .await
        .expect_err("nobody");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert_eq!(error.cause(), "connection refused");
}

#[tokio::test]
async fn an_address_without_meaning_does_not_resolve() {
    let error = connector(Limits::default())
        .connect("no port", PATIENCE)
        .await
        .expect_err("no address");
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
}

#[tokio::test]
async fn limits_that_refuse_everything_are_refused() {
    let limits = Limits {
        handshake: Duration::ZERO,
        ..Limits::default()
    };
    let refused = Connector::new(&key(), Arc::new(Anyone(b"")), limits);
    assert!(matches!(refused, Err(ConfigError::Limits(_))));
}

//! The other way round: a client that trusts a server which then breaks every
//! rule. Calls end with a status, the connection with the reason, and the
//! client's other connections are as they were.

use std::time::Duration;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{FLAG_MORE, FLAG_STREAM, Kind};
use sealmoot_rpc::payload::{decode_credit, encode_failure};
use sealmoot_rpc::{
    ALPN, CallOptions, Code, Connection, Execution, Limits, MethodKind, RawReplyStream, Status,
};
use tokio::net::TcpListener;

use super::memory::{before, ran_alone};
use super::nesting::groups;
use super::peer::{Ear, Mouth, admit, credit, end, frame, message, of};
use super::world::echo::v1::{EchoClient, SayRequest};
use super::world::{World, count, quiet};
use crate::common::{PATIENCE, connector, raw_server};

const METHOD: u64 = 1;

/// A client's connection to a server that does what the test says.
async fn connected(limits: Limits) -> (Connection, Mouth, Ear) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the client");
        let accepted = raw_server(&[ALPN]).accept(stream).await;
        admit(Box::new(accepted.expect("a handshake"))).await
    });
    let connection = connector(limits).connect(&address, PATIENCE).await;
    let (mouth, ear) = server.await.expect("no panic");
    (connection.expect("admitted"), mouth, ear)
}

fn options() -> CallOptions {
    CallOptions::new(PATIENCE)
}

fn failure(call: u32, message: &str) -> Vec<u8> {
    let status = Status::new(Code::Aborted, Execution::Executed, message);
    let code = status.code().number();
    frame(Kind::Reply as u8, 0, code, call, &encode_failure(&status))
}

fn begins(call: u32) -> Vec<u8> {
    of(Kind::Reply, FLAG_STREAM, call, b"")
}

/// Begins a call of each kind, the first four numbers.
struct Begun {
    unary: tokio::task::JoinHandle<Result<Bytes, Status>>,
    streams: Vec<RawReplyStream>,
    rest: Box<dyn std::any::Any>,
}

async fn begin(connection: &Connection, ear: &mut Ear) -> Begun {
    let caller = connection.clone();
    let unary = tokio::spawn(async move { caller.call(METHOD, &b"request"[..], PATIENCE).await });
    assert_eq!(ear.next().await.expect("a call").call, 1);
    let (sink, answer) = connection.client_stream(METHOD, &options()).expect("room");
    let replies = connection
        .server_stream(METHOD, &b"request"[..], &options())
        .expect("room");
    let (requests, both) = connection.bidirectional(METHOD, &options()).expect("room");
    for number in 2..=4 {
        assert_eq!(ear.next().await.expect("a call").call, number);
    }
    Begun {
        unary,
        streams: vec![replies, both],
        rest: Box::new((sink, answer, requests)),
    }
}

/// The kinds of the first four calls' numbers.
const UNARY: u32 = 1;
const UPLOAD: u32 = 2;
const DOWNLOAD: u32 = 3;
const CHAT: u32 = 4;

#[tokio::test]
async fn every_rule_that_a_server_breaks_closes_and_ends_its_calls() {
    let world = World::new(quiet()).await;
    let malformed = |reason: &str| format!("malformed frame: {reason}");
    let refused = |bytes: u32| {
        format!("a stream was given {bytes} bytes of credit at a wrong time or beyond the maximum")
    };
    let begun = |call| of(Kind::Reply, FLAG_MORE, call, b"begun");
    let mut cases: Vec<(Vec<u8>, String)> = vec![
        (of(Kind::Hello, 0, 0, b""), "unexpected Hello frame".into()),
        (
            of(Kind::Call, 0, 1, &[0; 12]),
            "unexpected Call frame".into(),
        ),
        (
            of(Kind::Cancel, 0, 1, b""),
            "unexpected Cancel frame".into(),
        ),
        (
            of(Kind::Ping, 0, 0, b"x"),
            malformed("ping without its token"),
        ),
        (begins(UNARY), malformed("a stream in place of a body")),
        (begins(UPLOAD), malformed("a stream in place of a body")),
        (
            of(Kind::Reply, 0, DOWNLOAD, b"x"),
            malformed("a body in place of a stream"),
        ),
        (
            of(Kind::Reply, 0, CHAT, b"x"),
            malformed("a body in place of a stream"),
        ),
        (begun(CHAT), malformed("a body in place of a stream")),
        (
            of(Kind::Reply, FLAG_STREAM, CHAT, b"x"),
            malformed("a body beside a stream"),
        ),
        (
            of(Kind::Reply, FLAG_STREAM | FLAG_MORE, CHAT, b""),
            malformed("a stream that is a body too"),
        ),
        (
            frame(Kind::Reply as u8, FLAG_MORE, 3, UNARY, b""),
            malformed("failure in more than one frame"),
        ),
        (
            frame(Kind::Reply as u8, FLAG_STREAM, 3, CHAT, b""),
            malformed("failure in more than one frame"),
        ),
        (
            frame(Kind::Reply as u8, 0, 3, UNARY, b""),
            malformed("failure is cut short"),
        ),
        (
            frame(
                Kind::Reply as u8,
                0,
                3,
                UNARY,
                b"\x01\x01\x00\xff\x00\x00\x00\x00",
            ),
            malformed("failure message is not UTF-8"),
        ),
        (
            [begun(UNARY), begun(UNARY)].concat(),
            malformed("second reply to one call"),
        ),
        (
            [begins(CHAT), begins(CHAT)].concat(),
            malformed("second reply to one call"),
        ),
        (
            [begun(UNARY), failure(UNARY, "no")].concat(),
            malformed("second reply to one call"),
        ),
        (
            message(UNARY, b"x"),
            malformed("part of a reply that has not begun"),
        ),
        (
            message(DOWNLOAD, b"x"),
            malformed("part of a reply that has not begun"),
        ),
        (end(CHAT), malformed("part of a reply that has not begun")),
        (
            [begun(UNARY), end(UNARY)].concat(),
            malformed("empty part of a body"),
        ),
        (
            [begun(UNARY), message(UNARY, b"x")].concat(),
            malformed("end of a message in a body"),
        ),
        (
            [begins(CHAT), of(Kind::Chunk, 0, CHAT, b"x"), end(CHAT)].concat(),
            malformed("end of a stream inside a message"),
        ),
        (
            [begins(CHAT), of(Kind::End, 0, CHAT, b"x")].concat(),
            malformed("end of a stream with a payload"),
        ),
        (
            [begins(CHAT), of(Kind::Chunk, 0, CHAT, b"")].concat(),
            malformed("empty part of a message"),
        ),
        (
            [begins(DOWNLOAD), message(DOWNLOAD, &[7; 16_384]).repeat(4)].concat(),
            "a stream exceeded its credit".into(),
        ),
        (
            [begins(DOWNLOAD), message(DOWNLOAD, b"").repeat(5_462)].concat(),
            "a stream exceeded its credit".into(),
        ),
        (credit(UNARY, 1), refused(1)),
        (credit(DOWNLOAD, 1), refused(1)),
        (credit(UPLOAD, 0), refused(0)),
        (credit(UPLOAD, u32::MAX), refused(u32::MAX)),
        (
            credit(CHAT, (1 << 30) - 65_535),
            refused((1 << 30) - 65_535),
        ),
        (
            of(Kind::Goaway, 0, 0, b""),
            malformed("failure is cut short"),
        ),
    ];
    for kind in [0, 11, 128, 255] {
        cases.push((
            frame(kind, 0, 0, 0, b""),
            format!("unknown frame kind {kind}"),
        ));
    }
    for (bytes, reason) in cases {
        let (connection, mut mouth, mut ear) = connected(quiet()).await;
        let begun = begin(&connection, &mut ear).await;
        assert!(mouth.say(&bytes).await);
        let said = ear.goaway().await;
        assert_eq!(said, reason);
        mouth.close().await;
        let status = begun.unary.await.expect("no panic").expect_err("no reply");
        assert_ne!(status.execution(), Execution::NotStarted, "{reason}");
        for mut stream in begun.streams {
            // What was whole is given out first.
            while stream.next().await.is_ok_and(|message| message.is_some()) {}
            let status = stream.next().await.expect_err("no end");
            assert_eq!(status.execution(), Execution::MaybeExecuted, "{reason}");
        }
        connection.closed().await;
        drop(begun.rest);
    }
    world.assert_unharmed().await;
}

#[tokio::test]
async fn replies_and_parts_for_no_call_are_ignored() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let (connection, mut mouth, mut ear) = connected(quiet()).await;
    let memory = before();
    let flood: Vec<u8> = (10..510)
        .flat_map(|number| {
            [
                of(Kind::Reply, 0, number, b"unasked"),
                of(Kind::Reply, FLAG_MORE, number, b"unasked"),
                of(Kind::Chunk, 0, number, &[7; 100]),
                begins(number),
                message(number, b""),
                credit(number, u32::MAX),
                failure(number, "unasked"),
                end(number),
            ]
            .concat()
        })
        .collect();
    for _ in 0..count(200, 10) {
        assert!(mouth.say(&flood).await);
    }
    let pings = of(Kind::Ping, 0, 0, b"12345678").repeat(1_000);
    mouth.insist(&pings, count(100, 10)).await;
    memory.assert_grew_at_most(16, "replies for no call");
    // It still calls, and is answered.
    let caller = connection.clone();
    let call = tokio::spawn(async move { caller.call(METHOD, &b"?"[..], PATIENCE).await });
    assert_eq!(ear.next().await.expect("a call").kind, Kind::Call);
    assert!(mouth.say(&of(Kind::Reply, 0, 1, b"!")).await);
    assert_eq!(call.await.expect("no panic").expect("a reply"), &b"!"[..]);
    world.assert_unharmed().await;
}

/// Many goaways, the longest there are, while calls run.
#[tokio::test]
async fn the_longest_goaways_are_taken_once() {
    if ran_alone() {
        return;
    }
    let (connection, mut mouth, mut ear) = connected(quiet()).await;
    let begun = begin(&connection, &mut ear).await;
    let memory = before();
    let code = Code::Unavailable;
    let status =
        Status::new(code, Execution::NotStarted, "x".repeat(1_024)).with_details(vec![7; 8 * 1024]);
    let goaway = frame(
        Kind::Goaway as u8,
        0,
        code.number(),
        0,
        &encode_failure(&status),
    );
    for _ in 0..count(2_000, 100) {
        assert!(mouth.say(&goaway).await);
    }
    connection.closed().await;
    memory.assert_grew_at_most(16, "goaways");
    // No further calls, and those that run may still be answered.
    let refused = connection.call(METHOD, &b""[..], PATIENCE).await;
    let refused = refused.expect_err("going away");
    assert_eq!(refused.execution(), Execution::NotSent);
    assert_eq!(refused.message().len(), 1_024);
    assert!(mouth.say(&of(Kind::Reply, 0, UNARY, b"late")).await);
    assert_eq!(
        begun.unary.await.expect("no panic").expect("a reply"),
        &b"late"[..]
    );
    // One byte more is no goaway.
    let (connection, mut mouth, mut ear) = connected(quiet()).await;
    let long = [&b"\x01\x01\x04"[..], &[b'x'; 1_025], &[0; 4]].concat();
    assert!(mouth.say(&frame(Kind::Goaway as u8, 0, 4, 0, &long)).await);
    assert_eq!(ear.goaway().await, "malformed frame: failure is too long");
    connection.closed().await;
}

/// A body, and a message, without an end.
#[tokio::test]
async fn endless_parts_are_cut_off_at_the_limit() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let limits = Limits {
        message_bytes_max: 1024 * 1024,
        ..quiet()
    };
    let (connection, mut mouth, mut ear) = connected(limits).await;
    let mut begun = begin(&connection, &mut ear).await;
    let memory = before();
    let part = [7; 16 * 1024];
    let body = of(Kind::Chunk, 0, UNARY, &part);
    assert!(mouth.say(&of(Kind::Reply, FLAG_MORE, UNARY, &part)).await);
    mouth.insist(&body, 100).await;
    let status = begun.unary.await.expect("no panic").expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::Executed);
    let said = ear.next().await.expect("an open connection");
    assert_eq!((said.kind, said.call), (Kind::Cancel, UNARY));
    // A message of a stream, within its credit.
    assert!(mouth.say(&begins(DOWNLOAD)).await);
    let (mut unspent, mut sent) = (65_536, 0);
    let chunk = of(Kind::Chunk, 0, DOWNLOAD, &part);
    loop {
        while unspent >= chunk.len() {
            assert!(mouth.say(&chunk).await);
            unspent -= chunk.len();
            sent += part.len();
        }
        let said = ear.next().await.expect("an open connection");
        if said.kind == Kind::Cancel {
            assert_eq!(said.call, DOWNLOAD);
            break;
        }
        assert_eq!((said.kind, said.call), (Kind::Credit, DOWNLOAD));
        unspent += decode_credit(&said.payload).expect("lawful") as usize;
    }
    assert!(sent <= 1024 * 1024 + 65_536, "{sent}");
    let status = begun.streams.remove(0).next().await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    memory.assert_grew_at_most(16, "endless parts");
    world.assert_unharmed().await;
}

/// The first part of a message can be beyond the limit, too, and what is held
/// is counted right behind it.
#[tokio::test]
async fn a_first_part_beyond_the_limit_ends_its_call_alone() {
    let limits = Limits {
        message_bytes_max: 1_000,
        ..quiet()
    };
    let (connection, mut mouth, mut ear) = connected(limits).await;
    for number in 1..=3 {
        let mut replies = connection
            .server_stream(METHOD, &b""[..], &options())
            .expect("room");
        assert_eq!(ear.next().await.expect("a call").call, number);
        let first = of(Kind::Chunk, 0, number, &[7; 2_000]);
        assert!(mouth.say(&[begins(number), first].concat()).await);
        let status = replies.next().await.expect_err("too large");
        assert_eq!(status.message(), "a message of the reply is too large");
        assert_eq!(ear.next().await.expect("a cancel").kind, Kind::Cancel);
    }
    let mut replies = connection
        .server_stream(METHOD, &b""[..], &options())
        .expect("room");
    assert_eq!(ear.next().await.expect("a call").call, 4);
    assert!(
        mouth
            .say(&[begins(4), message(4, &[7; 900]), end(4)].concat())
            .await
    );
    assert_eq!(
        replies
            .next()
            .await
            .expect("no failure")
            .expect("one")
            .len(),
        900
    );
    assert_eq!(replies.next().await, Ok(None));
}

/// Replies without end to callers that do not read them.
#[tokio::test]
async fn replies_that_nobody_reads_are_bounded() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let streams = count(1_000, 60);
    let limits = Limits {
        incoming_bytes_max: if streams == 1_000 { 64 << 20 } else { 4 << 20 },
        ..quiet()
    };
    let most = (limits.incoming_bytes_max / (1024 * 1024) * 2 + 24) as u64;
    for body in [&b""[..], b"x", &[7; 1_000], &[7; 16_000]] {
        let (connection, mut mouth, mut ear) = connected(limits.clone()).await;
        let memory = before();
        let mut unread = Vec::new();
        let mut messages = 0;
        for number in 1..=u32::try_from(streams).expect("small") {
            unread.push(
                connection
                    .server_stream(METHOD, &b""[..], &options())
                    .expect("room"),
            );
            loop {
                // Calls given up are cancelled.
                let said = ear.next().await.expect("a call");
                if said.kind == Kind::Call {
                    assert_eq!(said.call, number);
                    break;
                }
                assert_eq!(said.kind, Kind::Cancel);
            }
            messages = 65_536 / (12 + body.len());
            let flood = message(number, body).repeat(messages);
            assert!(mouth.say(&[begins(number), flood].concat()).await);
        }
        let mut whole = 0;
        for stream in &mut unread {
            let mut taken = 0;
            let ended = loop {
                let next = tokio::time::timeout(PATIENCE, stream.next());
                match next.await {
                    Ok(Ok(Some(message))) => taken += usize::from(message == body),
                    Ok(Err(status)) => {
                        assert_eq!(status.code(), Code::ResourceExhausted);
                        break false;
                    }
                    Ok(Ok(None)) => panic!("an end that nobody sent"),
                    // All that was sent is there.
                    Err(_) => break true,
                }
                if taken == messages {
                    break true;
                }
            };
            whole += usize::from(ended);
            assert_eq!(ended, taken == messages);
        }
        assert!(whole > 0, "none of {streams}");
        memory.assert_grew_at_most(most, &format!("unread replies of {}", body.len()));
        assert!(!connection.is_closed());
    }
    world.assert_unharmed().await;
}

/// A server that takes nothing: requests wait for it within their bound, and the
/// connection is given up.
#[tokio::test]
async fn a_server_that_reads_nothing_is_given_up() {
    if ran_alone() {
        return;
    }
    let world = World::new(quiet()).await;
    let limits = Limits {
        write_stall: Duration::from_millis(400),
        outgoing_bytes_max: 16 * 1024 * 1024,
        ..quiet()
    };
    let (connection, mouth, ear) = connected(limits).await;
    let memory = before();
    let body = Bytes::from(vec![7; 1024 * 1024]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (caller, body) = (connection.clone(), body.clone());
        calls.spawn(async move { caller.call(METHOD, body, PATIENCE).await });
    }
    while let Some(outcome) = calls.join_next().await {
        let status = outcome.expect("no panic").expect_err("nobody answers");
        assert!(
            matches!(
                status.execution(),
                Execution::NotSent | Execution::MaybeExecuted
            ),
            "{status:?}"
        );
    }
    connection.closed().await;
    memory.assert_grew_at_most(32, "requests that nobody takes");
    drop((mouth, ear));
    world.assert_unharmed().await;
}

#[tokio::test]
async fn replies_that_are_too_deep_do_not_decode() {
    let (connection, mut mouth, mut ear) = connected(quiet()).await;
    let client = EchoClient::new(connection.clone());
    let deep = groups(8_000);
    let call = tokio::spawn({
        let client = EchoClient::new(connection.clone());
        async move { client.say(SayRequest::default(), PATIENCE).await }
    });
    assert_eq!(ear.next().await.expect("a call").call, 1);
    assert!(mouth.say(&of(Kind::Reply, 0, 1, &deep)).await);
    let status = call.await.expect("no panic").expect_err("too deep");
    assert_eq!(status.execution(), Execution::Executed, "{status:?}");
    assert!(status.message().contains("recursion limit"), "{status:?}");
    let listing = client.list(SayRequest::default(), PATIENCE).await;
    let mut replies = listing.expect("room");
    assert_eq!(ear.next().await.expect("a call").call, 2);
    assert!(mouth.say(&[begins(2), message(2, &deep)].concat()).await);
    let status = replies.next().await.expect_err("too deep");
    assert!(status.message().contains("recursion limit"), "{status:?}");
    assert!(!connection.is_closed());
    assert_eq!(MethodKind::default(), MethodKind::Unary);
}

/// Credit by the byte, for a client whose stream has nothing to send and for
/// one that sends without end.
#[tokio::test]
async fn credit_by_the_byte_moves_a_clients_stream_and_costs_nothing() {
    if ran_alone() {
        return;
    }
    let (connection, mut mouth, mut ear) = connected(quiet()).await;
    let (mut sink, _answer) = connection.client_stream(METHOD, &options()).expect("room");
    let memory = before();
    let sending = tokio::spawn(async move { while sink.send(vec![7; 20_000]).await.is_ok() {} });
    let mut received = 0;
    let mut granted = 65_536;
    while granted < 65_536 + count(100_000, 20_000) {
        assert!(mouth.say(&credit(1, 1).repeat(1_000)).await);
        granted += 1_000;
    }
    assert!(mouth.say(&failure(1, "enough")).await);
    loop {
        let said = ear.next().await.expect("an open connection");
        match said.kind {
            Kind::Chunk => received += 12 + said.payload.len(),
            // Its end was still to come.
            Kind::Cancel => break,
            _ => {}
        }
    }
    sending.await.expect("no panic");
    assert!(received <= granted, "{received} of {granted}");
    assert!(received + 2 * 16_396 > granted, "{received} of {granted}");
    memory.assert_grew_at_most(16, "credit by the byte");
}

//! Two connections of one identity.

use super::*;
use crate::frame::{FLAG_LAST, FLAG_REPLIES};
use crate::quota::{Membership, Quotas};
use sealmoot_crypto::signature::KeyId;

fn identity() -> KeyId {
    KeyId::from_bytes([7; 32])
}

struct Pair {
    quotas: Quotas,
    member: Membership,
    first: Server,
    second: Server,
}

fn limits() -> Limits {
    Limits {
        calls_per_identity_max: 3,
        streams_per_identity_max: 2,
        bytes_per_identity_max: 200_000,
        cancellations_per_second_max: 2,
        ..Limits::default()
    }
}

fn pair(limits: Limits) -> Pair {
    let quotas = Quotas::new(&limits);
    let member = quotas.enter(identity()).expect("room");
    let counted = || {
        let mut server = Server::new(limits.clone());
        server.count_by(member.share());
        server
    };
    let (first, second) = (counted(), counted());
    Pair {
        quotas,
        member,
        first,
        second,
    }
}

impl Pair {
    /// What the identity has taken when both have dealt with all.
    fn taken(&mut self) -> Usage {
        self.first.settle();
        self.second.settle();
        let usage = |server: &Server| server.usage();
        let (first, second) = (usage(&self.first), usage(&self.second));
        let (_, total) = self.quotas.totals(identity());
        assert!(total.bytes >= first.bytes + second.bytes);
        assert_eq!(total.streams, first.streams + second.streams);
        total
    }

    fn calls(&mut self) -> usize {
        self.taken().calls
    }
}

fn stream(call: u32, flags: u8, payload: &[u8]) -> Frame<'_> {
    Frame {
        flags,
        ..frame(Kind::Call, call, payload)
    }
}

/// A failure as code, execution and message.
fn said(status: &Status) -> (Code, Execution, &str) {
    (status.code(), status.execution(), status.message())
}

fn key(call: u32, serial: u64) -> StreamKey {
    StreamKey { call, serial }
}

#[test]
fn a_call_beyond_those_of_its_identity_is_refused_and_the_connection_stays() {
    let mut pair = pair(limits());
    start(&mut pair.first, 1);
    pair.first.settle();
    for call in [1, 2] {
        start(&mut pair.second, call);
    }
    for server in [&mut pair.first, &mut pair.second] {
        assert!(receive(server, frame(Kind::Call, 9, &payload(0, b""))).is_empty());
        let refused = only_failure(server, 9);
        let why = "too many calls of this identity";
        assert_eq!(
            said(&refused),
            (Code::ResourceExhausted, Execution::NotStarted, why)
        );
        server.settle();
    }
    pair.second.reply(2, Ok(Bytes::new()));
    pair.second.settle();
    start(&mut pair.first, 9);
    assert_eq!(pair.calls(), 3);
}

#[test]
fn a_stream_beyond_those_of_its_identity_is_refused() {
    let mut pair = pair(limits());
    let opening = payload(0, b"");
    for flags in [FLAG_STREAM, FLAG_REPLIES] {
        assert_eq!(
            receive(&mut pair.first, stream(flags.into(), flags, &opening)).len(),
            1
        );
    }
    pair.first.settle();
    let beyond = stream(1, FLAG_STREAM | FLAG_REPLIES, &opening);
    assert!(receive(&mut pair.second, beyond).is_empty());
    let refused = only_failure(&mut pair.second, 1);
    let why = "too many streams of this identity";
    assert_eq!(
        said(&refused),
        (Code::ResourceExhausted, Execution::NotStarted, why)
    );
    start(&mut pair.second, 1);
}

#[test]
fn request_bytes_beyond_those_of_the_identity_refuse_their_call() {
    let mut pair = pair(limits());
    let part = vec![7; CHUNK_BYTES_MAX];
    let whole = |server: &mut Server, call| {
        receive(server, more(frame(Kind::Call, call, &payload(0, b"x"))));
        for _ in 0..6 {
            receive(server, frame(Kind::Chunk, call, &part));
            server.settle();
        }
    };
    whole(&mut pair.first, 1);
    receive(
        &mut pair.second,
        more(frame(Kind::Call, 1, &payload(0, b"x"))),
    );
    for _ in 0..7 {
        receive(&mut pair.second, frame(Kind::Chunk, 1, &part));
    }
    let refused = only_failure(&mut pair.second, 1);
    let why = "too many bytes are held for this identity";
    let busy = (Code::ResourceExhausted, Execution::NotStarted, why);
    assert_eq!(said(&refused), busy);
    assert_eq!(pair.second.held_bytes, 0);
    // In its first frame too.
    let (all, one) = (payload(0, &part), payload(0, b"x"));
    pair.second.settle();
    whole(&mut pair.second, 2);
    let beyond = more(frame(Kind::Call, 3, &all));
    assert!(receive(&mut pair.second, beyond).is_empty());
    assert_eq!(said(&only_failure(&mut pair.second, 3)), busy);
    receive(&mut pair.first, frame(Kind::Cancel, 1, b""));
    pair.first.settle();
    receive(&mut pair.second, frame(Kind::Call, 4, &one));
    assert_eq!(pair.taken().calls, 2);
}

#[test]
fn messages_beyond_the_bytes_of_the_identity_end_their_call() {
    let mut pair = pair(limits());
    let (opening, part) = (payload(0, b""), vec![7; CHUNK_BYTES_MAX]);
    pair.first.settle();
    receive(
        &mut pair.first,
        more(frame(Kind::Call, 1, &payload(0, b"x"))),
    );
    for _ in 0..12 {
        receive(&mut pair.first, frame(Kind::Chunk, 1, &part));
    }
    pair.first.settle();
    receive(&mut pair.second, stream(1, FLAG_STREAM, &opening));
    let message = Frame {
        flags: FLAG_LAST,
        ..frame(Kind::Chunk, 1, &part)
    };
    let events = receive(&mut pair.second, message);
    assert_eq!(events, [Event::Abort(1)]);
    let ended = only_failure(&mut pair.second, 1);
    let (code, execution, _) = said(&ended);
    assert_eq!(
        (code, execution),
        (Code::ResourceExhausted, Execution::MaybeExecuted)
    );
}

#[test]
fn a_reply_beyond_the_bytes_of_the_identity_becomes_a_status() {
    let mut pair = pair(limits());
    for server in [&mut pair.first, &mut pair.second] {
        start(server, 1);
        server.reply(1, Ok(Bytes::from(vec![7; 150_000])));
        server.settle();
    }
    let answers = answers(&mut pair.second);
    let [(1, Some(status))] = &answers[..] else {
        panic!("{answers:?}");
    };
    let why = "too many bytes are held for this identity";
    let expected = (Code::ResourceExhausted, Execution::Executed, why);
    assert_eq!(said(status), expected);
}

#[test]
fn large_messages_of_replies_beyond_the_bytes_of_the_identity_wait_or_fail() {
    let mut pair = pair(limits());
    let opening = payload(0, b"");
    start(&mut pair.first, 1);
    pair.first.reply(1, Ok(Bytes::from(vec![7; 190_000])));
    pair.first.settle();
    receive(&mut pair.second, stream(1, FLAG_REPLIES, &opening));
    let key = key(1, 1);
    let large = || Bytes::from(vec![7; STREAM_WINDOW_BYTES + 1]);
    // Nothing here will leave and wake it.
    let Err(Unsent::Over(status)) = pair.second.send(key, large()) else {
        panic!("sent");
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    // What has credit always may.
    let small = Bytes::from(vec![7; 20_000]);
    pair.second.send(key, small).expect("credit");
    let waits = pair.second.send(key, large());
    assert!(matches!(waits, Err(Unsent::Wait(_))), "{waits:?}");
    while pair.second.has_output() {
        pair.second.transmit(&mut Vec::new());
    }
    assert_eq!(pair.second.next_notice(), Some((key, Side::Writer)));
    while pair.first.has_output() {
        pair.first.transmit(&mut Vec::new());
    }
    pair.first.settle();
    pair.second.settle();
    pair.second.send(key, large()).expect("room again");
}

#[test]
fn refusals_that_are_not_taken_stop_the_reading_where_the_identity_is_beyond_its_bytes() {
    let mut pair = pair(limits());
    pair.first.settle();
    let mut hoard = pair.member.share();
    hoard.settle(Usage {
        bytes: 200_000,
        ..Usage::default()
    });
    assert!(pair.first.wants_input(), "it holds nothing itself");
    receive(&mut pair.first, frame(Kind::Call, 1, &payload(0, b"x")));
    pair.first.settle();
    assert!(!pair.first.wants_input());
    assert!(pair.second.wants_input());
    only_failure(&mut pair.first, 1);
    pair.first.settle();
    assert!(pair.first.wants_input(), "its client has taken all");
}

#[test]
fn cancelled_calls_beyond_those_of_a_second_are_a_violation() {
    let mut pair = pair(limits());
    for (call, server) in [(1, &mut pair.first), (1, &mut pair.second)] {
        start(server, call);
        receive(server, frame(Kind::Cancel, call, b""));
        // What is cancelled already, or never was, costs nothing.
        for call in [call, 99] {
            receive(server, frame(Kind::Cancel, call, b""));
        }
        server.abandon(call);
    }
    start(&mut pair.first, 2);
    assert_eq!(
        violate(&mut pair.first, frame(Kind::Cancel, 2, b"")),
        Violation::TooManyCancelled
    );
}

#[test]
fn an_aborted_call_counts_until_its_handler_is_gone() {
    let mut pair = pair(limits());
    start(&mut pair.first, 1);
    receive(&mut pair.first, frame(Kind::Cancel, 1, b""));
    assert_eq!(pair.calls(), 1);
    pair.first.abandon(1);
    assert_eq!(pair.calls(), 0);
}

#[test]
fn a_lost_connection_frees_what_has_no_handler_and_the_rest_when_it_is_gone() {
    let mut pair = pair(limits());
    start(&mut pair.first, 1);
    start(&mut pair.first, 2);
    receive(
        &mut pair.first,
        more(frame(Kind::Call, 3, &payload(0, b"x"))),
    );
    pair.first.end_all(|call| call == 2);
    assert_eq!(pair.calls(), 1);
    assert!(!pair.first.is_running(key(2, 2)), "it is told to stop");
    pair.first.abandon(2);
    assert_eq!(pair.taken(), Usage::default());
}

#[test]
fn a_permit_counts_a_call_once_and_beyond_its_end() {
    let mut pair = pair(limits());
    start(&mut pair.first, 1);
    let permit = pair.first.permit(key(1, 1)).expect("an account");
    let again = pair.first.permit(key(1, 1)).expect("an account");
    assert!(Arc::ptr_eq(&permit, &again));
    drop(again);
    let held = Usage {
        calls: 1,
        streams: 0,
        bytes: 4,
    };
    assert_eq!(pair.taken(), held);
    receive(&mut pair.first, frame(Kind::Cancel, 1, b""));
    pair.first.abandon(1);
    assert_eq!(pair.taken(), held, "its work has the request");
    pair.first.end_all(|_| false);
    assert_eq!(pair.taken(), held);
    drop(permit);
    assert_eq!(pair.taken(), Usage::default());
}

#[test]
fn a_permit_of_a_call_that_is_over_or_of_another_with_its_number_is_one_more() {
    let mut pair = pair(limits());
    start(&mut pair.first, 1);
    pair.first.reply(1, Ok(Bytes::new()));
    start(&mut pair.first, 1);
    let late = pair.first.permit(key(1, 1)).expect("an account");
    assert_eq!(pair.calls(), 2);
    drop(late);
    assert_eq!(pair.calls(), 1);
}

#[test]
fn a_permit_of_replies_that_leave_keeps_the_sums_right() {
    let mut pair = pair(limits());
    for (call, flags) in [(1, FLAG_REPLIES), (2, FLAG_STREAM | FLAG_REPLIES)] {
        let opening = payload(0, if flags == FLAG_REPLIES { b"body" } else { b"" });
        receive(&mut pair.first, stream(call, flags, &opening));
    }
    let message = Frame {
        flags: FLAG_LAST,
        ..frame(Kind::Chunk, 2, b"untaken")
    };
    receive(&mut pair.first, message);
    let permits: Vec<_> = [key(1, 1), key(2, 2)]
        .into_iter()
        .map(|key| pair.first.permit(key).expect("an account"))
        .collect();
    assert!(pair.taken().bytes > 4);
    for call in [1, 2] {
        pair.first.reply(call, Ok(Bytes::new()));
    }
    while pair.first.has_output() {
        pair.first.transmit(&mut Vec::new());
    }
    let held = Usage {
        calls: 2,
        streams: 0,
        bytes: 4,
    };
    assert_eq!(pair.taken(), held);
    assert_eq!(pair.first.held().calls, 0);
    drop(permits);
    assert_eq!(pair.taken(), Usage::default());
}

#[test]
fn a_stream_whose_last_messages_leave_has_no_handler() {
    let mut server = Server::new(Limits::default());
    let opening = payload(0, b"");
    receive(&mut server, stream(1, FLAG_REPLIES, &opening));
    assert!(server.has_handler(key(1, 1)) && !server.has_handler(key(1, 2)));
    server.reply(1, Ok(Bytes::new()));
    assert_eq!(server.held().calls, 1, "it is in the table");
    assert!(!server.has_handler(key(1, 1)));
    start(&mut server, 2);
    receive(&mut server, frame(Kind::Cancel, 2, b""));
    assert!(server.has_handler(key(2, 2)), "cancelled, and not gone");
    server.abandon(2);
    assert!(!server.has_handler(key(2, 2)));
}

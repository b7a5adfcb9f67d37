//! Calls with streams, as the serving side sees them.

use super::*;
use crate::frame::{FLAG_LAST, FLAG_ONCE, FLAG_REPLIES, FLAG_STREAM};
use crate::limits::STREAM_WINDOW_BYTES;

const KEY: StreamKey = StreamKey { call: 1, serial: 1 };

fn flagged(flags: u8, frame: Frame<'_>) -> Frame<'_> {
    Frame { flags, ..frame }
}

fn last(payload: &[u8]) -> Frame<'_> {
    flagged(FLAG_LAST, frame(Kind::Chunk, 1, payload))
}

/// A server on which call 1 runs, with streams as `flags` say.
fn running_with(flags: u8, limits: Limits) -> Server {
    let mut server = Server::new(limits);
    let call = payload(0, b"");
    let events = receive(&mut server, flagged(flags, frame(Kind::Call, 1, &call)));
    match &events[..] {
        [Event::Start(start)] => assert_eq!(start.key, KEY),
        other => panic!("{other:?}"),
    }
    server
}

fn running(flags: u8) -> Server {
    running_with(flags, Limits::default())
}

/// Kind, flags, code and payload length of every frame of one write.
fn sent(server: &mut Server) -> Vec<(Kind, u8, u16, usize)> {
    let mut output = Vec::new();
    server.transmit(&mut output);
    let mut rest = &output[..];
    let mut frames = Vec::new();
    while let Some((frame, size)) = Frame::decode(rest).expect("well formed") {
        frames.push((frame.kind, frame.flags, frame.code, frame.payload.len()));
        rest = &rest[size..];
    }
    frames
}

fn malformed(violation: Violation) {
    assert!(matches!(violation, Violation::Malformed(_)), "{violation}");
}

fn body(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

#[test]
fn a_stream_starts_at_once_with_its_kind() {
    for (flags, kind) in [
        (FLAG_STREAM, MethodKind::ClientStream),
        (FLAG_REPLIES, MethodKind::ServerStream),
        (FLAG_STREAM | FLAG_REPLIES, MethodKind::Bidirectional),
    ] {
        let mut server = Server::new(Limits::default());
        let call = payload(0, b"");
        let events = receive(&mut server, flagged(flags, frame(Kind::Call, 1, &call)));
        match &events[..] {
            [Event::Start(start)] => assert_eq!(start.kind, kind),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_are_taken_one_by_one_to_their_end() {
    let mut server = running(FLAG_STREAM);
    assert_eq!(server.take(KEY), Taken::Wait);
    receive(&mut server, last(b"one"));
    assert_eq!(server.next_notice(), Some((KEY, Side::Reader)));
    receive(&mut server, frame(Kind::Chunk, 1, b"tw"));
    receive(&mut server, last(b"o"));
    receive(&mut server, last(b""));
    receive(&mut server, frame(Kind::End, 1, b""));
    for expected in [&b"one"[..], b"two", b""] {
        assert_eq!(
            server.take(KEY),
            Taken::Message(Bytes::copy_from_slice(expected))
        );
    }
    assert_eq!(server.take(KEY), Taken::End);
    assert_eq!(server.held_bytes, 0);
    server.reply(1, Ok(Bytes::from_static(b"done")));
    assert_eq!(sent(&mut server), [(Kind::Reply, 0, 0, 4)]);
    assert_eq!(server.calls.len(), 0);
}

#[test]
fn replies_open_once_and_end_with_the_handler() {
    let mut server = running(FLAG_REPLIES);
    server.send(KEY, body(3)).expect("credit");
    server.send(KEY, body(0)).expect("credit");
    server.reply(1, Ok(Bytes::new()));
    assert_eq!(server.calls_in_flight(), 1, "its messages have not left");
    assert_eq!(
        sent(&mut server),
        [
            (Kind::Reply, FLAG_STREAM, 0, 0),
            (Kind::Chunk, FLAG_LAST, 0, 3),
            (Kind::Chunk, FLAG_LAST, 0, 0),
            (Kind::End, 0, 0, 0),
        ]
    );
    assert_eq!(server.calls_in_flight(), 0);
    assert_eq!(server.next_deadline(), None);
}

#[test]
fn no_replies_are_a_stream_too() {
    let mut server = running(FLAG_REPLIES);
    server.reply(1, Ok(Bytes::new()));
    assert_eq!(
        sent(&mut server),
        [(Kind::Reply, FLAG_STREAM, 0, 0), (Kind::End, 0, 0, 0)]
    );
}

#[test]
fn a_failure_drops_what_has_not_left_and_is_the_last() {
    let mut server = running(FLAG_REPLIES);
    server.send(KEY, body(3)).expect("credit");
    let status = Status::new(Code::Aborted, Execution::Executed, "");
    server.reply(1, Err(status));
    let frames = sent(&mut server);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(frames[1].2, Code::Aborted.number());
    assert!(!server.has_output());
}

#[test]
fn messages_wait_for_credit_behind_the_handlers_end() {
    const LAST_BYTES: usize = 50;
    let mut server = running(FLAG_REPLIES);
    server
        .send(KEY, body(3 * CHUNK_BYTES_MAX + LAST_BYTES))
        .expect("credit");
    server
        .send(KEY, body(CHUNK_BYTES_MAX + LAST_BYTES))
        .expect("more than the credit");
    assert!(matches!(server.send(KEY, body(1)), Err(Unsent::Wait(_))));
    server.reply(1, Ok(Bytes::new()));
    while server.has_output() {
        let frames = sent(&mut server);
        assert!(frames.iter().all(|(kind, ..)| *kind != Kind::End));
    }
    assert_eq!(server.calls_in_flight(), 1);
    receive(
        &mut server,
        frame(Kind::Credit, 1, &20_000_u32.to_le_bytes()),
    );
    assert_eq!(
        sent(&mut server),
        [
            (Kind::Chunk, 0, 0, CHUNK_BYTES_MAX),
            (Kind::Chunk, FLAG_LAST, 0, LAST_BYTES),
            (Kind::End, 0, 0, 0)
        ]
    );
    assert_eq!(server.calls_in_flight(), 0);
}

#[test]
fn messages_that_nobody_takes_end_with_the_deadline_as_executed() {
    let mut server = running(FLAG_REPLIES);
    server.send(KEY, body(STREAM_WINDOW_BYTES)).expect("one");
    server.reply(1, Ok(Bytes::new()));
    while server.has_output() {
        sent(&mut server);
    }
    let later = Instant::now() + 2 * Limits::default().stream_duration_max;
    let mut events = Vec::new();
    server.expire(later, &mut events);
    assert!(events.is_empty(), "the handler is gone");
    assert_eq!(
        only_failure(&mut server, 1).execution(),
        Execution::Executed
    );
    assert_eq!(server.calls_in_flight(), 0);
}

#[test]
fn what_waits_for_credit_does_not_keep_the_server_from_reading() {
    let limits = Limits {
        outgoing_bytes_pause: 100_000,
        ..Limits::default()
    };
    let mut server = running_with(FLAG_REPLIES, limits);
    server.send(KEY, body(1_000_000)).expect("room");
    while server.has_output() {
        sent(&mut server);
    }
    assert!(server.outgoing.queued_bytes() > 900_000);
    assert!(server.wants_input(), "credit could never come");
    server.reply(1, Ok(Bytes::new()));
    while server.calls_in_flight() > 0 {
        receive(
            &mut server,
            frame(Kind::Credit, 1, &32_768_u32.to_le_bytes()),
        );
        sent(&mut server);
    }
    assert_eq!(server.outgoing.queued_bytes(), 0);
}

#[test]
fn streams_fill_half_of_the_queue_and_wait() {
    let limits = Limits {
        outgoing_bytes_max: 400_000,
        ..Limits::default()
    };
    let mut server = running_with(FLAG_REPLIES, limits);
    let call = payload(0, b"");
    for number in 2..=4 {
        receive(
            &mut server,
            flagged(FLAG_REPLIES, frame(Kind::Call, number, &call)),
        );
    }
    let key = |call: u32| StreamKey {
        call,
        serial: u64::from(call),
    };
    server.send(key(1), body(150_000)).expect("room");
    assert!(matches!(
        server.send(key(2), body(150_000)),
        Err(Unsent::Wait(_))
    ));
    server
        .send(key(3), body(1000))
        .expect("what has credit waits for no other stream");
    while server.has_output() {
        sent(&mut server);
    }
    let mut woken = Vec::new();
    while let Some((key, side)) = server.next_notice() {
        woken.push((key.call, side));
    }
    assert!(woken.contains(&(2, Side::Writer)), "{woken:?}");
    assert_eq!(server.send(key(2), body(90_000)), Ok(()), "room again");
}

#[test]
fn an_early_answer_leaves_the_rest_ignored() {
    let mut server = running(FLAG_STREAM);
    receive(&mut server, last(b"one"));
    server.reply(1, Ok(Bytes::from_static(b"enough")));
    assert_eq!((server.held_bytes, server.calls.len()), (0, 0));
    receive(&mut server, last(b"two"));
    receive(&mut server, frame(Kind::End, 1, b""));
    assert_eq!(sent(&mut server).len(), 1);
}

#[test]
fn a_reader_that_is_gone_still_gives_credit() {
    let mut server = running(FLAG_STREAM);
    server.stop_reading(KEY);
    for _ in 0..100 {
        receive(&mut server, last(&[0; 10_000]));
    }
    assert_eq!(server.held_bytes, 0);
    assert!(
        sent(&mut server)
            .iter()
            .all(|(kind, ..)| *kind == Kind::Credit)
    );
}

#[test]
fn a_cancelled_stream_tells_its_users_and_ignores_its_rest() {
    let mut server = running(FLAG_STREAM | FLAG_REPLIES);
    receive(&mut server, last(b"one"));
    while server.next_notice().is_some() {}
    let events = receive(&mut server, frame(Kind::Cancel, 1, b""));
    assert_eq!(events, [Event::Abort(1)]);
    let mut notices = Vec::new();
    while let Some(notice) = server.next_notice() {
        notices.push(notice);
    }
    assert!(notices.contains(&(KEY, Side::Reader)) && notices.contains(&(KEY, Side::Writer)));
    assert!(matches!(server.take(KEY), Taken::Failed(_)));
    assert!(matches!(server.send(KEY, body(1)), Err(Unsent::Over(_))));
    receive(&mut server, last(b"crossed"));
    receive(&mut server, frame(Kind::Credit, 1, &[1, 0, 0, 0]));
    server.abandon(1);
    assert_eq!((server.held_bytes, server.calls.len()), (0, 0));
    assert!(!server.has_output());
}

#[test]
fn a_stream_of_an_earlier_call_with_the_same_number_is_over() {
    let mut server = running(FLAG_STREAM | FLAG_REPLIES);
    server.reply(1, Err(Status::new(Code::Aborted, Execution::Executed, "")));
    let call = payload(0, b"");
    let again = flagged(FLAG_STREAM | FLAG_REPLIES, frame(Kind::Call, 1, &call));
    receive(&mut server, again);
    receive(&mut server, last(b"for the later call"));
    assert!(matches!(server.take(KEY), Taken::Failed(_)));
    assert!(matches!(server.send(KEY, body(1)), Err(Unsent::Over(_))));
    server.stop_reading(KEY);
    let key = StreamKey { call: 1, serial: 2 };
    assert!(matches!(server.take(key), Taken::Message(_)));
}

#[test]
fn a_message_above_the_limit_ends_the_call() {
    let limits = Limits {
        message_bytes_max: 10,
        ..Limits::default()
    };
    let mut server = running_with(FLAG_STREAM, limits);
    assert_eq!(receive(&mut server, last(&[0; 11])), [Event::Abort(1)]);
    let status = only_failure(&mut server, 1);
    assert_eq!(
        (status.code(), status.execution()),
        (Code::InvalidArgument, Execution::MaybeExecuted)
    );
}

#[test]
fn messages_that_wait_count_into_the_bytes_held() {
    let limits = Limits {
        incoming_bytes_max: 1000,
        ..Limits::default()
    };
    let mut server = running_with(FLAG_STREAM, limits);
    receive(&mut server, last(&[0; 500]));
    assert_eq!(receive(&mut server, last(&[0; 500])), [Event::Abort(1)]);
    assert_eq!(only_failure(&mut server, 1).code(), Code::ResourceExhausted);
    server.abandon(1);
    assert_eq!(server.held_bytes, 0);
}

#[test]
fn streams_have_a_bound_of_their_own_in_time() {
    let limits = Limits {
        call_duration_max: SECOND,
        stream_duration_max: 5 * SECOND,
        ..Limits::default()
    };
    let now = Instant::now();
    for (flags, duration) in [(0, 1), (FLAG_STREAM, 5), (FLAG_REPLIES, 5)] {
        let mut server = Server::new(limits.clone());
        let call = payload(u32::MAX, b"");
        server
            .receive(
                flagged(flags, frame(Kind::Call, 1, &call)),
                now,
                &mut Vec::new(),
            )
            .expect("lawful");
        assert_eq!(server.next_deadline(), Some(now + duration * SECOND));
    }
}

#[test]
fn a_body_beside_a_stream_closes() {
    let mut server = Server::new(Limits::default());
    let call = payload(0, b"body");
    malformed(violate(
        &mut server,
        flagged(FLAG_STREAM, frame(Kind::Call, 1, &call)),
    ));
}

#[test]
fn a_cut_short_block_closes() {
    let mut server = Server::new(Limits::default());
    let call = payload(0, b"");
    malformed(violate(
        &mut server,
        flagged(FLAG_ONCE, frame(Kind::Call, 1, &call)),
    ));
}

#[test]
fn unlawful_parts_of_a_stream_close() {
    for unlawful in [frame(Kind::Chunk, 1, b""), frame(Kind::End, 1, b"payload")] {
        malformed(violate(&mut running(FLAG_STREAM), unlawful));
    }
    for unlawful in [last(b""), frame(Kind::End, 1, b"")] {
        let mut server = running(FLAG_STREAM);
        receive(&mut server, frame(Kind::Chunk, 1, b"inside"));
        malformed(violate(&mut server, unlawful));
    }
    for unlawful in [last(b"x"), frame(Kind::End, 1, b"")] {
        let mut server = running(FLAG_STREAM);
        receive(&mut server, frame(Kind::End, 1, b""));
        malformed(violate(&mut server, unlawful));
    }
}

#[test]
fn parts_of_a_direction_that_is_a_body_close() {
    for unlawful in [
        last(b"x"),
        frame(Kind::Chunk, 1, b"x"),
        frame(Kind::End, 1, b""),
    ] {
        malformed(violate(&mut running(FLAG_REPLIES), unlawful));
    }
    let mut server = Server::new(Limits::default());
    let call = payload(0, b"one ");
    receive(&mut server, more(frame(Kind::Call, 1, &call)));
    malformed(violate(&mut server, last(b"two")));
}

#[test]
fn a_client_beyond_its_credit_closes() {
    let mut server = running(FLAG_STREAM);
    for _ in 0..3 {
        receive(&mut server, last(&[0; CHUNK_BYTES_MAX]));
    }
    assert_eq!(
        violate(&mut server, last(&[0; CHUNK_BYTES_MAX])),
        Violation::CreditExceeded
    );
}

#[test]
fn unlawful_credit_closes() {
    let credit = |bytes: u32| bytes.to_le_bytes();
    let mut server = running(FLAG_REPLIES);
    assert_eq!(
        violate(&mut server, frame(Kind::Credit, 1, &credit(0))),
        Violation::CreditRefused(0)
    );
    assert_eq!(
        violate(&mut server, frame(Kind::Credit, 1, &credit(1 << 30))),
        Violation::CreditRefused(1 << 30)
    );
    malformed(violate(&mut server, frame(Kind::Credit, 1, b"x")));
    for flags in [0, FLAG_STREAM] {
        assert_eq!(
            violate(&mut running(flags), frame(Kind::Credit, 1, &credit(1))),
            Violation::CreditRefused(1)
        );
    }
    receive(&mut server, frame(Kind::Credit, 99, &credit(1)));
}

#[test]
fn a_lost_connection_ends_every_stream() {
    let mut server = running(FLAG_STREAM | FLAG_REPLIES);
    receive(&mut server, last(b"one"));
    server.end_all(|_| false);
    assert!(matches!(server.take(KEY), Taken::Failed(_)));
    assert!(matches!(server.send(KEY, body(1)), Err(Unsent::Over(_))));
    assert_eq!((server.held_bytes, server.calls.len()), (0, 0));
    assert!(server.next_notice().is_some());
}

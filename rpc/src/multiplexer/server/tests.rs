use super::*;
use crate::frame::FLAG_MORE;
use crate::limits::CHUNK_BYTES_MAX;
use crate::payload::CallPrefix;
use crate::payload::decode_failure;

const SECOND: Duration = Duration::from_secs(1);

fn payload(timeout_ms: u32, body: &[u8]) -> Vec<u8> {
    let prefix = CallPrefix {
        timeout_ms,
        method: 9,
    };
    let mut payload = prefix.encode().to_vec();
    payload.extend_from_slice(body);
    payload
}

fn frame(kind: Kind, call: u32, payload: &[u8]) -> Frame<'_> {
    Frame {
        kind,
        flags: 0,
        code: 0,
        call,
        payload,
    }
}

fn more(frame: Frame<'_>) -> Frame<'_> {
    Frame {
        flags: FLAG_MORE,
        ..frame
    }
}

fn receive(server: &mut Server, frame: Frame<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    server
        .receive(frame, Instant::now(), &mut events)
        .expect("lawful");
    events
}

fn violate(server: &mut Server, frame: Frame<'_>) -> Violation {
    server
        .receive(frame, Instant::now(), &mut Vec::new())
        .expect_err("unlawful")
}

/// A call in one frame, which is to start.
fn start(server: &mut Server, call: u32) {
    let events = receive(server, frame(Kind::Call, call, &payload(0, b"body")));
    assert!(matches!(events[..], [Event::Start(_)]), "{events:?}");
}

/// Every answer of one write: call, and the failure when it is one.
fn answers(server: &mut Server) -> Vec<(u32, Option<Status>)> {
    let mut output = Vec::new();
    server.transmit(&mut output);
    let mut rest = &output[..];
    let mut answers = Vec::new();
    while let Some((frame, size)) = Frame::decode(rest).expect("well formed") {
        let failure = (frame.code != 0)
            .then(|| decode_failure(frame.code, frame.payload).expect("well formed"));
        answers.push((frame.call, failure));
        rest = &rest[size..];
    }
    answers
}

fn only_failure(server: &mut Server, call: u32) -> Status {
    match &answers(server)[..] {
        [(answered, Some(status))] if *answered == call => status.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_call_starts_with_its_deadline() {
    let mut server = Server::new(Limits::default());
    let now = Instant::now();
    let mut events = Vec::new();
    server
        .receive(
            frame(Kind::Call, 1, &payload(1500, b"body")),
            now,
            &mut events,
        )
        .expect("lawful");
    assert_eq!(
        events,
        [Event::Start(Start {
            key: StreamKey { call: 1, serial: 1 },
            method: 9,
            kind: MethodKind::Unary,
            deadline: now + Duration::from_millis(1500),
            body: Bytes::from_static(b"body"),
            metadata: Metadata::new(),
            once: None,
        })]
    );
    server.reply(1, Ok(Bytes::from_static(b"reply")));
    assert_eq!(answers(&mut server), [(1, None)]);
    assert_eq!((server.calls.len(), server.held_bytes), (0, 0));
    assert_eq!(server.next_deadline(), None);
}

#[test]
fn no_timeout_and_a_huge_one_mean_the_servers_own() {
    for timeout_ms in [0, u32::MAX] {
        let mut server = Server::new(Limits {
            call_duration_max: SECOND,
            ..Limits::default()
        });
        let now = Instant::now();
        server
            .receive(
                frame(Kind::Call, 1, &payload(timeout_ms, b"")),
                now,
                &mut Vec::new(),
            )
            .expect("lawful");
        assert_eq!(server.next_deadline(), Some(now + SECOND));
    }
}

#[test]
fn a_call_in_parts_starts_at_its_end() {
    let mut server = Server::new(Limits::default());
    assert!(
        receive(
            &mut server,
            more(frame(Kind::Call, 1, &payload(0, b"one ")))
        )
        .is_empty()
    );
    assert!(receive(&mut server, frame(Kind::Chunk, 1, b"two ")).is_empty());
    let events = receive(&mut server, frame(Kind::End, 1, b"three"));
    match &events[..] {
        [Event::Start(start)] => assert_eq!(start.body, &b"one two three"[..]),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.held_bytes, 13);
}

#[test]
fn a_request_above_the_limit_is_refused_and_its_rest_ignored() {
    let mut server = Server::new(Limits {
        message_bytes_max: 10,
        ..Limits::default()
    });
    receive(
        &mut server,
        more(frame(Kind::Call, 1, &payload(0, &[0; 6]))),
    );
    assert!(receive(&mut server, frame(Kind::Chunk, 1, &[0; 6])).is_empty());
    let status = only_failure(&mut server, 1);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.execution(), Execution::NotStarted);
    assert_eq!((server.calls.len(), server.held_bytes), (0, 0));
    assert!(receive(&mut server, frame(Kind::End, 1, &[0; 6])).is_empty());
    assert!(answers(&mut server).is_empty());
}

#[test]
fn requests_are_bounded_together_while_they_run() {
    let mut server = Server::new(Limits {
        incoming_bytes_max: 10,
        ..Limits::default()
    });
    receive(&mut server, frame(Kind::Call, 1, &payload(0, &[0; 8])));
    assert!(receive(&mut server, frame(Kind::Call, 2, &payload(0, &[0; 8]))).is_empty());
    let status = only_failure(&mut server, 2);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
    receive(
        &mut server,
        more(frame(Kind::Call, 3, &payload(0, &[0; 1]))),
    );
    receive(&mut server, frame(Kind::Chunk, 3, &[0; 2]));
    assert_eq!(only_failure(&mut server, 3).code(), Code::ResourceExhausted);
    server.reply(1, Ok(Bytes::new()));
    assert_eq!(server.held_bytes, 0);
    answers(&mut server);
    start(&mut server, 4);
}

#[test]
fn calls_in_flight_are_bounded() {
    let mut server = Server::new(Limits {
        calls_in_flight_max: 2,
        ..Limits::default()
    });
    start(&mut server, 1);
    receive(&mut server, more(frame(Kind::Call, 2, &payload(0, b"x"))));
    assert!(receive(&mut server, frame(Kind::Call, 3, &payload(0, b"x"))).is_empty());
    let status = only_failure(&mut server, 3);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
}

#[test]
fn cancelled_calls_count_until_their_handlers_are_gone() {
    let mut server = Server::new(Limits {
        calls_in_flight_max: 1,
        ..Limits::default()
    });
    start(&mut server, 1);
    assert_eq!(
        receive(&mut server, frame(Kind::Cancel, 1, b"")),
        [Event::Abort(1)]
    );
    assert_eq!(server.calls_in_flight(), 0);
    assert!(receive(&mut server, frame(Kind::Call, 2, &payload(0, b""))).is_empty());
    assert_eq!(only_failure(&mut server, 2).code(), Code::ResourceExhausted);
    server.abandon(1);
    assert!(answers(&mut server).is_empty(), "nobody waits for it");
    start(&mut server, 3);
}

#[test]
fn cancel_forgets_what_was_received_and_is_idempotent() {
    let mut server = Server::new(Limits::default());
    receive(&mut server, more(frame(Kind::Call, 1, &payload(0, b"x"))));
    assert!(receive(&mut server, frame(Kind::Cancel, 1, b"")).is_empty());
    assert_eq!((server.calls.len(), server.held_bytes), (0, 0));
    assert!(receive(&mut server, frame(Kind::Cancel, 1, b"")).is_empty());
    assert!(receive(&mut server, frame(Kind::End, 1, b"x")).is_empty());
}

#[test]
fn cancel_stops_a_reply_that_has_begun() {
    let mut server = Server::new(Limits::default());
    start(&mut server, 1);
    server.reply(1, Ok(Bytes::from(vec![0; 10 * CHUNK_BYTES_MAX])));
    assert_eq!(answers(&mut server).len(), 2);
    receive(&mut server, frame(Kind::Cancel, 1, b""));
    assert!(!server.has_output());
}

#[test]
fn an_overdue_handler_is_aborted_and_may_have_run() {
    let mut server = Server::new(Limits::default());
    let now = Instant::now();
    let mut events = Vec::new();
    server
        .receive(frame(Kind::Call, 1, &payload(1000, b"")), now, &mut events)
        .expect("lawful");
    events.clear();
    server.expire(now + SECOND / 2, &mut events);
    assert!(events.is_empty());
    server.expire(now + SECOND, &mut events);
    assert_eq!(events, [Event::Abort(1)]);
    let status = only_failure(&mut server, 1);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    server.reply(1, Ok(Bytes::new()));
    assert!(answers(&mut server).is_empty(), "one answer a call");
}

#[test]
fn an_overdue_request_that_is_not_whole_never_started() {
    let mut server = Server::new(Limits::default());
    let now = Instant::now();
    let mut events = Vec::new();
    server
        .receive(
            more(frame(Kind::Call, 1, &payload(1000, b"x"))),
            now,
            &mut events,
        )
        .expect("lawful");
    server.expire(now + SECOND, &mut events);
    assert!(events.is_empty());
    let status = only_failure(&mut server, 1);
    assert_eq!(status.execution(), Execution::NotStarted);
    assert_eq!((server.calls.len(), server.held_bytes), (0, 0));
}

#[test]
fn a_handler_that_vanishes_is_an_internal_error() {
    let mut server = Server::new(Limits::default());
    start(&mut server, 1);
    server.abandon(1);
    let status = only_failure(&mut server, 1);
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
}

#[test]
fn a_reply_above_the_limit_becomes_a_failure() {
    let mut server = Server::new(Limits {
        message_bytes_max: 10,
        ..Limits::default()
    });
    start(&mut server, 1);
    server.reply(1, Ok(Bytes::from(vec![0; 11])));
    let status = only_failure(&mut server, 1);
    assert_eq!(status.execution(), Execution::Executed);
}

#[test]
fn replies_that_nobody_takes_do_not_pile_up() {
    let mut server = Server::new(Limits {
        outgoing_bytes_pause: 100,
        outgoing_bytes_max: 200,
        ..Limits::default()
    });
    for call in 1..=3 {
        start(&mut server, call);
    }
    assert!(server.wants_input());
    server.reply(1, Ok(Bytes::from(vec![0; 150])));
    assert!(!server.wants_input());
    server.reply(2, Ok(Bytes::from(vec![0; 150])));
    let answers = answers(&mut server);
    let refused = answers[1].1.as_ref().expect("a failure");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.execution(), Execution::Executed);
    assert!(server.wants_input());
}

#[test]
fn draining_refuses_new_calls_and_answers_old_ones() {
    let mut server = Server::new(Limits::default());
    start(&mut server, 1);
    server.goaway(Status::new(
        Code::Unavailable,
        Execution::NotStarted,
        "draining",
    ));
    assert_eq!(answers(&mut server).len(), 1);
    assert!(receive(&mut server, frame(Kind::Call, 2, &payload(0, b""))).is_empty());
    let status = only_failure(&mut server, 2);
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.execution(), Execution::NotStarted);
    assert_eq!(server.calls_in_flight(), 1);
    server.reply(1, Ok(Bytes::new()));
    assert_eq!(answers(&mut server), [(1, None)]);
}

#[test]
fn a_number_in_use_is_a_violation() {
    let mut server = Server::new(Limits::default());
    start(&mut server, 1);
    assert_eq!(
        violate(&mut server, frame(Kind::Call, 1, &payload(0, b""))),
        Violation::DuplicateCall(1)
    );
}

#[test]
fn frames_of_the_other_side_are_violations() {
    let mut server = Server::new(Limits::default());
    for kind in [Kind::Hello, Kind::Reply] {
        assert_eq!(
            violate(&mut server, frame(kind, 1, b"")),
            Violation::Unexpected(kind)
        );
    }
}

#[test]
fn malformed_calls_and_parts_are_violations() {
    let mut server = Server::new(Limits::default());
    violate(&mut server, frame(Kind::Call, 1, &[0; 11]));
    violate(&mut server, frame(Kind::Ping, 0, b""));
    start(&mut server, 2);
    violate(&mut server, frame(Kind::Chunk, 2, b"x"));
    receive(&mut server, more(frame(Kind::Call, 3, &payload(0, b""))));
    violate(&mut server, frame(Kind::Chunk, 3, b""));
}

mod quota;
mod streams;

use super::*;
use crate::frame::{CALL_PREFIX_BYTES, FLAG_MORE};
use crate::limits::CHUNK_BYTES_MAX;
use crate::payload::encode_failure;

const SECOND: Duration = Duration::from_secs(1);

fn client(limits: Limits) -> Client<&'static str> {
    Client::new(limits)
}

fn reply(call: u32, payload: &[u8]) -> Frame<'_> {
    part(Kind::Reply, call, payload)
}

fn part(kind: Kind, call: u32, payload: &[u8]) -> Frame<'_> {
    Frame {
        kind,
        flags: 0,
        code: 0,
        call,
        payload,
    }
}

fn first_part(call: u32, payload: &[u8]) -> Frame<'_> {
    Frame {
        flags: FLAG_MORE,
        ..reply(call, payload)
    }
}

fn body(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

fn begin(client: &mut Client<&'static str>, waiter: &'static str, body: Bytes) -> u32 {
    client
        .begin(Instant::now(), 9, body, SECOND, waiter)
        .expect("within the limits")
}

fn receive(client: &mut Client<&'static str>, frame: Frame<'_>) -> Vec<(&'static str, Outcome)> {
    let mut outcomes = Vec::new();
    client.receive(frame, &mut outcomes).expect("lawful");
    outcomes
}

fn violate(client: &mut Client<&'static str>, frame: Frame<'_>) -> Violation {
    client
        .receive(frame, &mut Vec::new())
        .expect_err("unlawful")
}

/// Kind and call of every frame of one write.
fn sent(client: &mut Client<&'static str>) -> Vec<(Kind, u32)> {
    let mut output = Vec::new();
    client.transmit(&mut output);
    let mut rest = &output[..];
    let mut frames = Vec::new();
    while let Some((frame, size)) = Frame::decode(rest).expect("well formed") {
        frames.push((frame.kind, frame.call));
        rest = &rest[size..];
    }
    frames
}

#[test]
fn a_call_leaves_with_timeout_and_method_and_its_reply_ends_it() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::from_static(b"ask"));
    let mut output = Vec::new();
    client.transmit(&mut output);
    let (frame, _) = Frame::decode(&output).expect("frame").expect("whole");
    assert_eq!((frame.kind, frame.call), (Kind::Call, call));
    let (prefix, body) = CallPrefix::decode(frame.payload).expect("prefix");
    assert_eq!(
        (prefix.timeout_ms, prefix.method, body),
        (1000, 9, &b"ask"[..])
    );
    assert_eq!(
        receive(&mut client, reply(call, b"answer")),
        [("a", Ok(Bytes::from_static(b"answer")))]
    );
    assert_eq!(client.calls_in_flight(), 0);
    assert_eq!(client.next_deadline(), None);
}

#[test]
fn replies_find_their_calls_in_any_order() {
    let mut client = client(Limits::default());
    let first = begin(&mut client, "first", Bytes::new());
    let second = begin(&mut client, "second", Bytes::new());
    assert_ne!(first, second);
    assert_eq!(receive(&mut client, reply(second, b"2"))[0].0, "second");
    assert_eq!(receive(&mut client, reply(first, b"1"))[0].0, "first");
}

#[test]
fn a_failure_arrives_with_all_it_says() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    let status = Status::new(Code::Aborted, Execution::Executed, "late").with_details(body(3));
    let payload = encode_failure(&status);
    let frame = Frame {
        code: Code::Aborted.number(),
        ..reply(call, &payload)
    };
    assert_eq!(receive(&mut client, frame), [("a", Err(status))]);
}

#[test]
fn a_reply_in_parts_is_whole_only_at_its_end() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    assert!(receive(&mut client, first_part(call, b"one ")).is_empty());
    assert!(receive(&mut client, part(Kind::Chunk, call, b"two ")).is_empty());
    assert_eq!(
        receive(&mut client, part(Kind::End, call, b"three")),
        [("a", Ok(Bytes::from_static(b"one two three")))]
    );
    assert_eq!(client.partial_bytes, 0);
}

#[test]
fn an_unfinished_reply_is_no_reply_when_the_connection_is_lost() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    sent(&mut client);
    receive(&mut client, first_part(call, b"one "));
    let mut outcomes = Vec::new();
    client.fail_all(
        &Status::new(Code::Unavailable, Execution::MaybeExecuted, "lost"),
        &mut outcomes,
    );
    let status = outcomes[0].1.as_ref().expect_err("failed");
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(client.partial_bytes, 0);
}

#[test]
fn loss_tells_sent_calls_from_unsent_ones() {
    let mut client = client(Limits::default());
    begin(&mut client, "sent", Bytes::new());
    sent(&mut client);
    begin(&mut client, "small", Bytes::new());
    begin(&mut client, "bulk", body(CHUNK_BYTES_MAX + 1));
    let mut outcomes = Vec::new();
    client.fail_all(
        &Status::new(Code::Unavailable, Execution::MaybeExecuted, "lost"),
        &mut outcomes,
    );
    let executions: Vec<_> = outcomes
        .iter()
        .map(|(waiter, outcome)| {
            let status = outcome.as_ref().expect_err("failed");
            (*waiter, status.execution())
        })
        .collect();
    assert_eq!(
        executions,
        [
            ("sent", Execution::MaybeExecuted),
            ("small", Execution::NotSent),
            ("bulk", Execution::NotSent)
        ]
    );
    assert!(
        sent(&mut client).is_empty(),
        "an unsent call must not leave"
    );
    let refused = client.begin(Instant::now(), 1, Bytes::new(), SECOND, "later");
    assert_eq!(refused.expect_err("lost").execution(), Execution::NotSent);
}

#[test]
fn an_overdue_call_is_cancelled_and_may_have_run() {
    let mut client = client(Limits::default());
    let start = Instant::now();
    let call = client
        .begin(start, 1, Bytes::new(), SECOND, "a")
        .expect("begun");
    sent(&mut client);
    let mut outcomes = Vec::new();
    client.expire(start + SECOND / 2, &mut outcomes);
    assert!(outcomes.is_empty());
    assert_eq!(client.next_deadline(), Some(start + SECOND));
    client.expire(start + SECOND, &mut outcomes);
    let status = outcomes[0].1.as_ref().expect_err("overdue");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
    assert!(receive(&mut client, reply(call, b"late")).is_empty());
}

#[test]
fn an_overdue_bulk_call_that_never_left_was_not_sent() {
    let mut client = client(Limits::default());
    let start = Instant::now();
    client
        .begin(start, 1, body(CHUNK_BYTES_MAX + 1), SECOND, "a")
        .expect("begun");
    let mut outcomes = Vec::new();
    client.expire(start + SECOND, &mut outcomes);
    let status = outcomes[0].1.as_ref().expect_err("overdue");
    assert_eq!(status.execution(), Execution::NotSent);
    assert!(sent(&mut client).is_empty());
}

#[test]
fn cancelling_half_a_bulk_call_stops_it() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", body(10 * CHUNK_BYTES_MAX));
    assert_eq!(sent(&mut client), [(Kind::Call, call), (Kind::Chunk, call)]);
    client.cancel(call);
    client.cancel(call);
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
    assert!(!client.has_output());
}

#[test]
fn a_reply_that_overtakes_its_request_stops_the_rest() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", body(10 * CHUNK_BYTES_MAX));
    sent(&mut client);
    assert_eq!(receive(&mut client, reply(call, b"no")).len(), 1);
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
}

#[test]
fn a_reply_to_what_has_not_left_is_not_followed_by_a_cancel() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", body(10 * CHUNK_BYTES_MAX));
    assert_eq!(receive(&mut client, reply(call, b"no")).len(), 1);
    assert_eq!(sent(&mut client), []);
    assert!(!client.has_output());
}

#[test]
fn no_time_left_is_not_sent() {
    let mut client = client(Limits::default());
    let status = client
        .begin(Instant::now(), 1, Bytes::new(), Duration::ZERO, "a")
        .expect_err("no time");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.execution(), Execution::NotSent);
}

#[test]
fn a_request_above_the_limit_is_not_sent() {
    let mut client = client(Limits {
        message_bytes_max: 10,
        ..Limits::default()
    });
    let status = client
        .begin(Instant::now(), 1, body(11), SECOND, "a")
        .expect_err("too large");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.execution(), Execution::NotSent);
    let text = "request is too large: 11 bytes, and at most 10 may be sent";
    assert_eq!(status.message(), text);
    begin(&mut client, "b", body(10));
}

#[test]
fn calls_in_flight_are_bounded() {
    let mut client = client(Limits {
        calls_in_flight_max: 2,
        ..Limits::default()
    });
    let call = begin(&mut client, "a", Bytes::new());
    begin(&mut client, "b", Bytes::new());
    let status = client
        .begin(Instant::now(), 1, Bytes::new(), SECOND, "c")
        .expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotSent);
    receive(&mut client, reply(call, b""));
    begin(&mut client, "c", Bytes::new());
}

#[test]
fn calls_that_are_cancelled_unsent_cannot_fill_the_queue() {
    let mut client = client(Limits {
        outgoing_bytes_max: 1000,
        ..Limits::default()
    });
    let mut refused = None;
    for _ in 0..1000 {
        match client.begin(Instant::now(), 1, body(10), SECOND, "a") {
            Ok(call) => client.cancel(call),
            Err(status) => refused = Some(status),
        }
    }
    assert!(client.outgoing.queued_bytes() < 1100);
    let refused = refused.expect("the bound was met");
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[test]
fn a_reply_above_the_limit_fails_its_call_only() {
    let mut client = client(Limits {
        message_bytes_max: 10,
        ..Limits::default()
    });
    let call = begin(&mut client, "a", Bytes::new());
    let other = begin(&mut client, "b", Bytes::new());
    receive(&mut client, first_part(call, &[0; 6]));
    let outcomes = receive(&mut client, part(Kind::Chunk, call, &[0; 6]));
    let status = outcomes[0].1.as_ref().expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::Executed);
    assert!(receive(&mut client, part(Kind::End, call, &[0; 6])).is_empty());
    assert_eq!(receive(&mut client, reply(other, b"")).len(), 1);
    assert_eq!(client.partial_bytes, 0);
}

#[test]
fn partial_replies_are_bounded_together() {
    let mut client = client(Limits {
        incoming_bytes_max: 10,
        ..Limits::default()
    });
    let first = begin(&mut client, "a", Bytes::new());
    let second = begin(&mut client, "b", Bytes::new());
    receive(&mut client, first_part(first, &[0; 8]));
    let outcomes = receive(&mut client, first_part(second, &[0; 8]));
    assert!(outcomes[0].1.is_err());
    assert_eq!(client.partial_bytes, 8);
    assert_eq!(receive(&mut client, part(Kind::End, first, &[1])).len(), 1);
}

#[test]
fn goaway_refuses_new_calls_and_leaves_old_ones() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    let reason = Status::new(Code::Unavailable, Execution::NotStarted, "draining");
    let payload = encode_failure(&reason);
    let goaway = Frame {
        kind: Kind::Goaway,
        flags: 0,
        code: Code::Unavailable.number(),
        call: 0,
        payload: &payload,
    };
    assert!(receive(&mut client, goaway).is_empty());
    let status = client
        .begin(Instant::now(), 1, Bytes::new(), SECOND, "b")
        .expect_err("refused");
    assert_eq!(status.execution(), Execution::NotSent);
    assert_eq!(status.message(), "draining");
    assert_eq!(receive(&mut client, reply(call, b"")).len(), 1);
}

#[test]
fn a_ping_is_answered_with_its_token() {
    let mut client = client(Limits::default());
    receive(&mut client, part(Kind::Ping, 0, b"12345678"));
    let mut output = Vec::new();
    client.transmit(&mut output);
    let (frame, _) = Frame::decode(&output).expect("frame").expect("whole");
    assert_eq!((frame.kind, frame.payload), (Kind::Pong, &b"12345678"[..]));
}

#[test]
fn frames_of_the_other_side_are_violations() {
    let mut client = client(Limits::default());
    for kind in [Kind::Hello, Kind::Call, Kind::Cancel] {
        assert_eq!(
            violate(&mut client, part(kind, 1, &[0; CALL_PREFIX_BYTES])),
            Violation::Unexpected(kind)
        );
    }
}

#[test]
fn a_part_before_its_beginning_is_a_violation() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    for kind in [Kind::Chunk, Kind::End] {
        assert!(matches!(
            violate(&mut client, part(kind, call, b"x")),
            Violation::Malformed(_)
        ));
    }
}

#[test]
fn a_second_beginning_is_a_violation() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    receive(&mut client, first_part(call, b"x"));
    assert!(matches!(
        violate(&mut client, first_part(call, b"x")),
        Violation::Malformed(_)
    ));
    assert!(matches!(
        violate(&mut client, reply(call, b"x")),
        Violation::Malformed(_)
    ));
}

#[test]
fn empty_parts_and_short_failures_and_pings_are_violations() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    receive(&mut client, first_part(call, b"x"));
    violate(&mut client, part(Kind::Chunk, call, b""));
    violate(&mut client, part(Kind::Ping, 0, b"1234567"));
    let other = begin(&mut client, "b", Bytes::new());
    violate(
        &mut client,
        Frame {
            code: 5,
            ..reply(other, b"")
        },
    );
    violate(
        &mut client,
        Frame {
            code: 5,
            ..first_part(other, b"")
        },
    );
}

#[test]
fn numbers_wrap_around_those_in_use() {
    let mut client = client(Limits::default());
    assert_eq!(begin(&mut client, "a", Bytes::new()), 1);
    client.call_last = u32::MAX - 1;
    assert_eq!(begin(&mut client, "b", Bytes::new()), u32::MAX);
    assert_eq!(begin(&mut client, "c", Bytes::new()), 2);
}

#[test]
fn wire_timeouts_round_up_and_saturate() {
    assert_eq!(wire_timeout(Duration::from_micros(1)), 1);
    assert_eq!(wire_timeout(Duration::from_millis(1)), 1);
    assert_eq!(wire_timeout(Duration::from_micros(1001)), 2);
    assert_eq!(wire_timeout(Duration::MAX), u32::MAX);
}

mod streams;

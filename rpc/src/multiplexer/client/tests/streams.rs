//! Calls with streams, as the caller's side sees them.

use super::*;
use crate::frame::{FLAG_LAST, FLAG_METADATA, FLAG_ONCE, FLAG_REPLIES, FLAG_STREAM, HEADER_BYTES};
use crate::limits::STREAM_WINDOW_BYTES;

fn begin_kind(client: &mut Client<&'static str>, kind: MethodKind) -> u32 {
    let (now, metadata) = (Instant::now(), Metadata::new());
    client
        .begin_stream(now, kind, 9, Bytes::new(), SECOND, metadata)
        .expect("within the limits")
}

/// A call of this kind that has left.
fn begun(kind: MethodKind) -> (Client<&'static str>, u32) {
    let mut client = client(Limits::default());
    let call = begin_kind(&mut client, kind);
    assert_eq!(sent(&mut client), [(Kind::Call, call)]);
    (client, call)
}

/// One whose replies have begun.
fn streaming() -> (Client<&'static str>, u32) {
    let (mut client, call) = begun(MethodKind::ServerStream);
    receive(&mut client, opening(call));
    (client, call)
}

fn opening(call: u32) -> Frame<'static> {
    Frame {
        flags: FLAG_STREAM,
        ..part(Kind::Reply, call, b"")
    }
}

fn last(call: u32, payload: &[u8]) -> Frame<'_> {
    Frame {
        flags: FLAG_LAST,
        ..part(Kind::Chunk, call, payload)
    }
}

fn failed(call: u32, payload: &[u8]) -> Frame<'_> {
    Frame {
        code: Code::Aborted.number(),
        ..reply(call, payload)
    }
}

fn failure() -> Status {
    Status::new(Code::Aborted, Execution::Executed, "late")
}

/// Kind, flags and payload length of every frame of one write.
fn flagged(client: &mut Client<&'static str>) -> Vec<(Kind, u8, usize)> {
    let mut output = Vec::new();
    client.transmit(&mut output);
    let mut rest = &output[..];
    let mut frames = Vec::new();
    while let Some((frame, size)) = Frame::decode(rest).expect("well formed") {
        frames.push((frame.kind, frame.flags, frame.payload.len()));
        rest = &rest[size..];
    }
    frames
}

fn malformed(violation: Violation) {
    assert!(matches!(violation, Violation::Malformed(_)), "{violation}");
}

#[test]
fn a_stream_leaves_as_call_chunks_and_end() {
    let mut client = client(Limits::default());
    let call = begin_kind(&mut client, MethodKind::Bidirectional);
    client.send(call, body(3)).expect("room");
    client.send(call, body(0)).expect("room");
    client.send(call, body(CHUNK_BYTES_MAX + 1)).expect("room");
    client.finish(call);
    assert_eq!(
        flagged(&mut client),
        [
            (Kind::Call, FLAG_STREAM | FLAG_REPLIES, CALL_PREFIX_BYTES),
            (Kind::Chunk, FLAG_LAST, 3),
            (Kind::Chunk, FLAG_LAST, 0),
            (Kind::Chunk, 0, CHUNK_BYTES_MAX),
            (Kind::Chunk, FLAG_LAST, 1),
            (Kind::End, 0, 0),
        ]
    );
    assert!(!client.has_output());
}

#[test]
fn replies_come_one_by_one_and_end() {
    let (mut client, call) = streaming();
    assert_eq!(client.take(call), Taken::Wait);
    receive(&mut client, last(call, b"one"));
    receive(&mut client, part(Kind::Chunk, call, b"tw"));
    assert_eq!(client.next_notice(), Some((call, Side::Reader)));
    receive(&mut client, last(call, b"o"));
    assert!(receive(&mut client, part(Kind::End, call, b"")).is_empty());
    assert_eq!(client.calls_in_flight(), 0);
    assert_eq!(
        client.take(call),
        Taken::Message(Bytes::from_static(b"one"))
    );
    assert_eq!(
        client.take(call),
        Taken::Message(Bytes::from_static(b"two"))
    );
    assert_eq!(client.take(call), Taken::End);
    assert_eq!(client.take(call), Taken::End);
    client.release(call);
    assert_eq!((client.partial_bytes, client.ended.len()), (0, 0));
    assert!(sent(&mut client).is_empty());
}

#[test]
fn a_failure_comes_behind_whole_messages_and_drops_the_part() {
    let (mut client, call) = streaming();
    receive(&mut client, last(call, b"one"));
    receive(&mut client, part(Kind::Chunk, call, b"tw"));
    receive(&mut client, failed(call, &encode_failure(&failure())));
    assert_eq!(
        client.take(call),
        Taken::Message(Bytes::from_static(b"one"))
    );
    assert_eq!(client.take(call), Taken::Failed(failure()));
    assert_eq!(client.partial_bytes, 0);
}

#[test]
fn a_failure_needs_no_opening() {
    for kind in [MethodKind::ServerStream, MethodKind::ClientStream] {
        let (mut client, call) = begun(kind);
        receive(&mut client, failed(call, &encode_failure(&failure())));
        assert_eq!(client.take(call), Taken::Failed(failure()));
    }
}

#[test]
fn an_early_answer_withdraws_the_stream_and_cancels() {
    let (mut client, call) = begun(MethodKind::ClientStream);
    client.send(call, body(10)).expect("room");
    receive(&mut client, reply(call, b"enough"));
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
    assert!(matches!(client.send(call, body(1)), Err(Unsent::Over(_))));
    let message = Bytes::from_static(b"enough");
    assert_eq!(client.take(call), Taken::Message(message));
}

#[test]
fn an_answer_behind_the_end_cancels_nothing() {
    let (mut client, call) = begun(MethodKind::ClientStream);
    client.finish(call);
    assert_eq!(sent(&mut client), [(Kind::End, call)]);
    receive(&mut client, reply(call, b"done"));
    assert!(sent(&mut client).is_empty());
}

#[test]
fn sending_stops_without_credit_and_goes_on_with_it() {
    let (mut client, call) = begun(MethodKind::ClientStream);
    let mut accepted = 0;
    let waiting = loop {
        match client.send(call, body(1000)) {
            Ok(()) => accepted += 1,
            Err(Unsent::Wait(message)) => break message,
            Err(Unsent::Over(status)) => panic!("{status}"),
        }
        assert!(client.outgoing.queued_bytes() <= STREAM_WINDOW_BYTES + 1012 + HEADER_BYTES);
    };
    assert_eq!(waiting.len(), 1000);
    let mut left = 0;
    while client.has_output() {
        left += flagged(&mut client).len();
    }
    assert!(left * 1012 <= STREAM_WINDOW_BYTES);
    assert!(left == accepted - 1, "{left} of {accepted}");
    while client.next_notice().is_some() {}
    assert!(matches!(client.send(call, body(1)), Err(Unsent::Wait(_))));
    receive(
        &mut client,
        part(Kind::Credit, call, &40_000_u32.to_le_bytes()),
    );
    assert_eq!(client.next_notice(), Some((call, Side::Writer)));
    client.send(call, waiting).expect("credit");
    assert!(client.has_output());
}

#[test]
fn taking_gives_credit_back() {
    let (mut client, call) = streaming();
    for _ in 0..3 {
        receive(&mut client, last(call, &[0; CHUNK_BYTES_MAX]));
    }
    assert!(sent(&mut client).is_empty());
    client.take(call);
    assert!(sent(&mut client).is_empty());
    client.take(call);
    assert_eq!(flagged(&mut client), [(Kind::Credit, 0, 4)]);
}

#[test]
fn cancelling_tells_the_server_and_the_users() {
    let (mut client, call) = begun(MethodKind::Bidirectional);
    client.cancel(call);
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
    assert!(matches!(client.take(call), Taken::Failed(_)));
    assert!(matches!(client.send(call, body(1)), Err(Unsent::Over(_))));
    let mut notices = Vec::new();
    while let Some(notice) = client.next_notice() {
        notices.push(notice);
    }
    assert!(notices.contains(&(call, Side::Reader)) && notices.contains(&(call, Side::Writer)));
    receive(&mut client, opening(call));
    receive(&mut client, last(call, b"crossed"));
    receive(&mut client, part(Kind::Credit, call, &[1, 0, 0, 0]));
}

#[test]
fn a_stream_that_ran_out_of_time_says_so() {
    let (mut client, call) = streaming();
    client.expire(Instant::now() + 2 * SECOND, &mut Vec::new());
    match client.take(call) {
        Taken::Failed(status) => assert_eq!(status.code(), Code::DeadlineExceeded),
        other => panic!("{other:?}"),
    }
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
}

#[test]
fn a_stream_that_never_left_was_not_sent() {
    let mut client = client(Limits::default());
    let call = begin_kind(&mut client, MethodKind::ClientStream);
    client.send(call, body(5)).expect("room");
    let lost = Status::new(Code::Unavailable, Execution::MaybeExecuted, "lost");
    client.fail_all(&lost, &mut Vec::new());
    match client.take(call) {
        Taken::Failed(status) => assert_eq!(status.execution(), Execution::NotSent),
        other => panic!("{other:?}"),
    }
    assert!(!client.has_output());
}

#[test]
fn a_number_is_not_used_again_while_its_stream_is_looked_at() {
    let (mut client, call) = begun(MethodKind::ServerStream);
    client.cancel(call);
    client.call_last = call - 1;
    assert_ne!(begin(&mut client, "a", Bytes::new()), call);
    client.release(call);
    client.call_last = call - 1;
    assert_eq!(begin(&mut client, "b", Bytes::new()), call);
}

#[test]
fn a_message_above_the_limit_cancels_the_call() {
    let mut client = client(Limits {
        message_bytes_max: 10,
        ..Limits::default()
    });
    let call = begin_kind(&mut client, MethodKind::ServerStream);
    sent(&mut client);
    receive(&mut client, opening(call));
    receive(&mut client, last(call, &[0; 11]));
    match client.take(call) {
        Taken::Failed(status) => assert_eq!(
            (status.code(), status.execution()),
            (Code::ResourceExhausted, Execution::MaybeExecuted)
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(sent(&mut client), [(Kind::Cancel, call)]);
}

#[test]
fn messages_that_wait_count_into_the_bytes_held() {
    let mut client = client(Limits {
        incoming_bytes_max: 30_000,
        ..Limits::default()
    });
    let call = begin_kind(&mut client, MethodKind::ServerStream);
    let other = begin_kind(&mut client, MethodKind::ServerStream);
    sent(&mut client);
    receive(&mut client, opening(call));
    receive(&mut client, opening(other));
    receive(&mut client, last(call, &[0; CHUNK_BYTES_MAX]));
    receive(&mut client, last(other, &[0; CHUNK_BYTES_MAX]));
    assert!(matches!(client.take(other), Taken::Failed(_)));
    assert!(matches!(client.take(call), Taken::Message(_)));
    client.release(call);
    client.release(other);
    assert_eq!(client.partial_bytes, 0);
}

#[test]
fn a_body_in_place_of_a_stream_closes() {
    let (mut client, call) = begun(MethodKind::ServerStream);
    malformed(violate(&mut client, reply(call, b"body")));
    let (mut client, call) = begun(MethodKind::ServerStream);
    malformed(violate(&mut client, first_part(call, b"body")));
}

#[test]
fn a_stream_in_place_of_a_body_closes() {
    let (mut client, call) = begun(MethodKind::ClientStream);
    malformed(violate(&mut client, opening(call)));
    let mut client = super::client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    malformed(violate(&mut client, opening(call)));
}

#[test]
fn an_opening_with_a_body_closes() {
    let (mut client, call) = begun(MethodKind::ServerStream);
    let frame = Frame {
        payload: b"x",
        ..opening(call)
    };
    malformed(violate(&mut client, frame));
}

#[test]
fn a_failure_that_opens_a_stream_closes() {
    let (mut client, call) = begun(MethodKind::ServerStream);
    let payload = encode_failure(&failure());
    let frame = Frame {
        flags: FLAG_STREAM,
        ..failed(call, &payload)
    };
    malformed(violate(&mut client, frame));
}

#[test]
fn a_second_opening_closes() {
    let (mut client, call) = streaming();
    malformed(violate(&mut client, opening(call)));
}

#[test]
fn messages_before_the_opening_close() {
    let (mut client, call) = begun(MethodKind::ServerStream);
    malformed(violate(&mut client, last(call, b"x")));
    let (mut client, call) = begun(MethodKind::ServerStream);
    malformed(violate(&mut client, part(Kind::End, call, b"")));
}

#[test]
fn unlawful_parts_of_a_stream_close() {
    for unlawful in [part(Kind::Chunk, 1, b""), part(Kind::End, 1, b"payload")] {
        let (mut client, call) = streaming();
        assert_eq!(call, 1);
        malformed(violate(&mut client, unlawful));
    }
    for unlawful in [last(1, b""), part(Kind::End, 1, b"")] {
        let (mut client, _) = streaming();
        receive(&mut client, part(Kind::Chunk, 1, b"inside"));
        malformed(violate(&mut client, unlawful));
    }
}

#[test]
fn an_end_of_a_message_in_a_body_closes() {
    let mut client = client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    receive(&mut client, first_part(call, b"one "));
    malformed(violate(&mut client, last(call, b"two")));
}

#[test]
fn a_server_beyond_its_credit_closes() {
    let (mut client, call) = streaming();
    for _ in 0..3 {
        receive(&mut client, last(call, &[0; CHUNK_BYTES_MAX]));
    }
    assert_eq!(
        violate(&mut client, last(call, &[0; CHUNK_BYTES_MAX])),
        Violation::CreditExceeded
    );
}

#[test]
fn unlawful_credit_closes() {
    let credit = |bytes: u32| bytes.to_le_bytes();
    let (mut client, call) = begun(MethodKind::ClientStream);
    assert_eq!(
        violate(&mut client, part(Kind::Credit, call, &credit(0))),
        Violation::CreditRefused(0)
    );
    assert_eq!(
        violate(&mut client, part(Kind::Credit, call, &credit(1 << 30))),
        Violation::CreditRefused(1 << 30)
    );
    malformed(violate(&mut client, part(Kind::Credit, call, &[1, 0, 0])));
    let (mut client, call) = begun(MethodKind::ServerStream);
    assert_eq!(
        violate(&mut client, part(Kind::Credit, call, &credit(1))),
        Violation::CreditRefused(1),
        "our direction is no stream"
    );
    let mut client = super::client(Limits::default());
    let call = begin(&mut client, "a", Bytes::new());
    assert!(
        client
            .receive(part(Kind::Credit, call, &credit(1)), &mut Vec::new())
            .is_err()
    );
    receive(&mut client, part(Kind::Credit, 99, &credit(1)));
}

#[test]
fn credit_behind_our_end_is_a_race() {
    let (mut client, call) = begun(MethodKind::ClientStream);
    client.finish(call);
    sent(&mut client);
    receive(&mut client, part(Kind::Credit, call, &[1, 0, 0, 0]));
}

#[test]
fn blocks_are_announced_by_flags() {
    let mut client = client(Limits::default());
    let mut metadata = Metadata::new();
    metadata.insert("a", b"1").expect("sound");
    let once = OnceId {
        incarnation: [1; 16],
        sequence: 1,
        floor: 0,
    };
    let extras = Extras {
        metadata,
        once: Some(once),
    };
    let (now, bulk) = (Instant::now(), body(CHUNK_BYTES_MAX + 1));
    for (waiter, request) in [("small", body(1)), ("bulk", bulk)] {
        client
            .begin_with(now, 9, request, SECOND, &extras, waiter)
            .expect("room");
        let mut output = Vec::new();
        client.transmit(&mut output);
        let (frame, _) = Frame::decode(&output).expect("sound").expect("whole");
        let payload = CallPayload::decode(frame.flags, frame.payload).expect("sound");
        assert_eq!(payload.metadata, extras.metadata);
        assert_eq!(payload.once, extras.once);
        assert_eq!(
            frame.flags & !FLAG_MORE,
            FLAG_METADATA | FLAG_ONCE,
            "{waiter}"
        );
    }
}

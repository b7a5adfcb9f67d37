//! The golden frames of `rpc/vectors`, which the Python client reads too.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use sealmoot_rpc::Execution;
use sealmoot_rpc::frame::{Frame, Kind, PING_BYTES, Violation};
use sealmoot_rpc::once::is_unknown_incarnation;
use sealmoot_rpc::payload::{
    CallPayload, decode_credit, decode_failure, decode_hello, encode_failure, encode_hello,
};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/frames.json");
    let text = fs::read_to_string(path).expect("the vectors");
    let vectors: Value = serde_json::from_str(&text).expect("sound JSON");
    vectors.as_array().expect("a list").clone()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a text")
}

fn bytes(vector: &Value) -> Vec<u8> {
    let mut bytes = unhex(text(vector, "hex"));
    let pad = vector["pad"].as_u64().unwrap_or(0);
    bytes.resize(bytes.len() + usize::try_from(pad).expect("small"), b'a');
    bytes
}

/// A field that bytes of padding may follow.
fn padded(vector: &Value, field: &str) -> Vec<u8> {
    let mut bytes = unhex(text(&vector["frame"], field));
    if vector["frame"]["pad_in"] == field {
        let pad = vector["pad"].as_u64().expect("a number");
        bytes.resize(bytes.len() + usize::try_from(pad).expect("small"), b'a');
    }
    bytes
}

/// What an endpoint checks of a frame, whatever came before.
fn check(frame: Frame<'_>) -> Result<(), Violation> {
    match frame.kind {
        Kind::Hello if frame.flags == 0 => decode_hello(frame.payload).map(drop),
        Kind::Call => CallPayload::decode(frame.flags, frame.payload).map(drop),
        Kind::Credit => decode_credit(frame.payload).map(drop),
        Kind::Reply | Kind::Goaway if frame.code != 0 => {
            decode_failure(frame.code, frame.payload).map(drop)
        }
        Kind::Ping => <[u8; PING_BYTES]>::try_from(frame.payload)
            .map(drop)
            .map_err(|_| Violation::Malformed("ping without its token")),
        _ => Ok(()),
    }
}

fn rule(violation: &Violation) -> &'static str {
    match violation {
        Violation::UnknownKind(_) => "unknown_kind",
        Violation::UnknownFlags { .. } => "unknown_flags",
        Violation::PayloadTooLong { .. } => "payload_too_long",
        Violation::Unexpected(_) => "unexpected",
        Violation::UnsupportedVersion(_) => "unsupported_version",
        Violation::CreditExceeded => "credit_exceeded",
        Violation::CreditRefused(_) => "credit_refused",
        Violation::DuplicateCall(_) => "duplicate_call",
        _ => "malformed",
    }
}

#[test]
fn valid_frames_decode_as_drawn_and_encode_to_the_same_bytes() {
    let mut checked = 0;
    for vector in vectors().iter().filter(|vector| !vector["frame"].is_null()) {
        let (name, bytes, fields) = (text(vector, "name"), bytes(vector), &vector["frame"]);
        let decoded = Frame::decode(&bytes).expect(name);
        let (frame, size) = decoded.expect("a whole frame");
        assert_eq!(size, bytes.len(), "{name}");
        let kind = format!("{:?}", frame.kind).to_lowercase();
        assert_eq!(kind, text(fields, "kind"), "{name}");
        assert_eq!(fields["flags"], frame.flags, "{name}");
        assert_eq!(fields["code"], frame.code, "{name}");
        assert_eq!(fields["call"], frame.call, "{name}");
        assert_eq!(check(frame), Ok(()), "{name}");
        let payload = match frame.kind {
            Kind::Hello if frame.flags == 0 => {
                let statements = padded(vector, "statements");
                assert_eq!(decode_hello(frame.payload), Ok(&statements[..]), "{name}");
                encode_hello(&statements).expect("short")
            }
            Kind::Call => {
                let call = CallPayload::decode(frame.flags, frame.payload).expect(name);
                assert_eq!(fields["timeout_ms"], call.prefix.timeout_ms, "{name}");
                assert_eq!(fields["method"], call.prefix.method, "{name}");
                assert_eq!(call.body, padded(vector, "body"), "{name}");
                let metadata = fields["metadata"].as_array().expect("a list");
                assert_eq!(call.metadata.iter().count(), metadata.len(), "{name}");
                for ((key, value), entry) in call.metadata.iter().zip(metadata) {
                    assert_eq!(entry[0], key, "{name}");
                    assert_eq!(unhex(entry[1].as_str().expect("a text")), value, "{name}");
                }
                let once = &fields["once"];
                assert_eq!(call.once.is_none(), once.is_null(), "{name}");
                if let Some(id) = &call.once {
                    assert_eq!(unhex(text(once, "incarnation")), id.incarnation, "{name}");
                    assert_eq!(once["sequence"], id.sequence, "{name}");
                    assert_eq!(once["floor"], id.floor, "{name}");
                }
                let (_, head) =
                    CallPayload::encode_head(&call.prefix, call.once.as_ref(), &call.metadata);
                [&head, call.body].concat()
            }
            Kind::Credit => {
                let amount = decode_credit(frame.payload).expect(name);
                assert_eq!(fields["amount"], amount, "{name}");
                amount.to_le_bytes().to_vec()
            }
            Kind::Reply | Kind::Goaway if frame.code != 0 => {
                let status = decode_failure(frame.code, frame.payload).expect(name);
                let failure = &fields["failure"];
                assert_eq!(status.message(), text(failure, "message"), "{name}");
                assert_eq!(
                    status.details()[..],
                    unhex(text(failure, "details")),
                    "{name}"
                );
                let execution = match text(failure, "execution") {
                    "not_started" => Execution::NotStarted,
                    "executed" => Execution::Executed,
                    _ => Execution::MaybeExecuted,
                };
                assert_eq!(status.execution(), execution, "{name}");
                let mut encoded = encode_failure(&status);
                // A number that this version does not know has no way back.
                encoded[0] = frame.payload[0];
                encoded
            }
            Kind::Reply | Kind::Chunk | Kind::End => padded(vector, "body"),
            Kind::Ping | Kind::Pong => unhex(text(fields, "token")),
            _ => frame.payload.to_vec(),
        };
        let mut encoded = Vec::new();
        Frame {
            payload: &payload,
            ..frame
        }
        .encode(&mut encoded);
        assert_eq!(encoded, bytes, "{name}");
        checked += 1;
    }
    assert!(checked >= 45, "{checked} frames were checked");
}

#[test]
fn an_unknown_incarnation_is_told_from_other_failures() {
    let mut unknown = Vec::new();
    for vector in vectors() {
        if vector["frame"]["failure"].is_null() {
            continue;
        }
        let bytes = bytes(&vector);
        let (frame, _) = Frame::decode(&bytes).expect("sound").expect("whole");
        let status = decode_failure(frame.code, frame.payload).expect("sound");
        if is_unknown_incarnation(&status) {
            unknown.push(text(&vector, "name").to_owned());
        }
    }
    assert_eq!(unknown, ["reply_failure_unknown_incarnation"]);
}

#[test]
fn refused_frames_are_refused_by_the_rule_that_they_break() {
    let mut checked = 0;
    for vector in vectors().iter().filter(|vector| vector["frame"].is_null()) {
        let (name, bytes) = (text(vector, "name"), bytes(vector));
        let refused = match Frame::decode(&bytes) {
            Ok(Some((frame, _))) => check(frame).expect_err(name),
            Ok(None) => panic!("{name} is not whole"),
            Err(violation) => violation,
        };
        assert_eq!(rule(&refused), text(vector, "refused"), "{name}: {refused}");
        checked += 1;
    }
    assert!(checked >= 167, "{checked} frames were checked");
}

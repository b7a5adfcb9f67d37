//! The golden frames of `rpc/vectors`, which the Python client reads too.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use sealmoot_rpc::Execution;
use sealmoot_rpc::frame::{FLAG_MORE, FLAG_WELCOME, Frame, Kind, PING_BYTES, Violation};
use sealmoot_rpc::payload::{
    CallPrefix, decode_failure, decode_hello, encode_failure, encode_hello,
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

/// Flags and credit of streams, metadata and at-most-once calls.
fn is_of_streams(bytes: &[u8]) -> bool {
    let (kind, flags) = (bytes[4], bytes[5]);
    let known = matches!(
        (kind, flags & !(FLAG_MORE | FLAG_WELCOME)),
        (1..=3, 0x04..=0x3f) | (4, 0x40)
    );
    let takes_streams = Frame::decode(&[0, 0, 0, 0, 4, 0x40, 0, 0, 1, 0, 0, 0]).is_ok();
    !takes_streams && (known || kind == 7 || bytes.len() > 12 + 12 + 16 * 1024)
}

/// What an endpoint checks of a frame, whatever came before.
fn check(frame: Frame<'_>) -> Result<(), Violation> {
    match frame.kind {
        Kind::Hello if frame.flags == 0 => decode_hello(frame.payload).map(drop),
        Kind::Call => CallPrefix::decode(frame.payload).map(drop),
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
        Violation::DuplicateCall(_) => "duplicate_call",
        _ => "malformed",
    }
}

#[test]
fn valid_frames_decode_as_drawn_and_encode_to_the_same_bytes() {
    let mut checked = 0;
    for vector in vectors().iter().filter(|vector| !vector["frame"].is_null()) {
        let (name, bytes, fields) = (text(vector, "name"), bytes(vector), &vector["frame"]);
        if is_of_streams(&bytes) {
            eprintln!("SKIPPED {name}: this version has no streams");
            continue;
        }
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
                let (prefix, body) = CallPrefix::decode(frame.payload).expect(name);
                assert_eq!(fields["timeout_ms"], prefix.timeout_ms, "{name}");
                assert_eq!(fields["method"], prefix.method, "{name}");
                assert_eq!(body, padded(vector, "body"), "{name}");
                [&prefix.encode(), body].concat()
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
    assert!(checked >= 20, "{checked} frames were checked");
}

#[test]
fn refused_frames_are_refused_by_the_rule_that_they_break() {
    let mut checked = 0;
    for vector in vectors().iter().filter(|vector| vector["frame"].is_null()) {
        let (name, bytes) = (text(vector, "name"), bytes(vector));
        if is_of_streams(&bytes) || name == "call_too_long" || name == "call_body_too_long" {
            eprintln!("SKIPPED {name}: this version has no streams");
            continue;
        }
        let refused = match Frame::decode(&bytes) {
            Ok(Some((frame, _))) => check(frame).expect_err(name),
            Ok(None) => panic!("{name} is not whole"),
            Err(violation) => violation,
        };
        assert_eq!(rule(&refused), text(vector, "refused"), "{name}: {refused}");
        checked += 1;
    }
    assert!(checked >= 40, "{checked} frames were checked");
}

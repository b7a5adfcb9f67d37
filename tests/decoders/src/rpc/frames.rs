//! Frames inside a channel, and what stands in them.

use sealmoot_rpc::frame::{
    FLAG_LAST, FLAG_METADATA, FLAG_MORE, FLAG_ONCE, FLAG_REPLIES, FLAG_STREAM, Frame, HEADER_BYTES,
    Header, Kind,
};
use sealmoot_rpc::limits::{
    METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, STATEMENTS_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX,
};
use sealmoot_rpc::payload::{
    CallPayload, CallPrefix, OnceId, decode_credit, decode_failure, decode_hello, encode_failure,
    encode_hello,
};
use sealmoot_rpc::{Code, Execution, Metadata, Status};

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "frame_header",
        authenticates: false,
        samples: || {
            let frames = frames();
            let headers = frames.iter().map(|frame| frame[..HEADER_BYTES].to_vec());
            headers.collect()
        },
        check: |bytes| {
            let Ok(bytes) = <&[u8; HEADER_BYTES]>::try_from(bytes) else {
                return Outcome::Refused;
            };
            let decoded = Header::decode(bytes);
            if let Ok(header) = &decoded {
                assert_eq!(header.encode(), *bytes);
            }
            assert_eq!(decoded.is_ok(), drawn(bytes), "{decoded:?}");
            Outcome::of(&decoded)
        },
    },
    Decoder {
        name: "frame",
        authenticates: false,
        samples: frames,
        check: |bytes| match whole_frame(bytes) {
            Some(_) => Outcome::Accepted,
            None => Outcome::Refused,
        },
    },
    Decoder {
        name: "frame_stream",
        authenticates: false,
        samples: || {
            let mut frames = frames();
            let goaway = frames.pop().expect("the last is the goaway");
            vec![goaway.clone(), [frames.concat(), goaway].concat()]
        },
        check: stream,
    },
    Decoder {
        name: "hello",
        authenticates: false,
        samples: || {
            [&b""[..], b"statements", &[7; STATEMENTS_BYTES_MAX]]
                .map(|statements| encode_hello(statements).expect("not too long"))
                .into()
        },
        check: |bytes| {
            let decoded = decode_hello(bytes);
            if let Ok(statements) = decoded {
                assert_eq!(encode_hello(statements).as_deref(), Some(bytes));
            }
            Outcome::of(&decoded)
        },
    },
    Decoder {
        name: "call",
        authenticates: false,
        samples: || {
            vec![
                call(b""),
                call(b"body"),
                call_with(0, Some(once()), &metadata(), b"body"),
                call_with(FLAG_MORE, None, &metadata(), b"body"),
                call_with(FLAG_STREAM | FLAG_REPLIES, None, &metadata(), b""),
                encoded(Kind::Call, FLAG_ONCE, 0, 7, &[0; 44]),
            ]
        },
        check: |bytes| {
            let Some(frame) = whole_frame(bytes).filter(|frame| frame.kind == Kind::Call) else {
                return Outcome::Refused;
            };
            let decoded = CallPayload::decode(frame.flags, frame.payload);
            if let Ok(call) = &decoded {
                let (flags, head) =
                    CallPayload::encode_head(&call.prefix, call.once.as_ref(), &call.metadata);
                assert_eq!(flags, frame.flags & (FLAG_ONCE | FLAG_METADATA));
                assert_eq!([&head, call.body].concat(), frame.payload);
            }
            Outcome::of(&decoded)
        },
    },
    Decoder {
        name: "metadata",
        authenticates: false,
        // As in a call, with the length before them: entries may end behind any.
        samples: || {
            let metadata = metadata();
            let length = u16::try_from(metadata.as_bytes().len()).expect("short");
            vec![[&length.to_le_bytes(), metadata.as_bytes()].concat()]
        },
        check: |bytes| {
            let Some(([l0, l1], bytes)) = bytes.split_first_chunk() else {
                return Outcome::Refused;
            };
            if usize::from(u16::from_le_bytes([*l0, *l1])) != bytes.len() {
                return Outcome::Refused;
            }
            let decoded = Metadata::decode(bytes);
            if let Ok(metadata) = &decoded {
                assert_eq!(metadata.as_bytes(), bytes);
                assert!(bytes.len() <= METADATA_BYTES_MAX);
                assert!((1..=METADATA_ENTRIES_MAX).contains(&metadata.iter().count()));
                // Built anew from its entries, in the worst order, it is the same.
                let mut again = Metadata::new();
                let mut entries: Vec<_> = metadata.iter().collect();
                entries.reverse();
                for (key, value) in entries {
                    again.insert(key, value).expect("sound as it was");
                    assert_eq!(again.get(key), Some(value));
                }
                assert_eq!(&again, metadata);
            }
            Outcome::of(&decoded)
        },
    },
    Decoder {
        name: "credit",
        authenticates: false,
        samples: || vec![32_768_u32.to_le_bytes().to_vec(), vec![0xff; 4]],
        check: |bytes| {
            let decoded = decode_credit(bytes);
            if let Ok(credit) = decoded {
                assert_eq!(credit.to_le_bytes(), bytes);
                assert_ne!(credit, 0);
            }
            Outcome::of(&decoded)
        },
    },
    Decoder {
        name: "failure",
        authenticates: false,
        samples: || {
            let details = Status::new(Code::Aborted, Execution::Executed, "völlig")
                .with_details(&b"details"[..]);
            let long = Status::new(Code::Internal, Execution::NotStarted, "ä".repeat(1000));
            [failure(Kind::Reply, &details), failure(Kind::Goaway, &long)].into()
        },
        check: |bytes| {
            let Some(frame) = whole_frame(bytes).filter(is_failure) else {
                return Outcome::Refused;
            };
            let decoded = decode_failure(frame.code, frame.payload);
            if let Ok(status) = &decoded {
                // Never a success, and never longer than what may be sent on.
                assert_ne!(status.code(), Code::Ok);
                assert!(status.message().len() <= STATUS_MESSAGE_BYTES_MAX);
                // Codes and executions that this version does not know read as ones
                // that it knows, so the value must come back, not the bytes.
                let payload = encode_failure(status);
                assert_eq!(payload.len(), frame.payload.len());
                let code = status.code().number();
                assert_eq!(decode_failure(code, &payload), decoded);
            }
            Outcome::of(&decoded)
        },
    },
];

/// One of each kind that is ever sent; the goaway is the last.
fn frames() -> Vec<Vec<u8>> {
    let hello = encode_hello(b"statements").expect("short");
    let status = Status::new(Code::Unavailable, Execution::NotStarted, "closing");
    vec![
        encoded(Kind::Hello, 0, 0, 0, &hello),
        call(b"body"),
        call_with(FLAG_STREAM, None, &metadata(), b""),
        encoded(Kind::Reply, FLAG_STREAM, 0, 7, b""),
        encoded(Kind::Chunk, FLAG_LAST, 0, 7, b"message"),
        encoded(Kind::End, 0, 0, 7, b""),
        encoded(Kind::Credit, 0, 0, 7, &32_768_u32.to_le_bytes()),
        encoded(Kind::Reply, FLAG_MORE, 0, 7, &[9; 100]),
        encoded(Kind::Chunk, 0, 0, 7, b"more"),
        encoded(Kind::End, 0, 0, 7, b"rest"),
        encoded(Kind::Cancel, 0, 0, 8, b""),
        encoded(Kind::Ping, 0, 0, 0, b"12345678"),
        encoded(Kind::Pong, 0, 0, 0, b"12345678"),
        failure(Kind::Goaway, &status),
    ]
}

fn encoded(kind: Kind, flags: u8, code: u16, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame {
        kind,
        flags,
        code,
        call,
        payload,
    }
    .encode(&mut bytes);
    bytes
}

fn call(body: &[u8]) -> Vec<u8> {
    call_with(0, None, &Metadata::new(), body)
}

fn call_with(flags: u8, once: Option<OnceId>, metadata: &Metadata, body: &[u8]) -> Vec<u8> {
    let prefix = CallPrefix {
        timeout_ms: 1_500,
        method: 0x0102_0304_0506_0708,
    };
    let (more, head) = CallPayload::encode_head(&prefix, once.as_ref(), metadata);
    encoded(Kind::Call, flags | more, 0, 7, &[&head, body].concat())
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    for (key, value) in [("a", "1"), ("traceparent", "x"), ("z.y_x-0", "")] {
        metadata.insert(key, value).expect("sound");
    }
    metadata
}

fn once() -> OnceId {
    OnceId {
        incarnation: [9; 16],
        sequence: 3,
        floor: 2,
    }
}

fn failure(kind: Kind, status: &Status) -> Vec<u8> {
    let call = if kind == Kind::Reply { 7 } else { 0 };
    let payload = encode_failure(status);
    encoded(kind, 0, status.code().number(), call, &payload)
}

fn is_failure(frame: &Frame<'_>) -> bool {
    frame.kind == Kind::Goaway || (frame.kind == Kind::Reply && frame.code != 0)
}

/// The tables of the frame in `rpc/DESIGN.md`, once more: kinds, the longest payload
/// of each, its flags, and where code and call have their place.
fn drawn(header: &[u8; HEADER_BYTES]) -> bool {
    const KIB: u32 = 1024;
    let [l0, l1, l2, l3, kind, flags, c0, c1, call @ ..] = *header;
    let (length_max, flags_known, has_code, has_call) = match kind {
        1 => (6 + 64 * KIB, 0b10, false, false),
        2 => (12 + 32 + 2 + 4096 + 16 * KIB, 0b11_1101, false, true),
        3 => (16 * KIB, 0b101, true, true),
        4 => (16 * KIB, 0b100_0000, false, true),
        5 => (16 * KIB, 0, false, true),
        6 => (0, 0, false, true),
        7 => (4, 0, false, true),
        8 | 9 => (8, 0, false, false),
        10 => (7 + KIB + 8 * KIB, 0, true, false),
        _ => return false,
    };
    u32::from_le_bytes([l0, l1, l2, l3]) <= length_max
        && flags & !flags_known == 0
        && flags & 0b101 != 0b101
        && !(flags & 0b10_0000 != 0 && flags & 0b1100 != 0)
        && (has_code || [c0, c1] == [0, 0])
        && has_call == (call != [0; 4])
}

/// The one frame that these bytes are.
fn whole_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (frame, consumed) = Frame::decode(bytes).ok()??;
    let mut again = Vec::new();
    frame.encode(&mut again);
    assert_eq!(again, bytes[..consumed]);
    (consumed == bytes.len()).then_some(frame)
}

/// Accepted is what ends with its first goaway. Whole or byte by byte, the same
/// frames come out, and the same refusal, with no more than one frame waiting.
fn stream(bytes: &[u8]) -> Outcome {
    const FRAME_BYTES_MAX: usize = HEADER_BYTES
        + max_of(
            Kind::Hello.payload_bytes_max(),
            Kind::Call.payload_bytes_max(),
        );
    let mut whole = Vec::new();
    let mut rest = bytes;
    let refusal = loop {
        match Frame::decode(rest) {
            Ok(Some((frame, consumed))) => {
                whole.push(frame);
                rest = &rest[consumed..];
            }
            Ok(None) => break None,
            Err(violation) => break Some(violation),
        }
    };
    let mut start = 0;
    let mut frames = whole.iter();
    for end in 0..=bytes.len() {
        match Frame::decode(&bytes[start..end]) {
            Ok(None) => assert!(end - start < FRAME_BYTES_MAX),
            Ok(Some((frame, consumed))) => {
                assert_eq!(Some(&frame), frames.next());
                start += consumed;
                assert_eq!(start, end, "a frame was whole before");
            }
            Err(violation) => {
                assert_eq!(Some(violation), refusal);
                assert_eq!(end - start, HEADER_BYTES, "the header alone tells");
                break;
            }
        }
    }
    assert_eq!(frames.next(), None);
    let goaway = whole
        .iter()
        .position(|frame| frame.kind == Kind::Goaway)
        .is_some_and(|first| first + 1 == whole.len());
    if refusal.is_none() && rest.is_empty() && goaway {
        Outcome::Accepted
    } else {
        Outcome::Refused
    }
}

const fn max_of(left: usize, right: usize) -> usize {
    if left > right { left } else { right }
}

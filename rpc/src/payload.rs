//! What stands inside hello, call, reply, credit and goaway frames.

use bytes::Bytes;

use crate::frame::{
    CALL_PREFIX_BYTES, CREDIT_BYTES, FAILURE_FIXED_BYTES, FLAG_METADATA, FLAG_ONCE, FLAG_STREAM,
    HELLO_PREFIX_BYTES, METADATA_LENGTH_BYTES, ONCE_BYTES, Violation,
};
use crate::limits::{
    CHUNK_BYTES_MAX, STATEMENTS_BYTES_MAX, STATUS_DETAILS_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX,
};
use crate::metadata::Metadata;
pub use crate::once::OnceId;
use crate::status::{Code, Execution, Status};

/// The protocol that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The statements of a hello.
///
/// # Errors
///
/// Another version, more statements than allowed, or a length that does not
/// meet the payload's end.
pub fn decode_hello(payload: &[u8]) -> Result<&[u8], Violation> {
    let (prefix, statements) = payload
        .split_first_chunk::<HELLO_PREFIX_BYTES>()
        .ok_or(Violation::Malformed("hello is cut short"))?;
    let [v0, v1, l0, l1, l2, l3] = *prefix;
    let version = u16::from_le_bytes([v0, v1]);
    if version != PROTOCOL_VERSION {
        return Err(Violation::UnsupportedVersion(version));
    }
    if usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])) != Ok(statements.len()) {
        return Err(Violation::Malformed("hello and its statements disagree"));
    }
    if statements.len() > STATEMENTS_BYTES_MAX {
        return Err(Violation::Malformed("hello carries too many statements"));
    }
    Ok(statements)
}

/// The payload of a hello, or `None` when the statements are too long.
pub fn encode_hello(statements: &[u8]) -> Option<Vec<u8>> {
    if statements.len() > STATEMENTS_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(statements.len()).ok()?;
    let mut payload = Vec::with_capacity(HELLO_PREFIX_BYTES + statements.len());
    payload.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(statements);
    Some(payload)
}

/// What begins every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPrefix {
    /// Milliseconds that the caller still waits; zero leaves it to the server.
    pub timeout_ms: u32,
    /// First eight bytes of the SHA-256 of `package.Service/Method`.
    pub method: u64,
}

impl CallPrefix {
    /// The prefix and what stands behind it.
    ///
    /// # Errors
    ///
    /// A payload shorter than the prefix.
    pub fn decode(payload: &[u8]) -> Result<(Self, &[u8]), Violation> {
        let (prefix, body) = payload
            .split_first_chunk::<CALL_PREFIX_BYTES>()
            .ok_or(Violation::Malformed("call is cut short"))?;
        let [t0, t1, t2, t3, method @ ..] = *prefix;
        let prefix = Self {
            timeout_ms: u32::from_le_bytes([t0, t1, t2, t3]),
            method: u64::from_le_bytes(method),
        };
        Ok((prefix, body))
    }

    /// The twelve bytes.
    pub fn encode(&self) -> [u8; CALL_PREFIX_BYTES] {
        let mut bytes = [0; CALL_PREFIX_BYTES];
        bytes[..4].copy_from_slice(&self.timeout_ms.to_le_bytes());
        bytes[4..].copy_from_slice(&self.method.to_le_bytes());
        bytes
    }
}

impl OnceId {
    fn decode(bytes: &[u8; ONCE_BYTES]) -> Self {
        let [
            incarnation @ ..,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
            f0,
            f1,
            f2,
            f3,
            f4,
            f5,
            f6,
            f7,
        ] = *bytes;
        Self {
            incarnation,
            sequence: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            floor: u64::from_le_bytes([f0, f1, f2, f3, f4, f5, f6, f7]),
        }
    }

    fn encode(&self) -> [u8; ONCE_BYTES] {
        let mut bytes = [0; ONCE_BYTES];
        bytes[..16].copy_from_slice(&self.incarnation);
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..].copy_from_slice(&self.floor.to_le_bytes());
        bytes
    }
}

/// All that a call frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPayload<'a> {
    /// Timeout and method.
    pub prefix: CallPrefix,
    /// Which at-most-once call it is, when it is one.
    pub once: Option<OnceId>,
    /// What travels beside the request; empty when nothing does.
    pub metadata: Metadata,
    /// The request, or its beginning; empty when the request is a stream.
    pub body: &'a [u8],
}

impl<'a> CallPayload<'a> {
    /// Reads what `flags` announce. Reserves nothing but what metadata takes,
    /// at most [`METADATA_BYTES_MAX`](crate::limits::METADATA_BYTES_MAX).
    ///
    /// # Errors
    ///
    /// A block that is missing, cut short or not in its one form; a body that
    /// is too long for one frame, or that stands beside a stream.
    pub fn decode(flags: u8, payload: &'a [u8]) -> Result<Self, Violation> {
        let (prefix, mut rest) = CallPrefix::decode(payload)?;
        let mut once = None;
        if flags & FLAG_ONCE != 0 {
            let (block, behind) = rest
                .split_first_chunk::<ONCE_BYTES>()
                .ok_or(Violation::Malformed("at-most-once block is cut short"))?;
            once = Some(OnceId::decode(block));
            rest = behind;
        }
        let mut metadata = Metadata::new();
        if flags & FLAG_METADATA != 0 {
            const SHORT: Violation = Violation::Malformed("metadata is cut short");
            let (length, behind) = rest
                .split_first_chunk::<METADATA_LENGTH_BYTES>()
                .ok_or(SHORT)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (block, behind) = behind.split_at_checked(length).ok_or(SHORT)?;
            metadata = Metadata::decode(block)?;
            rest = behind;
        }
        if rest.len() > CHUNK_BYTES_MAX {
            return Err(Violation::Malformed("too much of a body in one frame"));
        }
        if flags & FLAG_STREAM != 0 && !rest.is_empty() {
            return Err(Violation::Malformed("a body beside a stream"));
        }
        if let Some(once) = &once {
            let is_open = prefix.method == 0
                && once.sequence == 0
                && once.floor == 0
                && rest.is_empty()
                && flags & crate::frame::FLAG_MORE == 0;
            let is_call = prefix.method != 0 && once.sequence >= 1 && once.floor <= once.sequence;
            if !is_open && !is_call {
                return Err(Violation::Malformed("impossible at-most-once call"));
            }
        }
        Ok(Self {
            prefix,
            once,
            metadata,
            body: rest,
        })
    }

    /// The flags that announce the blocks, and all that stands before the body.
    pub fn encode_head(
        prefix: &CallPrefix,
        once: Option<&OnceId>,
        metadata: &Metadata,
    ) -> (u8, Vec<u8>) {
        let mut flags = 0;
        let mut head = prefix.encode().to_vec();
        if let Some(once) = once {
            flags |= FLAG_ONCE;
            head.extend_from_slice(&once.encode());
        }
        if !metadata.is_empty() {
            flags |= FLAG_METADATA;
            let entries = metadata.as_bytes();
            let length = u16::try_from(entries.len()).expect("metadata is within its maximum");
            head.extend_from_slice(&length.to_le_bytes());
            head.extend_from_slice(entries);
        }
        (flags, head)
    }
}

/// The bytes that a credit frame gives.
///
/// # Errors
///
/// Not four bytes, or none given.
pub fn decode_credit(payload: &[u8]) -> Result<u32, Violation> {
    let bytes = <[u8; CREDIT_BYTES]>::try_from(payload)
        .map_err(|_| Violation::Malformed("credit without its bytes"))?;
    match u32::from_le_bytes(bytes) {
        0 => Err(Violation::CreditRefused(0)),
        bytes => Ok(bytes),
    }
}

/// The failure that a reply or goaway carries beside its code.
///
/// # Errors
///
/// Lengths that disagree with the payload, or a message that is not UTF-8.
pub fn decode_failure(code: u16, payload: &[u8]) -> Result<Status, Violation> {
    const SHORT: Violation = Violation::Malformed("failure is cut short");
    let ([execution, m0, m1], rest) = payload.split_first_chunk::<3>().ok_or(SHORT)?;
    let message_length = usize::from(u16::from_le_bytes([*m0, *m1]));
    let (message, rest) = rest.split_at_checked(message_length).ok_or(SHORT)?;
    let (details_length, details) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    if usize::try_from(u32::from_le_bytes(*details_length)) != Ok(details.len()) {
        return Err(Violation::Malformed("failure and its details disagree"));
    }
    if message.len() > STATUS_MESSAGE_BYTES_MAX || details.len() > STATUS_DETAILS_BYTES_MAX {
        return Err(Violation::Malformed("failure is too long"));
    }
    let message = str::from_utf8(message)
        .map_err(|_| Violation::Malformed("failure message is not UTF-8"))?;
    let execution = Execution::from_wire(*execution);
    Ok(Status::new(Code::from_number(code), execution, message)
        .with_details(Bytes::copy_from_slice(details))
        .foreign())
}

/// The payload of a failure, cut to what one frame may carry.
pub fn encode_failure(status: &Status) -> Vec<u8> {
    let message = cut(status.message(), STATUS_MESSAGE_BYTES_MAX);
    let details: &[u8] = if status.details().len() > STATUS_DETAILS_BYTES_MAX {
        &[]
    } else {
        status.details()
    };
    let message_length = u16::try_from(message.len()).expect("the message is cut to its maximum");
    let details_length =
        u32::try_from(details.len()).expect("the details are within their maximum");
    let mut payload = Vec::with_capacity(FAILURE_FIXED_BYTES + message.len() + details.len());
    payload.push(status.execution().to_wire());
    payload.extend_from_slice(&message_length.to_le_bytes());
    payload.extend_from_slice(message.as_bytes());
    payload.extend_from_slice(&details_length.to_le_bytes());
    payload.extend_from_slice(details);
    payload
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_round_trips() {
        let payload = encode_hello(b"statements").expect("short");
        assert_eq!(decode_hello(&payload), Ok(&b"statements"[..]));
        assert_eq!(&payload[..6], [1, 0, 10, 0, 0, 0]);
    }

    #[test]
    fn hello_with_too_many_statements_is_not_made() {
        assert!(encode_hello(&vec![0; STATEMENTS_BYTES_MAX]).is_some());
        assert!(encode_hello(&vec![0; STATEMENTS_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn hello_of_another_version_is_refused() {
        assert_eq!(
            decode_hello(&[2, 0, 0, 0, 0, 0]),
            Err(Violation::UnsupportedVersion(2))
        );
    }

    #[test]
    fn hello_with_a_wrong_length_is_refused() {
        for payload in [
            &[][..],
            &[1, 0, 0, 0, 0],
            &[1, 0, 1, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 9],
            &[1, 0, 255, 255, 255, 255, 9],
        ] {
            assert!(matches!(
                decode_hello(payload),
                Err(Violation::Malformed(_))
            ));
        }
    }

    #[test]
    fn call_prefix_round_trips_and_a_short_one_is_refused() {
        let prefix = CallPrefix {
            timeout_ms: 1500,
            method: 0x0102_0304_0506_0708,
        };
        let mut payload = prefix.encode().to_vec();
        payload.extend_from_slice(b"body");
        assert_eq!(CallPrefix::decode(&payload), Ok((prefix, &b"body"[..])));
        assert!(CallPrefix::decode(&payload[..11]).is_err());
    }

    const PREFIX: CallPrefix = CallPrefix {
        timeout_ms: 1500,
        method: 0x0102_0304_0506_0708,
    };

    fn once(sequence: u64, floor: u64) -> OnceId {
        OnceId {
            incarnation: [7; 16],
            sequence,
            floor,
        }
    }

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("a", b"1").expect("sound");
        metadata.insert("traceparent", b"x").expect("sound");
        metadata
    }

    /// What comes of a call with these blocks, and `rest` behind them.
    fn call(prefix: CallPrefix, once: Option<OnceId>, flags: u8, rest: &[u8]) -> bool {
        let (more_flags, mut payload) =
            CallPayload::encode_head(&prefix, once.as_ref(), &Metadata::new());
        payload.extend_from_slice(rest);
        CallPayload::decode(flags | more_flags, &payload).is_ok()
    }

    #[test]
    fn a_call_with_all_blocks_round_trips() {
        let (flags, mut payload) =
            CallPayload::encode_head(&PREFIX, Some(&once(9, 3)), &metadata());
        assert_eq!(flags, FLAG_ONCE | FLAG_METADATA);
        payload.extend_from_slice(b"body");
        let decoded = CallPayload::decode(flags, &payload).expect("sound");
        assert_eq!(decoded.prefix, PREFIX);
        assert_eq!(decoded.once, Some(once(9, 3)));
        assert_eq!(decoded.metadata, metadata());
        assert_eq!(decoded.body, b"body");
    }

    #[test]
    fn a_block_cut_short_is_refused() {
        let (flags, payload) = CallPayload::encode_head(&PREFIX, Some(&once(9, 3)), &metadata());
        for length in 0..payload.len() {
            assert!(
                matches!(
                    CallPayload::decode(flags, &payload[..length]),
                    Err(Violation::Malformed(_))
                ),
                "{length}"
            );
        }
        assert!(CallPayload::decode(flags, &payload).is_ok());
    }

    #[test]
    fn an_empty_metadata_block_is_refused() {
        let mut payload = PREFIX.encode().to_vec();
        payload.extend_from_slice(&[0, 0]);
        assert!(matches!(
            CallPayload::decode(FLAG_METADATA, &payload),
            Err(Violation::Malformed(_))
        ));
    }

    #[test]
    fn metadata_above_its_maximum_is_refused() {
        let mut payload = PREFIX.encode().to_vec();
        payload.extend_from_slice(&4097_u16.to_le_bytes());
        payload.extend_from_slice(&[0; 4097]);
        assert!(matches!(
            CallPayload::decode(FLAG_METADATA, &payload),
            Err(Violation::Malformed(_))
        ));
    }

    #[test]
    fn a_body_beyond_one_chunk_is_refused() {
        assert!(call(PREFIX, None, 0, &[0; CHUNK_BYTES_MAX]));
        assert!(!call(PREFIX, None, 0, &[0; CHUNK_BYTES_MAX + 1]));
    }

    #[test]
    fn a_body_beside_a_stream_is_refused() {
        assert!(call(PREFIX, None, FLAG_STREAM, b""));
        assert!(!call(PREFIX, None, FLAG_STREAM, b"b"));
    }

    #[test]
    fn impossible_at_most_once_calls_are_refused() {
        let nobody = CallPrefix {
            method: 0,
            ..PREFIX
        };
        assert!(call(PREFIX, Some(once(1, 0)), 0, b"b"));
        assert!(call(PREFIX, Some(once(5, 5)), 0, b"b"));
        assert!(call(nobody, Some(once(0, 0)), 0, b""));
        assert!(!call(PREFIX, Some(once(0, 0)), 0, b"b"));
        assert!(!call(PREFIX, Some(once(5, 6)), 0, b"b"));
        assert!(!call(nobody, Some(once(1, 0)), 0, b""));
        assert!(!call(nobody, Some(once(0, 0)), 0, b"b"));
        assert!(!call(
            nobody,
            Some(once(0, 0)),
            crate::frame::FLAG_MORE,
            b""
        ));
    }

    #[test]
    fn credit_is_four_bytes_and_never_none() {
        assert_eq!(decode_credit(&[0, 128, 0, 0]), Ok(32768));
        assert_eq!(decode_credit(&[0; 4]), Err(Violation::CreditRefused(0)));
        for payload in [&[][..], &[1], &[1, 0, 0]] {
            assert!(matches!(
                decode_credit(payload),
                Err(Violation::Malformed(_))
            ));
        }
    }

    /// Each kind of frame, byte for byte: what an implementation in another
    /// language must send.
    #[test]
    fn frames_have_these_bytes() {
        use crate::frame::{FLAG_LAST, FLAG_REPLIES, Kind, append};
        let frame = |kind, flags, parts: &[&[u8]]| {
            let mut output = Vec::new();
            append(&mut output, kind, flags, 0, 7, parts);
            output
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let incarnation = std::array::from_fn(|index| u8::try_from(index).expect("small"));
        let open_id = OnceId {
            incarnation,
            sequence: 0,
            floor: 0,
        };
        let (with_metadata, metadata_head) = CallPayload::encode_head(&PREFIX, None, &metadata());
        let nobody = CallPrefix {
            method: 0,
            ..PREFIX
        };
        let (with_once, open_head) =
            CallPayload::encode_head(&nobody, Some(&open_id), &Metadata::new());
        let prefix = PREFIX.encode();
        let streams = FLAG_STREAM | FLAG_REPLIES;
        let credit = 32_768_u32.to_le_bytes();
        let frames = [
            frame(Kind::Call, 0, &[&prefix, b"hi"]),
            frame(Kind::Call, with_metadata, &[&metadata_head, b"hi"]),
            frame(Kind::Call, streams, &[&prefix]),
            frame(Kind::Chunk, FLAG_LAST, &[b"abc"]),
            frame(Kind::Chunk, FLAG_LAST, &[]),
            frame(Kind::End, 0, &[]),
            frame(Kind::Credit, 0, &[&credit]),
            frame(Kind::Call, with_once, &[&open_head]),
            frame(Kind::Reply, FLAG_STREAM, &[]),
        ];
        let expected = [
            "0e0000000200000007000000dc05000008070605040302016869",
            concat!(
                "240000000210000007000000dc0500000807060504030201140001610100310b",
                "7472616365706172656e740100786869",
            ),
            "0c000000020c000007000000dc0500000807060504030201",
            "030000000440000007000000616263",
            "000000000440000007000000",
            "000000000500000007000000",
            "04000000070000000700000000800000",
            concat!(
                "2c0000000220000007000000dc05000000000000000000000001020304050607",
                "08090a0b0c0d0e0f00000000000000000000000000000000",
            ),
            "000000000304000007000000",
        ];
        assert_eq!(frames, expected);
    }

    #[test]
    fn failure_round_trips() {
        let status = Status::new(Code::Aborted, Execution::Executed, "völlig")
            .with_details(&b"\x01\x02"[..]);
        let payload = encode_failure(&status);
        assert_eq!(decode_failure(Code::Aborted.number(), &payload), Ok(status));
        assert!(decode_failure(1, &payload[..payload.len() - 1]).is_err());
        assert!(decode_failure(1, &[]).is_err());
        assert!(decode_failure(1, &[3, 255, 255]).is_err());
        assert!(decode_failure(1, &[3, 1, 0, 0xff, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_long_failure_is_cut_to_fit() {
        let status = Status::new(Code::Internal, Execution::Executed, "ä".repeat(1000))
            .with_details(vec![1; STATUS_DETAILS_BYTES_MAX + 1]);
        let decoded = decode_failure(12, &encode_failure(&status)).expect("fits");
        assert_eq!(decoded.message(), "ä".repeat(STATUS_MESSAGE_BYTES_MAX / 2));
        assert!(decoded.details().is_empty());
    }
}

//! What stands inside hello, call, reply and goaway frames.

use bytes::Bytes;

use crate::frame::{CALL_PREFIX_BYTES, FAILURE_FIXED_BYTES, HELLO_PREFIX_BYTES, Violation};
use crate::limits::{STATEMENTS_BYTES_MAX, STATUS_DETAILS_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX};
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

/// What stands before a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPrefix {
    /// Milliseconds that the caller still waits; zero leaves it to the server.
    pub timeout_ms: u32,
    /// First eight bytes of the SHA-256 of `package.Service/Method`.
    pub method: u64,
}

impl CallPrefix {
    /// The prefix and the body behind it.
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
        .with_details(Bytes::copy_from_slice(details)))
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

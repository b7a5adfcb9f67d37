//! The frame: twelve bytes of header, then a payload.
//!
//! Drawn byte by byte in `rpc/DESIGN.md`. Decoding is strict: a kind, flag or
//! field that this version does not define ends the connection with a reason,
//! so that nothing is ever half understood.

use crate::limits::{
    CHUNK_BYTES_MAX, METADATA_BYTES_MAX, STATEMENTS_BYTES_MAX, STATUS_DETAILS_BYTES_MAX,
    STATUS_MESSAGE_BYTES_MAX,
};

/// Bytes before a payload.
pub const HEADER_BYTES: usize = 12;

/// Flag of a call or reply whose body goes on in chunk frames.
pub const FLAG_MORE: u8 = 0b0000_0001;

/// Flag of the hello by which a server admits its client.
pub const FLAG_WELCOME: u8 = 0b0000_0010;

/// Flag of a call whose client sends a stream of messages, and of the reply
/// with which a stream of messages begins.
pub const FLAG_STREAM: u8 = 0b0000_0100;

/// Flag of a call whose client expects a stream of replies.
pub const FLAG_REPLIES: u8 = 0b0000_1000;

/// Flag of a call with a metadata block before its body.
pub const FLAG_METADATA: u8 = 0b0001_0000;

/// Flag of a call with an at-most-once block before all but the prefix.
pub const FLAG_ONCE: u8 = 0b0010_0000;

/// Flag of a stream's chunk with which a message ends.
pub const FLAG_LAST: u8 = 0b0100_0000;

/// Bytes of a call's payload before all else: timeout and method.
pub const CALL_PREFIX_BYTES: usize = 12;

/// Bytes of a call's at-most-once block: incarnation, sequence and floor.
pub const ONCE_BYTES: usize = 32;

/// Bytes of the length before a call's metadata.
pub const METADATA_LENGTH_BYTES: usize = 2;

/// Bytes of a credit frame's payload.
pub const CREDIT_BYTES: usize = 4;

/// Bytes that a ping carries and its pong returns.
pub const PING_BYTES: usize = 8;

/// Bytes of a hello's payload before the statements: version and length.
pub const HELLO_PREFIX_BYTES: usize = 6;

/// Bytes of a failure's payload around message and details: execution and two
/// lengths.
pub const FAILURE_FIXED_BYTES: usize = 7;

/// What a frame is for. The numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Version and statements, once from each side; then the server's welcome.
    Hello = 1,
    /// A request, or its beginning.
    Call = 2,
    /// An answer, or its beginning.
    Reply = 3,
    /// More of a body, or of a stream's message.
    Chunk = 4,
    /// The rest of a body, or the end of a stream.
    End = 5,
    /// The caller no longer wants the answer.
    Cancel = 6,
    /// So many more bytes of a stream may be sent.
    Credit = 7,
    /// Are you there?
    Ping = 8,
    /// I am.
    Pong = 9,
    /// No further calls, and why.
    Goaway = 10,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Call,
            3 => Self::Reply,
            4 => Self::Chunk,
            5 => Self::End,
            6 => Self::Cancel,
            7 => Self::Credit,
            8 => Self::Ping,
            9 => Self::Pong,
            10 => Self::Goaway,
            _ => return None,
        })
    }

    /// The longest payload of this kind.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Hello => HELLO_PREFIX_BYTES + STATEMENTS_BYTES_MAX,
            Self::Call => {
                CALL_PREFIX_BYTES
                    + ONCE_BYTES
                    + METADATA_LENGTH_BYTES
                    + METADATA_BYTES_MAX
                    + CHUNK_BYTES_MAX
            }
            Self::Reply | Self::Chunk | Self::End => CHUNK_BYTES_MAX,
            Self::Cancel => 0,
            Self::Credit => CREDIT_BYTES,
            Self::Ping | Self::Pong => PING_BYTES,
            Self::Goaway => {
                FAILURE_FIXED_BYTES + STATUS_MESSAGE_BYTES_MAX + STATUS_DETAILS_BYTES_MAX
            }
        }
    }

    const fn flags_allowed(self) -> u8 {
        match self {
            Self::Hello => FLAG_WELCOME,
            Self::Call => FLAG_MORE | FLAG_STREAM | FLAG_REPLIES | FLAG_METADATA | FLAG_ONCE,
            Self::Reply => FLAG_MORE | FLAG_STREAM,
            Self::Chunk => FLAG_LAST,
            _ => 0,
        }
    }

    const fn has_code(self) -> bool {
        matches!(self, Self::Reply | Self::Goaway)
    }

    const fn has_call(self) -> bool {
        matches!(
            self,
            Self::Call | Self::Reply | Self::Chunk | Self::End | Self::Cancel | Self::Credit
        )
    }
}

// A failure must fit the one reply frame that carries it.
const _: () = assert!(
    FAILURE_FIXED_BYTES + STATUS_MESSAGE_BYTES_MAX + STATUS_DETAILS_BYTES_MAX <= CHUNK_BYTES_MAX
);

/// A header that obeys every rule that can be told from the header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Only flags that the kind defines.
    pub flags: u8,
    /// Zero unless the kind is reply or goaway.
    pub code: u16,
    /// The number of the call, or zero for frames about the connection.
    pub call: u32,
    /// Payload bytes that follow, within the kind's maximum.
    pub length: usize,
}

impl Header {
    /// Reads a header, and refuses it before a byte of its payload is awaited.
    ///
    /// # Errors
    ///
    /// The rule that the header breaks.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Violation> {
        let [l0, l1, l2, l3, kind, flags, c0, c1, n0, n1, n2, n3] = *bytes;
        let kind = Kind::from_number(kind).ok_or(Violation::UnknownKind(kind))?;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let header = Self {
            kind,
            flags,
            code: u16::from_le_bytes([c0, c1]),
            call: u32::from_le_bytes([n0, n1, n2, n3]),
            length,
        };
        if length > kind.payload_bytes_max() {
            return Err(Violation::PayloadTooLong { kind, length });
        }
        if flags & !kind.flags_allowed() != 0 {
            return Err(Violation::UnknownFlags { kind, flags });
        }
        if flags & FLAG_STREAM != 0 && flags & FLAG_MORE != 0 {
            return Err(Violation::Malformed("a stream that is a body too"));
        }
        if flags & FLAG_ONCE != 0 && flags & (FLAG_STREAM | FLAG_REPLIES) != 0 {
            return Err(Violation::Malformed("an at-most-once call with a stream"));
        }
        if header.code != 0 && !kind.has_code() {
            return Err(Violation::Malformed("code on a frame that has none"));
        }
        if kind.has_call() != (header.call != 0) {
            return Err(Violation::Malformed("call number missing or out of place"));
        }
        Ok(header)
    }

    /// The twelve bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let length = u32::try_from(self.length).expect("a payload is within its kind's maximum");
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let [c0, c1] = self.code.to_le_bytes();
        let [n0, n1, n2, n3] = self.call.to_le_bytes();
        [
            l0,
            l1,
            l2,
            l3,
            self.kind as u8,
            self.flags,
            c0,
            c1,
            n0,
            n1,
            n2,
            n3,
        ]
    }
}

/// A whole frame, borrowed from the bytes that it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the frame is for.
    pub kind: Kind,
    /// Only flags that the kind defines.
    pub flags: u8,
    /// Zero unless the kind is reply or goaway.
    pub code: u16,
    /// The number of the call, or zero for frames about the connection.
    pub call: u32,
    /// At most the kind's maximum.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of `input` and how many bytes it takes, or `None` when
    /// more bytes are needed. Reserves nothing.
    ///
    /// # Errors
    ///
    /// The rule that the frame breaks, as soon as its header shows it.
    pub fn decode(input: &'a [u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::decode(header)?;
        let Some(payload) = rest.get(..header.length) else {
            return Ok(None);
        };
        let frame = Self {
            kind: header.kind,
            flags: header.flags,
            code: header.code,
            call: header.call,
            payload,
        };
        Ok(Some((frame, HEADER_BYTES + header.length)))
    }

    /// Appends the frame to `output`.
    pub fn encode(&self, output: &mut Vec<u8>) {
        append(
            output,
            self.kind,
            self.flags,
            self.code,
            self.call,
            &[self.payload],
        );
    }

    /// Whether the body goes on in chunk frames.
    pub fn has_more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    /// Whether messages follow in place of a body.
    pub fn is_stream(&self) -> bool {
        self.flags & FLAG_STREAM != 0
    }

    /// Whether the caller expects a stream of replies.
    pub fn wants_replies(&self) -> bool {
        self.flags & FLAG_REPLIES != 0
    }

    /// Whether a message of a stream ends with this chunk.
    pub fn is_last(&self) -> bool {
        self.flags & FLAG_LAST != 0
    }
}

/// Appends a frame whose payload stands in several places.
pub(crate) fn append(
    output: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    code: u16,
    call: u32,
    payload: &[&[u8]],
) {
    let length = payload.iter().map(|part| part.len()).sum();
    debug_assert!(length <= kind.payload_bytes_max(), "{kind:?} of {length}");
    let header = Header {
        kind,
        flags,
        code,
        call,
        length,
    };
    output.reserve(HEADER_BYTES + length);
    output.extend_from_slice(&header.encode());
    for part in payload {
        output.extend_from_slice(part);
    }
}

/// How a peer broke the protocol: the reason that its goaway carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A kind that this version does not define.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A flag that this version does not define for the kind.
    #[error("unknown flags {flags:#04x} on a {kind:?} frame")]
    UnknownFlags {
        /// The frame's kind.
        kind: Kind,
        /// All of its flags.
        flags: u8,
    },
    /// A length above the kind's maximum.
    #[error("a {kind:?} frame of {length} bytes is longer than {}", kind.payload_bytes_max())]
    PayloadTooLong {
        /// The frame's kind.
        kind: Kind,
        /// The length that it announced.
        length: usize,
    },
    /// A known kind where it has no place.
    #[error("unexpected {0:?} frame")]
    Unexpected(Kind),
    /// A payload or field that does not decode.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// A call under a number that is in use.
    #[error("call {0} is already in flight")]
    DuplicateCall(u32),
    /// More bytes of a stream than there was credit for.
    #[error("a stream exceeded its credit")]
    CreditExceeded,
    /// Credit beyond
    /// [`STREAM_CREDIT_MAX`](crate::limits::STREAM_CREDIT_MAX), or none.
    #[error("a stream was given {0} bytes of credit at a wrong time or beyond the maximum")]
    CreditRefused(u32),
    /// More calls cancelled than
    /// [`Limits::cancellations_per_second_max`](crate::Limits::cancellations_per_second_max).
    #[error("too many calls were cancelled within a second")]
    TooManyCancelled,
    /// A protocol version that this side does not speak.
    #[error("protocol version {0} is not supported")]
    UnsupportedVersion(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, flags: u8, code: u16, call: u32, length: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4] = kind;
        bytes[5] = flags;
        bytes[6..8].copy_from_slice(&code.to_le_bytes());
        bytes[8..].copy_from_slice(&call.to_le_bytes());
        bytes
    }

    #[test]
    fn the_layout_is_the_drawn_one() {
        let mut output = Vec::new();
        Frame {
            kind: Kind::Reply,
            flags: FLAG_MORE,
            code: 0x0102,
            call: 0x0a0b_0c0d,
            payload: b"xy",
        }
        .encode(&mut output);
        assert_eq!(
            output,
            [
                2, 0, 0, 0, 3, 1, 0x02, 0x01, 0x0d, 0x0c, 0x0b, 0x0a, b'x', b'y'
            ]
        );
    }

    #[test]
    fn a_frame_round_trips_and_tells_its_size() {
        let frame = Frame {
            kind: Kind::End,
            flags: 0,
            code: 0,
            call: 7,
            payload: b"rest",
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        bytes.push(99);
        assert_eq!(Frame::decode(&bytes), Ok(Some((frame, HEADER_BYTES + 4))));
    }

    #[test]
    fn an_incomplete_frame_waits() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Call, 0, 0, 1, &[&[0; CALL_PREFIX_BYTES]]);
        for length in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        for kind in [0, 11, 255] {
            assert_eq!(
                Header::decode(&header(kind, 0, 0, 0, 0)),
                Err(Violation::UnknownKind(kind))
            );
        }
    }

    #[test]
    fn a_length_above_the_maximum_is_refused_by_the_header_alone() {
        for (kind, call) in [
            (Kind::Hello, 0),
            (Kind::Call, 1),
            (Kind::Reply, 1),
            (Kind::Chunk, 1),
            (Kind::End, 1),
            (Kind::Cancel, 1),
            (Kind::Credit, 1),
            (Kind::Ping, 0),
            (Kind::Goaway, 0),
        ] {
            let max = u32::try_from(kind.payload_bytes_max()).expect("small");
            assert!(Header::decode(&header(kind as u8, 0, 0, call, max)).is_ok());
            for length in [max + 1, u32::MAX] {
                assert!(matches!(
                    Header::decode(&header(kind as u8, 0, 0, call, length)),
                    Err(Violation::PayloadTooLong { .. })
                ));
            }
        }
    }

    #[test]
    fn undefined_flags_are_refused() {
        for (kind, flags) in [
            (Kind::Call, FLAG_WELCOME),
            (Kind::Call, FLAG_LAST),
            (Kind::Call, 0x80),
            (Kind::Reply, 0x80),
            (Kind::Reply, FLAG_REPLIES),
            (Kind::Reply, FLAG_METADATA),
            (Kind::Reply, FLAG_ONCE),
            (Kind::Reply, FLAG_LAST),
            (Kind::Chunk, FLAG_MORE),
            (Kind::Chunk, FLAG_STREAM),
            (Kind::End, FLAG_LAST),
            (Kind::Cancel, FLAG_STREAM),
            (Kind::Credit, FLAG_STREAM),
            (Kind::Hello, FLAG_MORE),
        ] {
            let call = u32::from(kind.has_call());
            assert_eq!(
                Header::decode(&header(kind as u8, flags, 0, call, 0)),
                Err(Violation::UnknownFlags { kind, flags })
            );
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for (kind, flags) in [
            (Kind::Call, FLAG_STREAM | FLAG_MORE),
            (Kind::Reply, FLAG_STREAM | FLAG_MORE),
            (Kind::Call, FLAG_ONCE | FLAG_STREAM),
            (Kind::Call, FLAG_ONCE | FLAG_REPLIES),
        ] {
            assert!(matches!(
                Header::decode(&header(kind as u8, flags, 0, 1, 0)),
                Err(Violation::Malformed(_))
            ));
        }
        let together = FLAG_ONCE | FLAG_METADATA | FLAG_MORE;
        assert!(Header::decode(&header(Kind::Call as u8, together, 0, 1, 0)).is_ok());
        let together = FLAG_REPLIES | FLAG_STREAM | FLAG_METADATA;
        assert!(Header::decode(&header(Kind::Call as u8, together, 0, 1, 0)).is_ok());
    }

    #[test]
    fn a_code_has_its_place() {
        assert!(Header::decode(&header(Kind::Goaway as u8, 0, 13, 0, 0)).is_ok());
        assert!(matches!(
            Header::decode(&header(Kind::Call as u8, 0, 13, 1, 0)),
            Err(Violation::Malformed(_))
        ));
    }

    #[test]
    fn a_call_number_has_its_place() {
        for (kind, call) in [
            (Kind::Call, 0),
            (Kind::Cancel, 0),
            (Kind::Credit, 0),
            (Kind::Ping, 1),
        ] {
            assert!(matches!(
                Header::decode(&header(kind as u8, 0, 0, call, 0)),
                Err(Violation::Malformed(_))
            ));
        }
    }
}

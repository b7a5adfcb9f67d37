"""The frame: twelve bytes of header, then a payload, as rpc/DESIGN.md draws it.

Decoding is strict: a kind, flag or field that this version does not define ends
the connection with a reason, so that nothing is ever half understood.
"""

from __future__ import annotations

import dataclasses
import enum
import struct

from .limits import (
    CHUNK_BYTES_MAX,
    METADATA_BYTES_MAX,
    STATEMENTS_BYTES_MAX,
    STATUS_DETAILS_BYTES_MAX,
    STATUS_MESSAGE_BYTES_MAX,
)

HEADER = struct.Struct("<IBBHI")
HEADER_BYTES = HEADER.size

CALL_PREFIX_BYTES = 12
ONCE_BYTES = 32
METADATA_PREFIX_BYTES = 2
HELLO_PREFIX_BYTES = 6
FAILURE_FIXED_BYTES = 7
TOKEN_BYTES = 8
CREDIT_BYTES = 4


class Kind(enum.IntEnum):
    """What a frame is for. The numbers never change their meaning."""

    HELLO = 1
    CALL = 2
    REPLY = 3
    CHUNK = 4
    END = 5
    CANCEL = 6
    CREDIT = 7
    PING = 8
    PONG = 9
    GOAWAY = 10


class Flag(enum.IntFlag):
    """Bits of the header, each on the kinds that define it."""

    NONE = 0
    MORE = 0x01
    """The body goes on in chunk frames (call, reply)."""
    WELCOME = 0x02
    """The server admits its client (hello)."""
    STREAM = 0x04
    """A stream of messages follows (call, reply)."""
    REPLIES = 0x08
    """The caller expects a stream (call)."""
    METADATA = 0x10
    """A metadata block stands before the body (call)."""
    ONCE = 0x20
    """An at-most-once block stands before the metadata (call)."""
    LAST = 0x40
    """A message of a stream ends here (chunk)."""


CALL_PAYLOAD_BYTES_MAX = (
    CALL_PREFIX_BYTES + ONCE_BYTES + METADATA_PREFIX_BYTES + METADATA_BYTES_MAX + CHUNK_BYTES_MAX
)

PAYLOAD_BYTES_MAX = {
    Kind.HELLO: HELLO_PREFIX_BYTES + STATEMENTS_BYTES_MAX,
    Kind.CALL: CALL_PAYLOAD_BYTES_MAX,
    Kind.REPLY: CHUNK_BYTES_MAX,
    Kind.CHUNK: CHUNK_BYTES_MAX,
    Kind.END: CHUNK_BYTES_MAX,
    Kind.CANCEL: 0,
    Kind.CREDIT: CREDIT_BYTES,
    Kind.PING: TOKEN_BYTES,
    Kind.PONG: TOKEN_BYTES,
    Kind.GOAWAY: FAILURE_FIXED_BYTES + STATUS_MESSAGE_BYTES_MAX + STATUS_DETAILS_BYTES_MAX,
}

_FLAGS_ALLOWED = {
    Kind.HELLO: Flag.WELCOME,
    Kind.CALL: Flag.MORE | Flag.STREAM | Flag.REPLIES | Flag.METADATA | Flag.ONCE,
    Kind.REPLY: Flag.MORE | Flag.STREAM,
    Kind.CHUNK: Flag.LAST,
}

_KINDS_WITH_CODE = (Kind.REPLY, Kind.GOAWAY)
_KINDS_WITH_CALL = (Kind.CALL, Kind.REPLY, Kind.CHUNK, Kind.END, Kind.CANCEL, Kind.CREDIT)


class Rule(enum.Enum):
    """The rule that a peer broke. The golden vectors name them so."""

    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_FLAGS = "unknown_flags"
    PAYLOAD_TOO_LONG = "payload_too_long"
    UNEXPECTED = "unexpected"
    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported_version"
    CREDIT_EXCEEDED = "credit_exceeded"
    CREDIT_REFUSED = "credit_refused"


class Violation(Exception):
    """How a peer broke the protocol: the reason that its goaway carries."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(rule, message)
        self.rule = rule
        self.message = message

    def __str__(self) -> str:
        return self.message


def malformed(message: str) -> Violation:
    """What does not decode, or stands where it has no place."""
    return Violation(Rule.MALFORMED, message)


def unexpected(kind: Kind) -> Violation:
    """A known kind where it has no place."""
    return Violation(Rule.UNEXPECTED, f"unexpected {kind.name.lower()} frame")


@dataclasses.dataclass(frozen=True)
class Header:
    """A header that obeys every rule that can be told from it alone."""

    kind: Kind
    flags: Flag
    code: int
    call: int
    length: int

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Reads twelve bytes, and refuses them before the payload is awaited."""
        length, kind_number, flag_bits, code, call = HEADER.unpack(data)
        try:
            kind = Kind(kind_number)
        except ValueError:
            raise Violation(Rule.UNKNOWN_KIND, f"unknown frame kind {kind_number}") from None
        name = kind.name.lower()
        if length > PAYLOAD_BYTES_MAX[kind]:
            raise Violation(
                Rule.PAYLOAD_TOO_LONG,
                f"a {name} frame of {length} bytes is longer than {PAYLOAD_BYTES_MAX[kind]}",
            )
        if flag_bits & ~int(_FLAGS_ALLOWED.get(kind, Flag.NONE)):
            raise Violation(Rule.UNKNOWN_FLAGS, f"unknown flags {flag_bits:#04x} on a {name} frame")
        flags = Flag(flag_bits)
        if code != 0 and kind not in _KINDS_WITH_CODE:
            raise malformed("code on a frame that has none")
        if (kind in _KINDS_WITH_CALL) != (call != 0):
            raise malformed("call number missing or out of place")
        return cls(kind, flags, code, call, length)


@dataclasses.dataclass(frozen=True)
class Frame:
    """A whole frame."""

    kind: Kind
    flags: Flag = Flag.NONE
    code: int = 0
    call: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire."""
        assert len(self.payload) <= PAYLOAD_BYTES_MAX[self.kind], "payloads are cut before"
        header = HEADER.pack(len(self.payload), self.kind, self.flags, self.code, self.call)
        return header + self.payload


class Input:
    """Bytes received and not yet taken. Grows with what has come, never with
    what was announced: a frame that is not whole waits within its maximum."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._header: Header | None = None

    def feed(self, data: bytes) -> None:
        """Takes bytes from the stream."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """The next whole frame, or `None` when more bytes are needed. Raises
        `Violation`, as soon as the header shows it."""
        if self._header is None:
            if len(self._buffer) - self._start < HEADER_BYTES:
                return None
            end = self._start + HEADER_BYTES
            self._header = Header.decode(bytes(self._buffer[self._start : end]))
            self._start = end
        header = self._header
        end = self._start + header.length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[self._start : end])
        self._start = end
        self._header = None
        return Frame(header.kind, header.flags, header.code, header.call, payload)

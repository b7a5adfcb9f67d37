"""What stands inside hello, call, reply, credit and goaway frames."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping

from .frame import (
    CALL_PREFIX_BYTES,
    CREDIT_BYTES,
    HELLO_PREFIX_BYTES,
    METADATA_PREFIX_BYTES,
    ONCE_BYTES,
    TOKEN_BYTES,
    Flag,
    Rule,
    Violation,
    malformed,
)
from .limits import (
    CHUNK_BYTES_MAX,
    METADATA_BYTES_MAX,
    METADATA_ENTRIES_MAX,
    METADATA_KEY_BYTES_MAX,
    STATEMENTS_BYTES_MAX,
    STATUS_DETAILS_BYTES_MAX,
    STATUS_MESSAGE_BYTES_MAX,
)
from .status import Code, Execution, RpcError

PROTOCOL_VERSION = 1

Metadata = Mapping[str, bytes]
"""Keys of a-z, 0-9, `.`, `_` and `-`; values are any bytes."""

_HELLO = struct.Struct("<HI")
_CALL = struct.Struct("<IQ")
_ONCE = struct.Struct("<16sQQ")
_KEY_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")


def encode_hello(statements: bytes) -> bytes:
    """The payload of a hello. Raises `ValueError` when they are too long."""
    if len(statements) > STATEMENTS_BYTES_MAX:
        raise ValueError(f"statements are longer than {STATEMENTS_BYTES_MAX} bytes")
    return _HELLO.pack(PROTOCOL_VERSION, len(statements)) + statements


def decode_hello(payload: bytes) -> bytes:
    """The statements of a hello."""
    if len(payload) < HELLO_PREFIX_BYTES:
        raise malformed("hello is cut short")
    version, length = _HELLO.unpack_from(payload)
    if version != PROTOCOL_VERSION:
        raise Violation(Rule.UNSUPPORTED_VERSION, f"protocol version {version} is not supported")
    statements = payload[HELLO_PREFIX_BYTES:]
    if length != len(statements):
        raise malformed("hello and its statements disagree")
    return statements


@dataclasses.dataclass(frozen=True)
class OnceId:
    """Names one call for a server's at-most-once table."""

    incarnation: bytes
    sequence: int
    floor: int


@dataclasses.dataclass(frozen=True)
class CallHead:
    """What stands before a request's body."""

    timeout_ms: int
    method: int
    once: OnceId | None = None
    metadata: Metadata | None = None

    @property
    def flags(self) -> Flag:
        """The flags that tell of the blocks."""
        return (Flag.ONCE if self.once else Flag.NONE) | (
            Flag.METADATA if self.metadata else Flag.NONE
        )

    def encode(self) -> bytes:
        """The bytes before the body. Raises `ValueError` on metadata that
        cannot be sent."""
        data = _CALL.pack(self.timeout_ms, self.method)
        if self.once:
            data += _ONCE.pack(self.once.incarnation, self.once.sequence, self.once.floor)
        if self.metadata:
            entries = encode_metadata(self.metadata)
            data += struct.pack("<H", len(entries)) + entries
        return data


def decode_call(flags: Flag, payload: bytes) -> tuple[CallHead, bytes]:
    """What stands before a request's body, and the body. A client needs it for
    nothing but its tests."""
    if len(payload) < CALL_PREFIX_BYTES:
        raise malformed("call is cut short")
    timeout_ms, method = _CALL.unpack_from(payload)
    rest = payload[CALL_PREFIX_BYTES:]
    once = metadata = None
    if flags & Flag.ONCE:
        if len(rest) < ONCE_BYTES:
            raise malformed("call is cut short")
        once = OnceId(*_ONCE.unpack_from(rest))
        rest = rest[ONCE_BYTES:]
        if flags & (Flag.STREAM | Flag.REPLIES):
            raise malformed("a stream cannot be called at most once")
    if flags & Flag.METADATA:
        if len(rest) < METADATA_PREFIX_BYTES:
            raise malformed("call is cut short")
        (length,) = struct.unpack_from("<H", rest)
        rest = rest[METADATA_PREFIX_BYTES:]
        if length > METADATA_BYTES_MAX:
            raise malformed("metadata is too long")
        if len(rest) < length:
            raise malformed("call is cut short")
        metadata = decode_metadata(rest[:length])
        rest = rest[length:]
    if flags & Flag.STREAM and flags & Flag.MORE:
        raise malformed("a stream has no body that goes on")
    if flags & Flag.STREAM and rest:
        raise malformed("a stream begins with a body")
    if len(rest) > CHUNK_BYTES_MAX:
        raise malformed("body of a call's first frame is too long")
    if once is not None:
        _check_once(once, method, bool(rest) or bool(flags & Flag.MORE))
    return CallHead(timeout_ms, method, once, metadata), rest


def _check_once(once: OnceId, method: int, has_body: bool) -> None:
    opens = method == 0 and once.sequence == 0 and once.floor == 0 and not has_body
    calls = method != 0 and once.sequence >= 1 and once.floor <= once.sequence
    if not opens and not calls:
        raise malformed("an at-most-once block that names no call")


def encode_metadata(metadata: Metadata) -> bytes:
    """The entries, keys ascending. Raises `ValueError` when they cannot be sent."""
    if not 1 <= len(metadata) <= METADATA_ENTRIES_MAX:
        raise ValueError(f"metadata has {len(metadata)} entries, not 1 to {METADATA_ENTRIES_MAX}")
    data = bytearray()
    for key, value in sorted(metadata.items()):
        encoded = key.encode("utf-8", "surrogatepass")
        if not 1 <= len(encoded) <= METADATA_KEY_BYTES_MAX or not _KEY_CHARACTERS.issuperset(encoded):
            raise ValueError(f"{key!r} is no key of metadata")
        if len(value) > METADATA_BYTES_MAX:
            raise ValueError(f"the value of {key!r} is too long")
        data += struct.pack("<B", len(encoded)) + encoded
        data += struct.pack("<H", len(value)) + value
    if len(data) > METADATA_BYTES_MAX:
        raise ValueError(f"metadata is longer than {METADATA_BYTES_MAX} bytes")
    return bytes(data)


def decode_metadata(data: bytes) -> dict[str, bytes]:
    """The entries of a metadata block: in one form only, so that nothing hides
    in their order or in a second entry of one key."""
    if len(data) > METADATA_BYTES_MAX:
        raise malformed("metadata is too long")
    entries: dict[str, bytes] = {}
    last = b""
    while data:
        if len(entries) == METADATA_ENTRIES_MAX:
            raise malformed("metadata has too many entries")
        key, data = _take(data, 1)
        if not 1 <= len(key) <= METADATA_KEY_BYTES_MAX or not _KEY_CHARACTERS.issuperset(key):
            raise malformed("a key of metadata is none")
        value, data = _take(data, 2)
        if key <= last:
            raise malformed("keys of metadata do not ascend")
        last = key
        entries[key.decode("ascii")] = value
    if not entries:
        raise malformed("metadata is empty")
    return entries


def _take(data: bytes, length_bytes: int) -> tuple[bytes, bytes]:
    """Bytes behind their length, and what follows."""
    end = length_bytes + int.from_bytes(data[:length_bytes], "little")
    if len(data) < length_bytes or len(data) < end:
        raise malformed("metadata is cut short")
    return data[length_bytes:end], data[end:]


def encode_failure(error: RpcError) -> bytes:
    """The payload of a failure, cut to what one frame may carry."""
    message = error.message.encode("utf-8", "replace")[:STATUS_MESSAGE_BYTES_MAX]
    # At most the beginning of one character stands at the end.
    message = message.decode("utf-8", "ignore").encode("utf-8")
    details = error.details if len(error.details) <= STATUS_DETAILS_BYTES_MAX else b""
    return (
        struct.pack("<BH", error.execution.wire, len(message))
        + message
        + struct.pack("<I", len(details))
        + details
    )


def decode_failure(code: int, payload: bytes) -> RpcError:
    """The failure that a reply or goaway carries beside its code."""
    if len(payload) < 3:
        raise malformed("failure is cut short")
    execution, message_length = struct.unpack_from("<BH", payload)
    message, rest = payload[3 : 3 + message_length], payload[3 + message_length :]
    if len(message) < message_length or len(rest) < 4:
        raise malformed("failure is cut short")
    (details_length,) = struct.unpack_from("<I", rest)
    details = rest[4:]
    if details_length != len(details):
        raise malformed("failure and its details disagree")
    if len(message) > STATUS_MESSAGE_BYTES_MAX or len(details) > STATUS_DETAILS_BYTES_MAX:
        raise malformed("failure is too long")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("failure message is not UTF-8") from None
    return RpcError(Code.from_number(code), Execution.from_wire(execution), text, details)


def decode_credit(payload: bytes) -> int:
    """Bytes of credit that a frame gives."""
    if len(payload) != CREDIT_BYTES:
        raise malformed("credit is not four bytes")
    amount = int.from_bytes(payload, "little")
    if amount == 0:
        raise Violation(Rule.CREDIT_REFUSED, "credit of zero bytes")
    return amount


def encode_credit(amount: int) -> bytes:
    return amount.to_bytes(CREDIT_BYTES, "little")


def decode_token(payload: bytes) -> bytes:
    """The token of a ping or pong."""
    if len(payload) != TOKEN_BYTES:
        raise malformed("ping or pong without its token")
    return payload

"""Typed details of a failure, as `rpc/proto/sealmoot/rpc/v1/details.proto` has
them."""

from __future__ import annotations

from . import limits
from .wire import Undecodable, fields

_RETRY_AFTER = "sealmoot.rpc.v1.RetryAfter"
_UINT64 = 2**64 - 1


def details(encoded: bytes) -> list[tuple[str, bytes]]:
    """Names and encodings of the messages; none where the bytes are not of that
    form, for a server may have used another."""
    if len(encoded) > limits.STATUS_DETAILS_BYTES_MAX:
        return []
    found: list[tuple[str, bytes]] = []
    try:
        for number, entry in _delimited(encoded):
            if number != 1:
                continue
            if len(found) == limits.STATUS_DETAILS_MAX:
                return []
            parts = dict(_delimited(entry))
            name = parts.get(1, b"").decode("utf-8")
            found.append((name, parts.get(2, b"")))
    except (Undecodable, UnicodeDecodeError):
        return []
    return found


def retry_after(encoded: bytes) -> float | None:
    """How many seconds a server asks to be left alone, if it does."""
    for name, value in details(encoded):
        if name == _RETRY_AFTER:
            try:
                milliseconds = dict(fields(value)).get(1, 0)
            except Undecodable:
                return None
            if isinstance(milliseconds, bytes):
                return None
            return (milliseconds & _UINT64) / 1000
    return None


def _delimited(encoded: bytes) -> list[tuple[int, bytes]]:
    """Those that have a length; later versions may add fields of that kind."""
    found: list[tuple[int, bytes]] = []
    for number, value in fields(encoded):
        if not isinstance(value, bytes):
            raise Undecodable("a field of another form")
        found.append((number, value))
    return found

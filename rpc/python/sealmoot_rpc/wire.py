"""Encoded messages of Protocol Buffers, field by field. For the few messages that
this package reads itself: it needs no generated code of its own."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX = 10


class Undecodable(Exception):
    """The bytes are no message."""


def fields(encoded: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields: a number, or the bytes of what has a
    length. Raises `Undecodable`, also behind fields that were sound."""
    at = 0
    while at < len(encoded):
        key, at = _varint(encoded, at)
        number, form = key >> 3, key & 7
        if number == 0:
            raise Undecodable("a field without a number")
        if form == _VARINT:
            value, at = _varint(encoded, at)
            yield number, value
            continue
        if form == _LENGTH_DELIMITED:
            length, at = _varint(encoded, at)
        elif form in _FIXED_BYTES:
            length = _FIXED_BYTES[form]
        else:
            raise Undecodable("a field of an unknown form")
        if length > len(encoded) - at:
            raise Undecodable("a field is cut short")
        data = encoded[at : at + length]
        at += length
        yield number, data if form == _LENGTH_DELIMITED else int.from_bytes(data, "little")


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(encoded[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise Undecodable("a number does not end")

"""Public keys as identities: Ed25519 (RFC 8032), imported strictly.

Nothing here is secret, so nothing here need run in constant time.
"""

from __future__ import annotations

import dataclasses
import hashlib

SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""What stands before the key in an Ed25519 `SubjectPublicKeyInfo` (RFC 8410)."""

KEY_BYTES = 32

_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_MINUS_ONE = pow(2, (_P - 1) // 4, _P)


class KeyRejected(ValueError):
    """Bytes that are no key, or a key that must not be trusted."""


@dataclasses.dataclass(frozen=True)
class KeyId:
    """SHA-256 of a key's `SubjectPublicKeyInfo`: who a peer is."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != KEY_BYTES:
            raise KeyRejected("a key id has 32 bytes")

    @classmethod
    def from_hex(cls, text: str) -> KeyId:
        """Reads the 64 digits that a server or `python_identity` prints."""
        text = text.strip()
        if len(text) != 2 * KEY_BYTES or not set(text) <= set("0123456789abcdefABCDEF"):
            raise KeyRejected("a key id is written in 64 hexadecimal digits")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.digest.hex()


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key that is canonical and not weak."""

    encoded: bytes

    def __post_init__(self) -> None:
        if len(self.encoded) != KEY_BYTES:
            raise KeyRejected("an Ed25519 key has 32 bytes")
        _check(self.encoded)

    @classmethod
    def from_spki(cls, der: bytes) -> PublicKey:
        """Reads a `SubjectPublicKeyInfo`, of which Ed25519 has one form only."""
        if len(der) != len(SPKI_PREFIX) + KEY_BYTES or not der.startswith(SPKI_PREFIX):
            raise KeyRejected("not the key information of an Ed25519 key")
        return cls(der[len(SPKI_PREFIX) :])

    @property
    def key_id(self) -> KeyId:
        return KeyId(hashlib.sha256(SPKI_PREFIX + self.encoded).digest())


def _check(encoded: bytes) -> None:
    """Refuses what is no point in its one form, and points of small order:
    under those one signature verifies over every message."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        raise KeyRejected("the key is not in its canonical form")
    # x^2 = (y^2 - 1) / (d y^2 + 1), RFC 8032, section 5.1.3.
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_MINUS_ONE % _P
    if (x * x - square) % _P:
        raise KeyRejected("the key is no point of the curve")
    if x == 0 and sign:
        raise KeyRejected("the key is not in its canonical form")
    # The order of a weak point divides the cofactor, 8.
    for _ in range(3):
        x, y = _double(x, y)
    if (x, y) == (0, 1):
        raise KeyRejected("the key is weak")


def _double(x: int, y: int) -> tuple[int, int]:
    product = _D * x * x * y * y
    return (
        2 * x * y * pow(1 + product, _P - 2, _P) % _P,
        (y * y + x * x) * pow(1 - product, _P - 2, _P) % _P,
    )

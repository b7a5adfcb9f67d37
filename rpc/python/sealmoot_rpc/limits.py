"""Every bound, in one place.

A constant is part of the wire format: both sides must agree on it. A field of
`Limits` is this side's policy. Sizes are in bytes, durations in seconds.
"""

from __future__ import annotations

import dataclasses
import math

CHUNK_BYTES_MAX = 16 * 1024
"""Body bytes of one frame: what a small call waits for behind bulk."""

STATEMENTS_BYTES_MAX = 64 * 1024
"""Statements of a hello."""

METADATA_BYTES_MAX = 4096
"""The entries of a call's metadata together, as they are encoded."""

METADATA_ENTRIES_MAX = 32

METADATA_KEY_BYTES_MAX = 64

STATUS_MESSAGE_BYTES_MAX = 1024

STATUS_DETAILS_BYTES_MAX = 8 * 1024

STREAM_WINDOW_BYTES = 64 * 1024
"""Credit that each direction of a stream starts with."""

STREAM_CREDIT_MAX = 2**30
"""Unspent credit of one direction."""

CERTIFICATE_BYTES_MAX = 4 * 1024
"""A server's certificate, as DER."""

TRANSMIT_BYTES_TARGET = 32 * 1024
"""What one write gathers, about: small frames wait for no more bulk than that."""

TIMEOUT_MS_MAX = 2**32 - 1

DURATION_MAX = 365 * 24 * 60 * 60.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What this side of a connection is ready to spend on the other."""

    handshake: float = 10.0
    """TCP connect, TLS handshake and both hellos together."""

    message_bytes_max: int = 4 * 1024 * 1024
    """One request, reply or message of a stream."""

    incoming_bytes_max: int = 64 * 1024 * 1024
    """Partial replies, and messages that the caller has not taken."""

    outgoing_bytes_max: int = 64 * 1024 * 1024
    """What waits to be sent; a call beyond it is refused."""

    calls_in_flight_max: int = 1024

    keepalive_idle: float = 1.0
    """Silence of the server after which it is asked for a sign of life, and of
    ours after which we give one."""

    keepalive_timeout: float = 1.5
    """How long it may take to answer."""

    write_stall: float = 10.0
    """How long it may take no bytes."""

    linger: float = 0.5
    """How long a closing connection waits for the server to take its last frames."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_duration = isinstance(field.default, float)
            if not value > 0 or (is_duration and not (math.isfinite(value) and value <= DURATION_MAX)):
                raise ValueError(f"{field.name} is out of range")

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
STATUS_DETAILS_MAX = 16
"""Typed details of one failure."""

STREAM_WINDOW_BYTES = 64 * 1024
"""Credit that each direction of a stream starts with."""

STREAM_CREDIT_MAX = 2**30
"""Unspent credit of one direction."""

STREAM_MESSAGE_OVERHEAD_BYTES = 64
"""What a message that waits for its reader counts for beside its bytes: a stream
of empty messages takes memory too."""

CERTIFICATE_BYTES_MAX = 4 * 1024
"""A server's certificate, as DER."""

TRANSMIT_BYTES_TARGET = 32 * 1024
"""What one write gathers, about: small frames wait for no more bulk than that."""

TIMEOUT_MS_MAX = 2**32 - 1

ONCE_HORIZON = 300.0
"""How long a client uses an incarnation of which it has not heard, and sends an
at-most-once call again: half of what a server keeps it."""

ONCE_ENTRIES_MAX = 2048
"""Calls of one incarnation from the lowest that is not settled on. Part of the
wire format."""

ONCE_OPEN_TIMEOUT = 10.0
"""How long the opening of an incarnation may take."""

RETRY_ATTEMPTS_MAX = 5
"""Attempts of one call, the first included."""

RETRY_BACKOFF_FIRST = 0.025
"""Upper end of the rest before the second attempt; it doubles from there."""

RETRY_BACKOFF_MAX = 2.0

RETRY_DEPOSIT_THOUSANDTHS = 200
"""What a call adds to the budget, in thousandths of a retry."""

RETRY_PER_SECOND = 10
"""Retries that time adds to the budget."""

RETRY_BURST_MAX = 100
"""Retries that the budget holds."""

LINK_ATTEMPT_MAX = 2.0
"""How long one attempt to connect again may take: a lost SYN is sent again after
one second, then only after two more."""

LINK_RETRY_FIRST = 0.02
"""The rest after the first failure to connect; it doubles from there."""

LINK_RETRY_MAX = 0.2

LINK_REFUSED_RETRY_MAX = 10.0
"""The longest rest while one side refuses the other."""

LINK_STANDS = 2.0
"""How long a connection must have stood for its end to be followed by the
shortest rest again."""

SERVICE_NAME_BYTES_MAX = 128
"""The full name of a service."""

REFLECTION_SERVICES_MAX = 256
"""Services of which a client hears."""

REFLECTION_EARLIER_MAX = 16
"""Earlier schemas of one service."""

REFLECTION_SERVICES_BYTES_MAX = REFLECTION_SERVICES_MAX * (
    3 + (3 + SERVICE_NAME_BYTES_MAX) + (1 + REFLECTION_EARLIER_MAX) * (2 + 32)
)
"""A list of services, with every text as long as it may be. Looked at before a
byte is decoded: a list of empty entries takes many times its bytes in memory."""

DURATION_MAX = 365 * 24 * 60 * 60.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What this side of a connection is ready to spend on the other."""

    handshake: float = 10.0
    """TCP connect, TLS handshake and both hellos together."""

    message_bytes_max: int = 4 * 1024 * 1024
    """One request, reply or message of a stream."""

    incoming_bytes_max: int = 64 * 1024 * 1024
    """Partial replies, and messages that the caller has not taken, each of which
    counts for `STREAM_MESSAGE_OVERHEAD_BYTES` more."""

    outgoing_bytes_max: int = 64 * 1024 * 1024
    """What waits to be sent; a call beyond it is refused. Messages of streams that
    wait for credit take half of it at most, and one message."""

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

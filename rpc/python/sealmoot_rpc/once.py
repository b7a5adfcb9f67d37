"""The client's side of at-most-once calls to one server.

A call is named by an incarnation (16 random bytes), in which it has a sequence
from 1. The client opens an incarnation before it calls in it, and never sends the
same open twice: so it comes to exist at most once at a server, and one that was
forgotten is unknown for ever. With every call goes a floor, the client's word that
it has settled all sequences below. `rpc/DESIGN.md`, "At most once", has the whole.

Values: no clock, no randomness, no I/O. Times are seconds of any steady clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from .limits import ONCE_ENTRIES_MAX, ONCE_HORIZON
from .payload import OnceId
from .status import Code, Execution, RpcError

INCARNATION_BYTES = 16

OPEN_METHOD = 0
"""Opens an incarnation instead of calling a method."""

UNKNOWN_INCARNATION = b"sealmoot once: unknown incarnation"
"""Details by which a server says that it does not know an incarnation."""


def is_unknown_incarnation(error: RpcError) -> bool:
    """Whether a server refused an attempt because it does not know the
    incarnation. The attempt did not run; whether an earlier one did, the server
    cannot know."""
    return (
        error.code == Code.FAILED_PRECONDITION
        and error.execution.is_safe_to_retry
        and error.details == UNKNOWN_INCARNATION
    )


def combined(previous: Iterable[Execution], this: Execution) -> Execution:
    """What is known of a call after several attempts: the most that any of them
    did. A refusal says nothing of the attempts before it."""
    return max([*previous, this], key=lambda execution: execution.value)


class SessionOver(enum.Enum):
    """Why no further call may begin in an incarnation: open another."""

    LOST = "the server does not know the incarnation"
    STALE = "the incarnation was not used for too long"
    """The server might forget it before the last attempt."""
    FULL = "too many calls of the incarnation are not settled"
    """The server would refuse another."""


class Unopened:
    """An incarnation that no server has heard of.

    `incarnation` is fresh from the system's random source: whoever guesses it
    gains nothing, but two that are equal could be mistaken.
    """

    def __init__(self, incarnation: bytes, horizon: float = ONCE_HORIZON) -> None:
        if len(incarnation) != INCARNATION_BYTES:
            raise ValueError(f"an incarnation has {INCARNATION_BYTES} bytes")
        self._incarnation: bytes | None = incarnation
        self._horizon = horizon

    def send(self, now: float) -> tuple[OnceId, Opening]:
        """What to send, once."""
        incarnation, self._incarnation = self._incarnation, None
        if incarnation is None:
            # The server could not tell a second open from a new incarnation.
            raise RuntimeError("an open is never sent twice")
        return OnceId(incarnation, 0, 0), Opening(incarnation, self._horizon, now)


class Opening:
    """An incarnation whose open is under way. When it fails the incarnation is
    gone, even when nothing tells whether the server has it."""

    def __init__(self, incarnation: bytes, horizon: float, sent: float) -> None:
        self._session: Session | None = Session(incarnation, horizon, sent)

    def answered(self) -> Session:
        """The server has answered well."""
        session, self._session = self._session, None
        if session is None:
            raise RuntimeError("an open is answered once")
        return session


class Session:
    """An incarnation that the server knows, or knew. Made by `Opening`."""

    def __init__(self, incarnation: bytes, horizon: float, heard: float) -> None:
        self.incarnation = incarnation
        self._horizon = horizon
        # The server used it then, or later.
        self._heard = heard
        self._sequence_next = 1
        # Ascending, as they were begun.
        self._unsettled: dict[int, None] = {}
        self._is_lost = False

    def begin(self, now: float) -> int | SessionOver:
        """Begins a call: its sequence, to be settled when the caller has its
        answer or has given up; or why another incarnation is needed."""
        over = self.over(now)
        if over is not None:
            return over
        sequence = self._sequence_next
        self._sequence_next += 1
        self._unsettled[sequence] = None
        return sequence

    def over(self, now: float) -> SessionOver | None:
        """Why no further call may begin, if none may."""
        if self._is_lost:
            return SessionOver.LOST
        if now - self._heard >= self._horizon:
            return SessionOver.STALE
        # The server counts from the floor's entry, settled ones above included.
        if self._sequence_next - self.floor >= ONCE_ENTRIES_MAX:
            return SessionOver.FULL
        return None

    def id(self, sequence: int) -> OnceId:
        """What an attempt of a call carries."""
        return OnceId(self.incarnation, sequence, min(self.floor, sequence))

    def heard(self, sent: float) -> None:
        """An attempt that was sent then has ended with a reply, or as `EXECUTED`.
        Nothing less shows that the server has used the incarnation since: a
        refusal may have come before it looked."""
        self._heard = max(self._heard, sent)

    def lost(self) -> None:
        """The server does not know the incarnation."""
        self._is_lost = True

    def settle(self, sequence: int) -> None:
        """No further attempt of this call will be sent."""
        self._unsettled.pop(sequence, None)

    @property
    def floor(self) -> int:
        """The lowest sequence that is not settled."""
        return next(iter(self._unsettled), self._sequence_next)

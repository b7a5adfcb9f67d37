"""Whether and when a failed call is sent again.

`Attempts` is what is known of one call over all its attempts. It sends again only
what cannot act twice by it: what certainly did not start, what the schema's author
declared idempotent, or what the server itself runs at most once (`once`). How often
all calls of a client together may do so is bounded by a `Budget`, so that retries
do not keep an overloaded server down.

Values: no clock, no randomness, no I/O. Times are seconds of any steady clock.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from .details import retry_after
from .limits import (
    ONCE_HORIZON,
    RETRY_ATTEMPTS_MAX,
    RETRY_BACKOFF_FIRST,
    RETRY_BACKOFF_MAX,
    RETRY_BURST_MAX,
    RETRY_DEPOSIT_THOUSANDTHS,
    RETRY_PER_SECOND,
)
from .once import combined, is_unknown_incarnation
from .status import Code, Execution, RpcError

_RETRY = 1000
"""Thousandths of a retry."""

_PASSING = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED})
"""Whether the same call may well succeed a little later."""

_MAY_ASK = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


class Guard(enum.Enum):
    """Why sending a call again cannot act twice, if it cannot. Generated clients
    have it from the options of each method."""

    UNKNOWN = 0
    """Nothing is promised."""
    NO_SIDE_EFFECTS = 1
    """The method changes nothing."""
    IDEMPOTENT = 2
    """Twice is as good as once."""
    ONCE = 3
    """The server remembers which calls have run."""

    @property
    def is_idempotent(self) -> bool:
        return self in (Guard.NO_SIDE_EFFECTS, Guard.IDEMPOTENT)


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """When to send again."""

    attempts_max: int = RETRY_ATTEMPTS_MAX
    """Attempts of one call, the first included."""

    backoff_first: float = RETRY_BACKOFF_FIRST
    """Upper end of the rest before the second attempt, in seconds; it doubles
    from there."""

    backoff_max: float = RETRY_BACKOFF_MAX
    """The longest rest, in seconds."""

    once_horizon: float = ONCE_HORIZON
    """For how many seconds after its first attempt an at-most-once call may be
    sent again; at most half of what the server keeps."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{field.name} is out of range")
        if self.once_horizon > ONCE_HORIZON:
            raise ValueError("once_horizon is more than half of what servers keep")

    def backoff(self, failures: int, random: float) -> float:
        """`random` * min(`backoff_max`, `backoff_first` * 2^(`failures` - 1)) with
        `random` uniform over 0 to 1: exponential backoff with full jitter (Brooker,
        "Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""
        # Beyond that a float would overflow, and every ceiling is reached.
        doublings = min(failures - 1, 64)
        return random * min(self.backoff_max, self.backoff_first * 2.0**doublings)


class Budget:
    """A token bucket of Finagle's kind (`RetryBudget`): each call deposits a fifth
    of a retry, a retry withdraws one, and ten a second are free. It holds no more
    than makes one burst."""

    def __init__(self, now: float) -> None:
        self._thousandths = RETRY_BURST_MAX * _RETRY
        self._refilled = now

    def deposit(self) -> None:
        """A call begins: once a call, not for its retries."""
        self._add(RETRY_DEPOSIT_THOUSANDTHS)

    def withdraw(self, now: float) -> bool:
        """Takes one retry; `False` when there is none."""
        self._refill(now)
        if self._thousandths < _RETRY:
            return False
        self._thousandths -= _RETRY
        return True

    def _refill(self, now: float) -> None:
        # Whole milliseconds; what is left of one counts the next time.
        milliseconds = int((now - self._refilled) * 1000)
        if milliseconds > 0:
            self._refilled += milliseconds / 1000
            self._add(milliseconds * RETRY_PER_SECOND)

    def _add(self, thousandths: int) -> None:
        self._thousandths = min(self._thousandths + thousandths, RETRY_BURST_MAX * _RETRY)


@dataclasses.dataclass(frozen=True)
class Again:
    """Send it again after this rest in seconds; an at-most-once call under the
    same incarnation and sequence."""

    rest: float


@dataclasses.dataclass(frozen=True)
class Anew:
    """The server does not know the incarnation and no attempt can have run: send
    the call again at once, in another incarnation."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Tell the caller."""

    error: RpcError


class Attempts:
    """One call over all its attempts, one after the other."""

    def __init__(self, guard: Guard, deadline: float) -> None:
        self._guard = guard
        self._begun = 0
        self._is_cut = False
        self._was_cut = False
        self._first_begun: float | None = None
        self.deadline = deadline
        """Until when the caller waits."""
        self.execution = Execution.NOT_SENT
        """The most that any failed attempt can have done."""

    def begin(self, now: float) -> None:
        """An attempt begins: with looking for a connection, if there is none."""
        if self._first_begun is None:
            self._first_begun = now
        self._begun += 1

    def cut(self) -> None:
        """The attempt that fails next ended with its connection. The first time, the
        attempt after it costs nothing of the budget: a server that dies or drains
        ends all calls that it has at once, more than a budget holds, and not one of
        them for being too many. A call can be doubled by that, and no more."""
        self._is_cut = True

    def failed(
        self, now: float, error: RpcError, policy: RetryPolicy, budget: Budget, random: float
    ) -> Again | Anew | Report:
        """The attempt has failed; `random` is uniform over 0 to 1.

        What a server that did not start the call asks to be left alone for stands
        before the rest; where the deadline comes first, the failure is reported.
        """
        before = self.execution
        is_free = self._is_cut and not self._was_cut
        self._is_cut = False
        self.execution = combined([before], error.execution)
        if error.execution == Execution.EXECUTED:
            # The method has answered, whatever another attempt would say.
            return Report(self.report(error))
        may_try = now < self.deadline and self._begun < policy.attempts_max
        if self._guard == Guard.ONCE and is_unknown_incarnation(error):
            return self._unknown(before, may_try, error)
        remaining = max(0.0, self.deadline - now)
        asked = _asked_rest(error)
        if (
            not may_try
            or error.code not in _PASSING
            or not self._is_safe(now, policy)
            # The caller learns at once that there is nothing to wait for.
            or asked >= remaining
            or not self._pays(is_free, now, budget)
        ):
            return Report(self.report(error))
        # Half of what remains, at most: a rest until the deadline is no attempt.
        # What the server asks for comes before it, so that those who were told the
        # same time do not come back together.
        half = random * (remaining - asked) / 2
        return Again(asked + min(policy.backoff(self._begun, random), half))

    def is_too_late(self, now: float, policy: RetryPolicy) -> bool:
        """Whether an attempt that was decided on must not be sent any more: the
        server may have forgotten by now that the call has run. Asked when the
        connection stands, for which the attempt may have waited long."""
        return self._guard == Guard.ONCE and not self._is_safe(now, policy)

    def report(self, error: RpcError) -> RpcError:
        """What to tell the caller when the last failure was this: what is known of
        all attempts together."""
        reported = error.with_execution(combined([self.execution], error.execution))
        reported.__cause__ = error.__cause__
        return reported

    def _unknown(self, before: Execution, may_try: bool, error: RpcError) -> Anew | Report:
        """The server has forgotten the incarnation, or never knew it. If no attempt
        before can have run, none can still: all were answered or never left."""
        if not before.is_safe_to_retry:
            message = "the server does not remember whether the call ran"
            return Report(RpcError(Code.OUTCOME_UNKNOWN, before, message))
        if may_try:
            return Anew()
        # Incarnations are no concern of the caller's.
        message = "the server restarted, and no attempt is left"
        return Report(self.report(RpcError(Code.UNAVAILABLE, error.execution, message)))

    def _pays(self, is_free: bool, now: float, budget: Budget) -> bool:
        self._was_cut = self._was_cut or is_free
        return is_free or budget.withdraw(now)

    def _is_safe(self, now: float, policy: RetryPolicy) -> bool:
        if self.execution.is_safe_to_retry:
            return True
        if self.execution == Execution.EXECUTED:
            return False
        if self._guard != Guard.ONCE:
            return self._guard.is_idempotent
        return self._first_begun is not None and now - self._first_begun < policy.once_horizon


def _asked_rest(error: RpcError) -> float:
    """How long a server that did not start the call asks to be left alone."""
    if error.code not in _MAY_ASK or error.execution != Execution.NOT_STARTED:
        return 0.0
    return retry_after(error.details) or 0.0

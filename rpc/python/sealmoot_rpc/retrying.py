"""Calls that are sent again, over connections that are made again, for asyncio.

`retry` and `once` decide; this is the shell around them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import random
from collections.abc import Coroutine
from typing import Any

from . import client
from .caller import Caller
from .calls import Opened, outcome
from .keys import KeyId, PublicKey
from .limits import DURATION_MAX, LINK_ATTEMPT_MAX, ONCE_OPEN_TIMEOUT, Limits
from .link import Link
from .once import (
    INCARNATION_BYTES,
    OPEN_METHOD,
    Session,
    Unopened,
    is_unknown_incarnation,
)
from .payload import Metadata, OnceId, encode_metadata
from .retry import Anew, Attempts, Budget, Guard, Report, RetryPolicy
from .status import Code, Execution, RpcError
from .tls import Identity, client_context


def connect_retrying(
    host: str,
    port: int,
    *,
    identity: Identity,
    server: KeyId | PublicKey,
    statements: bytes = b"",
    limits: Limits | None = None,
    policy: RetryPolicy | None = None,
) -> Retrying:
    """A client of the holder of the key `server`, which connects in the background
    and again whenever a connection ends. Belongs to the running loop.

    Does not wait for the first connection: calls do. Raises what is wrong with
    `identity`, for no later attempt could mend it.
    """
    client_context(identity)
    limits = limits or Limits()
    limits = dataclasses.replace(limits, handshake=min(limits.handshake, LINK_ATTEMPT_MAX))

    def dial() -> Coroutine[Any, Any, client.Connection]:
        return client.connect(
            host, port, identity=identity, server=server, statements=statements, limits=limits
        )

    return Retrying(Link(dial), policy or RetryPolicy())


class Retrying(Caller):
    """A client of one place that sends failed calls again where that cannot act
    twice: what certainly did not start, methods that are idempotent, and
    at-most-once calls. All its retries spend one `Budget`.

    An `RpcError` that comes out of it tells of all attempts together.
    `Code.OUTCOME_UNKNOWN` is one of an at-most-once call that may have run and that
    the server has forgotten. Streams are not resumed.
    """

    def __init__(self, link: Link, policy: RetryPolicy) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._policy = policy
        self._budget = Budget(self._loop.time())
        self._session: Session | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_up(self) -> bool:
        """Whether a connection stands, so that a call could be sent at once."""
        return self._link.connection is not None

    async def up(self, timeout: float) -> None:
        """Waits until a connection stands. Raises `RpcError`, `NOT_SENT`."""
        await self._link.up(self._deadline(timeout))

    async def close(self) -> None:
        """Ends every call in flight, closes, and connects no more."""
        if not self._closed.done():
            self._closed.set_result(None)
        if self._opening is not None:
            self._opening.cancel()
        await self._link.close()

    async def __aenter__(self) -> Retrying:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self,
        method: int,
        body: bytes,
        *,
        guard: Guard = Guard.UNKNOWN,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> bytes:
        """Calls a method by number with bytes, through as many attempts as the
        policy, the budget and the timeout allow. Waits for a connection when there
        is none. A task that is cancelled cancels the attempt that is under way."""
        deadline = self._deadline(timeout)
        if metadata:
            # What cannot be sent is the caller's mistake at once.
            encode_metadata(metadata)
        self._budget.deposit()
        call = _Call(self, method, body, guard, metadata, deadline)
        try:
            return await call.run()
        finally:
            call.settle()

    def _start(
        self,
        method: int,
        body: bytes,
        timeout: float,
        metadata: Metadata | None,
        *,
        streams: bool = False,
        replies: bool = False,
    ) -> asyncio.Task[Opened]:
        # Waits for a connection if there is none.
        deadline = self._deadline(timeout)
        if metadata:
            encode_metadata(metadata)

        async def start() -> Opened:
            connection = await self._link.up(deadline)
            # It cannot have ended since: nothing else runs in between.
            left = deadline - self._loop.time()
            return connection.begin(method, body, left, metadata, streams=streams, replies=replies)

        task = self._loop.create_task(start())
        # Nobody may ever ask how it ended.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _deadline(self, timeout: float) -> float:
        if not math.isfinite(timeout):
            raise ValueError("a call needs a finite timeout")
        return self._loop.time() + min(timeout, DURATION_MAX)

    async def _place(self, connection: client.Connection, deadline: float) -> _Place:
        """A name for an at-most-once call. Raises `RpcError`, `NOT_SENT`."""
        while True:
            if self._session is not None:
                sequence = self._session.begin(self._loop.time())
                if isinstance(sequence, int):
                    return _Place(self._session, sequence)
            opening = self._opening
            if opening is None:
                # A task of its own: a caller that leaves meanwhile must not leave
                # an incarnation behind at the server that nobody uses.
                opening = self._loop.create_task(self._open(connection))
                # Nobody may be waiting for it any more.
                opening.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._opening = opening
            left = deadline - self._loop.time()
            if left > 0 and not opening.done():
                await asyncio.wait({opening}, timeout=left)
            if not opening.done():
                raise RpcError(Code.DEADLINE_EXCEEDED, Execution.NOT_SENT, "no incarnation in time")
            if opening.cancelled():
                raise RpcError(Code.CANCELLED, Execution.NOT_SENT, "the client was closed here")
            error = opening.exception()
            if isinstance(error, RpcError):
                message = f"no incarnation: {error.message}"
                failed = RpcError(error.code, Execution.NOT_SENT, message, error.details)
                raise failed from error.__cause__
            opening.result()

    async def _open(self, connection: client.Connection) -> None:
        unopened = Unopened(os.urandom(INCARNATION_BYTES), self._policy.once_horizon)
        once, opening = unopened.send(self._loop.time())
        try:
            opened = connection.begin(OPEN_METHOD, b"", ONCE_OPEN_TIMEOUT, None, once=once)
            await outcome(opened)
        finally:
            self._opening = None
        # Calls of the one before have it at hand until they are settled.
        self._session = opening.answered()

    async def _rest(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.wait({self._closed}, timeout=seconds)


@dataclasses.dataclass(frozen=True)
class _Place:
    """The name of an at-most-once call, to be settled when no attempt is sent under
    it any more."""

    session: Session
    sequence: int

    @property
    def id(self) -> OnceId:
        """What the next attempt carries."""
        return self.session.id(self.sequence)

    def settle(self) -> None:
        self.session.settle(self.sequence)


class _Call:
    """One call over all its attempts."""

    def __init__(
        self,
        retrying: Retrying,
        method: int,
        body: bytes,
        guard: Guard,
        metadata: Metadata | None,
        deadline: float,
    ) -> None:
        self._retrying = retrying
        self._method = method
        self._body = body
        self._guard = guard
        self._metadata = metadata
        self._attempts = Attempts(guard, deadline)
        # The name of an at-most-once call, from its first attempt on.
        self._place: _Place | None = None

    async def run(self) -> bytes:
        retrying, attempts = self._retrying, self._attempts
        while True:
            attempts.begin(self._now())
            try:
                return await self._attempt()
            except RpcError as error:
                decision = attempts.failed(
                    self._now(), error, retrying._policy, retrying._budget, random.random()
                )
            if isinstance(decision, Report):
                raise decision.error
            if isinstance(decision, Anew):
                self.settle()
            else:
                await retrying._rest(decision.rest)

    def settle(self) -> None:
        """No further attempt is sent under the call's name."""
        if self._place is not None:
            self._place.settle()
            self._place = None

    async def _attempt(self) -> bytes:
        retrying, deadline = self._retrying, self._attempts.deadline
        connection = await retrying._link.up(deadline)
        if self._guard == Guard.ONCE:
            if self._attempts.is_too_late(self._now(), retrying._policy):
                message = "it is too long ago that the call was first sent"
                raise RpcError(Code.UNAVAILABLE, Execution.NOT_SENT, message)
            if self._place is None:
                self._place = await retrying._place(connection, deadline)
        place = self._place
        sent = self._now()
        # All the time that is left: an attempt that ran out of a share of it would
        # cancel what the next one wants to join.
        once = place.id if place is not None else None
        try:
            opened = connection.begin(
                self._method, self._body, deadline - sent, self._metadata, once=once
            )
            reply = await outcome(opened)
        except RpcError as error:
            if not connection.is_open:
                self._attempts.cut()
            if place is not None and is_unknown_incarnation(error):
                place.session.lost()
            elif place is not None and error.execution == Execution.EXECUTED:
                place.session.heard(sent)
            raise
        if place is not None:
            place.session.heard(sent)
        return reply

    def _now(self) -> float:
        return self._retrying._loop.time()

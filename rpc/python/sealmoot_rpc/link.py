"""A connection that is made again whenever it ends.

Calls in flight when a connection ends fail as they would without it: nothing is
sent twice here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .client import Connection
from .connection import ConnectError, Refused, WrongServer
from .limits import (
    LINK_REFUSED_RETRY_MAX,
    LINK_RETRY_FIRST,
    LINK_RETRY_MAX,
    LINK_STANDS,
)
from .status import Code, Execution, RpcError

_LOST = "connection lost"


class Link:
    """One connection to one place, kept up in the background until `close`.

    `dial` connects, always to the holder of the same key. Whoever does not answer
    is tried several times a second, whoever refuses ever less often.
    """

    def __init__(self, dial: Callable[[], Awaitable[Connection]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._connection: Connection | None = None
        self._cause = "not connected yet"
        self._is_closed = False
        # Those before may still answer calls.
        self._connections: set[Connection] = set()
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._keep_up())
        self._task.add_done_callback(lambda _: self._tell())

    @property
    def connection(self) -> Connection | None:
        """The connection, if one stands."""
        connection = self._connection
        return connection if connection is not None and connection.is_open else None

    async def up(self, deadline: float) -> Connection:
        """The connection, as soon as one stands. Raises `RpcError`, `NOT_SENT`: none
        did by `deadline`, or none ever will."""
        while True:
            if self._is_closed:
                raise RpcError(Code.CANCELLED, Execution.NOT_SENT, "the client was closed here")
            connection = self.connection
            if connection is not None:
                return connection
            if self._task.done():
                error = RpcError(Code.INTERNAL, Execution.NOT_SENT, "no connection can be made")
                error.__cause__ = None if self._task.cancelled() else self._task.exception()
                raise error
            left = deadline - self._loop.time()
            if left <= 0:
                message = f"no connection in time: {self._cause}"
                raise RpcError(Code.DEADLINE_EXCEEDED, Execution.NOT_SENT, message)
            await asyncio.wait({self._changed}, timeout=left)

    async def close(self) -> None:
        """Ends every call in flight, closes, and connects no more."""
        self._is_closed = True
        self._task.cancel()
        self._tell()
        if not self._task.done():
            await asyncio.wait({self._task})
        closing = [connection.close() for connection in self._connections]
        await asyncio.gather(*closing)

    async def _keep_up(self) -> None:
        pauses = Pauses()
        while not self._is_closed:
            is_refused, stood = False, 0.0
            try:
                connection = await self._dial()
            except (Refused, WrongServer) as error:
                self._set(None, str(error))
                is_refused = True
            except (ConnectError, OSError) as error:
                self._set(None, str(error))
            else:
                since = self._loop.time()
                self._connections.add(connection)
                self._set(connection, _LOST)
                connection.when_closed(self._connections.discard)
                if self._is_closed:
                    # It came about while it was closed: `close` sees to it.
                    return
                await connection.refused()
                stood = self._loop.time() - since
                self._set(None, _LOST)
            await asyncio.sleep(pauses.next(is_refused, stood, random.random()))

    def _set(self, connection: Connection | None, cause: str) -> None:
        self._connection = connection
        self._cause = cause
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, self._loop.create_future()
        if not changed.done():
            changed.set_result(None)


class Pauses:
    """How long to rest before connecting again."""

    def __init__(self) -> None:
        self._pause = LINK_RETRY_FIRST

    def next(self, is_refused: bool, stood: float, random: float) -> float:
        """The rest in seconds after one side has refused the other, or a connection
        has stood so long (zero: none came about). Between half of what doubles each
        time and the whole, so that a thousand clients that lost one server do not
        come back in step; `random` is uniform over 0 to 1."""
        # A server that lets us in and throws us out would else be asked fifty
        # times a second.
        if stood >= LINK_STANDS:
            self._pause = LINK_RETRY_FIRST
        pause_max = LINK_REFUSED_RETRY_MAX if is_refused else LINK_RETRY_MAX
        # A long rest must not outlast the refusals that it comes from.
        pause = min(self._pause, pause_max)
        self._pause = min(2 * pause, pause_max)
        return pause * (1 + random) / 2

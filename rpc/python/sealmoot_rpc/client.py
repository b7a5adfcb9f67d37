"""A connection to call over, for asyncio."""

from __future__ import annotations

from collections.abc import Callable

from .caller import Caller
from .calls import Opened, outcome
from .connection import Transport, open_transport
from .keys import KeyId, PublicKey
from .limits import Limits
from .payload import Metadata, OnceId
from .retry import Guard
from .tls import Identity


async def connect(
    host: str,
    port: int,
    *,
    identity: Identity,
    server: KeyId | PublicKey,
    statements: bytes = b"",
    limits: Limits | None = None,
) -> Connection:
    """Connects to the holder of the key `server` as the holder of `identity`.

    Raises `ConnectError`. Not a byte of the application is sent before the
    server's key is seen to be the pinned one.
    """
    transport = await open_transport(
        host, port, identity=identity, server=server, statements=statements, limits=limits
    )
    return Connection(transport)


class Connection(Caller):
    """An authenticated connection to one server, which many calls share.

    It sends each call once, whatever its guard: so an at-most-once method needs no
    name here, and its call ends with the connection as any other does.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def is_open(self) -> bool:
        """Whether calls can be made. Those in flight may still end well."""
        return self._transport.is_open

    @property
    def server_key(self) -> PublicKey:
        """The server's key, proved and as pinned."""
        assert self._transport.server_key is not None, "set before it was admitted"
        return self._transport.server_key

    @property
    def server_statements(self) -> bytes:
        """What the server presented beside its key; opaque here, and not verified."""
        return self._transport.server_statements

    async def refused(self) -> None:
        """Waits until no further call can be made."""
        await self._transport.refused()

    def when_closed(self, tell: Callable[[Connection], object]) -> None:
        """Has `tell` called with this connection when it is gone."""
        self._transport.closed.add_done_callback(lambda _: tell(self))

    async def close(self) -> None:
        """Ends every call in flight and closes the connection."""
        await self._transport.close()

    async def __aenter__(self) -> Connection:
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
        """Calls a method by number with bytes: what the typed calls stand on."""
        return await outcome(self.begin(method, body, timeout, metadata))

    def _start(
        self,
        method: int,
        body: bytes,
        timeout: float,
        metadata: Metadata | None,
        *,
        streams: bool = False,
        replies: bool = False,
    ) -> Opened:
        return self.begin(method, body, timeout, metadata, streams=streams, replies=replies)

    def begin(
        self,
        method: int,
        body: bytes,
        timeout: float,
        metadata: Metadata | None,
        *,
        once: OnceId | None = None,
        streams: bool = False,
        replies: bool = False,
    ) -> Opened:
        """Begins a call: what `Retrying` stands on, which alone knows how to name
        one for the server's table of at-most-once calls."""
        call = self._transport.begin(
            method, body, timeout, metadata, once=once, streams=streams, replies=replies
        )
        return Opened(self._transport, call)

"""The same calls for plain code: each function waits for its outcome.

One thread in the background runs the event loop of all blocking connections of
the process. Functions may be called from any other thread; a connection is not
inherited by a forked process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from . import calls, client, retrying, schema
from .keys import KeyId, PublicKey
from .limits import Limits
from .payload import Metadata
from .retry import Guard, RetryPolicy
from .tls import Identity

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Outcome = TypeVar("Outcome")


class _Loop:
    """The event loop in the background, made when it is first needed."""

    _lock = threading.Lock()
    _shared: _Loop | None = None

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="sealmoot-rpc", daemon=True).start()

    @classmethod
    def shared(cls) -> _Loop:
        with cls._lock:
            if cls._shared is None or cls._shared.process != os.getpid():
                # A forked process has the loop, but not its thread.
                cls._shared = cls()
            return cls._shared

    def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Waits for work on the loop; whoever is interrupted cancels it."""
        if self.process != os.getpid():
            work.close()
            raise RuntimeError("a connection is not inherited by a forked process")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def do(self, action: Callable[[], Outcome]) -> Outcome:
        """The same for what does not wait."""

        async def act() -> Outcome:
            return action()

        return self.run(act())


def connect(
    host: str,
    port: int,
    *,
    identity: Identity,
    server: KeyId | PublicKey,
    statements: bytes = b"",
    limits: Limits | None = None,
) -> Connection:
    """As `sealmoot_rpc.connect`."""
    loop = _Loop.shared()
    inner = loop.run(
        client.connect(
            host, port, identity=identity, server=server, statements=statements, limits=limits
        )
    )
    return Connection(loop, inner)


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
    """As `sealmoot_rpc.connect_retrying`."""
    loop = _Loop.shared()
    inner = loop.do(
        lambda: retrying.connect_retrying(
            host,
            port,
            identity=identity,
            server=server,
            statements=statements,
            limits=limits,
            policy=policy,
        )
    )
    return Retrying(loop, inner)


def check_schema(client: Client, timeout: float) -> None:
    """As `sealmoot_rpc.check_schema`."""
    caller = client.connection
    served = caller._loop.run(schema.served_schemas(caller._inner, timeout))
    schema.check(served, client.SERVICE, client.FINGERPRINT)


class Client(Protocol):
    """What generated blocking clients have."""

    SERVICE: str
    FINGERPRINT: bytes

    @property
    def connection(self) -> Caller: ...


class Caller:
    """As `sealmoot_rpc.Caller`."""

    def __init__(self, loop: _Loop, inner: client.Connection | retrying.Retrying) -> None:
        self._loop = loop
        self._inner = inner

    def close(self) -> None:
        self._loop.run(self._inner.close())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        method: int,
        body: bytes,
        *,
        guard: Guard = Guard.UNKNOWN,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> bytes:
        return self._loop.run(
            self._inner.call(method, body, guard=guard, timeout=timeout, metadata=metadata)
        )

    def unary(
        self,
        method: int,
        request: Message,
        reply_class: type[Reply],
        *,
        guard: Guard = Guard.UNKNOWN,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> Reply:
        return self._loop.run(
            self._inner.unary(
                method, request, reply_class, guard=guard, timeout=timeout, metadata=metadata
            )
        )

    def client_stream(
        self,
        method: int,
        requests: Iterable[Message],
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> Reply:
        """`requests` is asked on the caller's thread, and may wait as it likes."""
        stream = self._loop.do(
            lambda: self._inner.request_stream(
                method, reply_class, timeout=timeout, metadata=metadata
            )
        )
        try:
            for request in requests:
                if self._loop.run(_send_unless_answered(stream, request)):
                    break
            else:
                self._loop.run(stream.end())
            return self._loop.run(stream.reply())
        finally:
            self._loop.do(stream.cancel)

    def server_stream(
        self,
        method: int,
        request: Message,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> ReplyStream[Reply]:
        inner = self._loop.do(
            lambda: self._inner.server_stream(
                method, request, reply_class, timeout=timeout, metadata=metadata
            )
        )
        return ReplyStream(self._loop, inner)

    def duplex_stream(
        self,
        method: int,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> DuplexStream[Any, Reply]:
        inner = self._loop.do(
            lambda: self._inner.duplex_stream(
                method, reply_class, timeout=timeout, metadata=metadata
            )
        )
        return DuplexStream(self._loop, inner)


class Connection(Caller):
    """As `sealmoot_rpc.Connection`."""

    def __init__(self, loop: _Loop, inner: client.Connection) -> None:
        super().__init__(loop, inner)
        self._connection = inner

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    @property
    def server_key(self) -> PublicKey:
        return self._connection.server_key

    @property
    def server_statements(self) -> bytes:
        return self._connection.server_statements


class Retrying(Caller):
    """As `sealmoot_rpc.Retrying`."""

    def __init__(self, loop: _Loop, inner: retrying.Retrying) -> None:
        super().__init__(loop, inner)
        self._retrying = inner

    @property
    def is_up(self) -> bool:
        return self._retrying.is_up

    def up(self, timeout: float) -> None:
        self._loop.run(self._retrying.up(timeout))


class ReplyStream(Generic[Reply]):
    """As `sealmoot_rpc.ReplyStream`, with `for` and `with`."""

    def __init__(self, loop: _Loop, inner: calls.ReplyStream[Reply]) -> None:
        self._loop = loop
        self._inner = inner

    def __iter__(self) -> Iterator[Reply]:
        return self

    def __next__(self) -> Reply:
        reply = self.receive()
        if reply is None:
            raise StopIteration
        return reply

    def receive(self) -> Reply | None:
        return self._loop.run(self._inner.receive())

    def cancel(self) -> None:
        self._loop.do(self._inner.cancel)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class DuplexStream(ReplyStream[Reply], Generic[Request, Reply]):
    """As `sealmoot_rpc.DuplexStream`. One thread may send while another receives."""

    def __init__(self, loop: _Loop, inner: calls.DuplexStream[Request, Reply]) -> None:
        super().__init__(loop, inner)
        self._duplex = inner

    def send(self, message: Request) -> None:
        self._loop.run(self._duplex.send(message))

    def end(self) -> None:
        self._loop.run(self._duplex.end())


async def _send_unless_answered(stream: calls.RequestStream[Any, Any], request: Message) -> bool:
    """Whether the server has answered before the end of its requests."""
    if not stream.is_done:
        await stream.send(request)
    return stream.is_done

"""Calls over a connection, for asyncio. Generated clients call what is here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from .connection import Transport, open_transport
from .keys import KeyId, PublicKey
from .limits import Limits
from .multiplexer import Call
from .payload import Metadata
from .status import Code, Execution, RpcError
from .tls import Identity

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


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


class Connection:
    """An authenticated connection to one server, which many calls share.

    Every call has a timeout in seconds. A task that is cancelled while it waits
    cancels its call: the server drops the handler. Failures are `RpcError`, and
    its `execution` tells whether the call may have had an effect.
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

    async def close(self) -> None:
        """Ends every call in flight and closes the connection."""
        await self._transport.close()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self, method: int, body: bytes, *, timeout: float, metadata: Metadata | None = None
    ) -> bytes:
        """Calls a method by number with bytes: what the typed calls stand on."""
        call = self._transport.begin(method, body, timeout, metadata)
        return await _outcome(self._transport, call)

    async def unary(
        self,
        method: int,
        request: Message,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> Reply:
        """One request, one reply."""
        body = await self.call(method, encode(request), timeout=timeout, metadata=metadata)
        return decode(reply_class, body)

    async def client_stream(
        self,
        method: int,
        requests: AsyncIterable[Message] | Iterable[Message],
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> Reply:
        """A stream of requests, one reply. What `requests` raises cancels the call."""
        stream = self.request_stream(method, reply_class, timeout=timeout, metadata=metadata)
        feeding = asyncio.ensure_future(stream.feed(requests))
        outcome = asyncio.ensure_future(stream.reply())
        try:
            # A server may answer before the end; then the rest is not wanted.
            await asyncio.wait({feeding, outcome}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            return await outcome
        finally:
            for task in (feeding, outcome):
                task.cancel()
            await asyncio.gather(feeding, outcome, return_exceptions=True)
            stream.cancel()

    def request_stream(
        self,
        method: int,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> RequestStream[Message, Reply]:
        """A stream of requests, one reply, step by step."""
        call = self._transport.begin(method, b"", timeout, metadata, streams=True)
        return RequestStream(self._transport, call, reply_class)

    def server_stream(
        self,
        method: int,
        request: Message,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> ReplyStream[Reply]:
        """One request, a stream of replies."""
        call = self._transport.begin(method, encode(request), timeout, metadata, replies=True)
        return ReplyStream(self._transport, call, reply_class)

    def duplex_stream(
        self,
        method: int,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> DuplexStream[Any, Reply]:
        """Streams both ways."""
        call = self._transport.begin(
            method, b"", timeout, metadata, streams=True, replies=True
        )
        return DuplexStream(self._transport, call, reply_class)


class _Stream(Generic[Reply]):
    """A call that is not over with its first frame. Left behind, it is cancelled."""

    def __init__(self, transport: Transport, call: Call, reply_class: type[Reply]) -> None:
        self._transport = transport
        self._call = call
        self._reply_class = reply_class

    @property
    def is_done(self) -> bool:
        """Whether the call has ended. Replies may still be there to be taken."""
        return self._call.is_done

    def cancel(self) -> None:
        """Ends the call. Without effect on one that has ended."""
        self._transport.cancel(self._call)

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None and (not call.is_done or call.held_bytes):
            self._transport.cancel_from_anywhere(call)


class _Sending(_Stream[Reply], Generic[Request, Reply]):
    async def send(self, message: Request) -> None:
        """Sends a message, and waits while the server does not want more. Cancelled
        while it waits, it has sent nothing. Raises `RpcError` when the call has
        ended by failure, and does nothing when it has ended well: the server has
        heard enough."""
        call, transport = self._call, self._transport
        body = encode(message)
        if len(body) > transport.limits.message_bytes_max:
            raise ValueError(f"a message of {len(body)} bytes is too long")
        assert call.sender is not None, "opened with a stream"
        if call.sender.is_ending:
            raise ValueError("the stream has been ended")
        while not call.is_done and not call.sender.has_room:
            await transport.changed(call)
        if call.error is not None:
            raise call.error
        if not call.is_done:
            transport.send(call, body)

    async def end(self) -> None:
        """Tells that no further message comes."""
        self._transport.end(self._call)

    async def feed(self, messages: AsyncIterable[Request] | Iterable[Request]) -> None:
        """Sends all of them and ends. What they raise cancels the call."""
        try:
            if isinstance(messages, AsyncIterable):
                async for message in messages:
                    await self.send(message)
            else:
                for message in messages:
                    await self.send(message)
                    # A sequence must not keep the loop from everybody else.
                    await asyncio.sleep(0)
            await self.end()
        except RpcError:
            # Of this call: whoever waits for its outcome is told.
            if not self._call.is_done:
                self.cancel()
                raise
        except BaseException:
            self.cancel()
            raise


class RequestStream(_Sending[Request, Reply]):
    """Many requests, one reply: send, then `reply`."""

    async def reply(self) -> Reply:
        """Waits for the reply. Raises `RpcError`."""
        return decode(self._reply_class, await _outcome(self._transport, self._call))


class ReplyStream(_Stream[Reply]):
    """Replies as they come: `async for`. Leaving `async with` cancels what is left.

    The server sends no more than a window ahead of what is taken.
    """

    def __aiter__(self) -> ReplyStream[Reply]:
        return self

    async def __anext__(self) -> Reply:
        reply = await self.receive()
        if reply is None:
            raise StopAsyncIteration
        return reply

    async def receive(self) -> Reply | None:
        """The next reply, or `None` behind the last. Raises `RpcError`, after the
        replies that came before the failure. Cancelled while it waits, it has
        taken nothing and the call goes on."""
        call, transport = self._call, self._transport
        while (message := transport.take(call)) is None:
            if call.error is not None:
                raise call.error
            if call.is_done:
                return None
            await transport.changed(call)
        try:
            # More of the handler may be still to run.
            return decode(self._reply_class, message, Execution.MAYBE_EXECUTED)
        except RpcError:
            self.cancel()
            raise

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class DuplexStream(_Sending[Request, Reply], ReplyStream[Reply], Generic[Request, Reply]):
    """Messages both ways: `send`, `end`, `async for`."""


async def _outcome(transport: Transport, call: Call) -> bytes:
    """Waits for a call's end; whoever stops waiting cancels it."""
    try:
        while not call.is_done:
            await transport.changed(call)
    except BaseException:
        transport.cancel(call)
        raise
    if call.error is not None:
        raise call.error
    return call.body


def encode(message: Message) -> bytes:
    """A message as a body: the same bytes each time."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def decode(
    reply_class: type[Reply], body: bytes, execution: Execution = Execution.EXECUTED
) -> Reply:
    """A body as a message. A handler that has answered has run."""
    try:
        return reply_class.FromString(body)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, execution, "reply does not decode") from error

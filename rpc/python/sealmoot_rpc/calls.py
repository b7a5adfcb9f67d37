"""Calls that have begun, for asyncio: their streams and their outcome."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterable, Iterable
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from .codec import decode, encode
from .connection import Transport
from .multiplexer import Call
from .status import Code, Execution, RpcError

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A call that has begun, and the connection that it is made over."""

    transport: Transport
    call: Call

    def cancel(self) -> None:
        self.transport.cancel(self.call)


class _Stream(Generic[Reply]):
    """A call that is not over with its first frame. Left behind, it is cancelled.

    It has begun, or a task waits for a connection to begin it over.
    """

    def __init__(
        self, opening: Opened | asyncio.Task[Opened], reply_class: type[Reply]
    ) -> None:
        self._opening = opening
        self._reply_class = reply_class

    @property
    def is_done(self) -> bool:
        """Whether the call has ended. Replies may still be there to be taken."""
        if isinstance(self._opening, Opened):
            return self._opening.call.is_done
        if not self._opening.done():
            return False
        return _is_void(self._opening) or self._opening.result().call.is_done

    def cancel(self) -> None:
        """Ends the call. Without effect on one that has ended."""
        _cancel(self._opening)

    async def _opened(self) -> Opened:
        """The call, as soon as it has begun. Raises `RpcError`. Whoever stops
        waiting leaves it to others."""
        opening = self._opening
        if isinstance(opening, Opened):
            return opening
        if not opening.done():
            await asyncio.wait({opening})
        if opening.cancelled():
            raise RpcError(Code.CANCELLED, Execution.NOT_SENT, "cancelled by the caller")
        return opening.result()

    def __del__(self) -> None:
        # A finalizer runs on whatever thread.
        opening = getattr(self, "_opening", None)
        if isinstance(opening, Opened):
            if not opening.call.is_done or opening.call.held_bytes:
                opening.transport.cancel_from_anywhere(opening.call)
        elif opening is not None:
            try:
                opening.get_loop().call_soon_threadsafe(_cancel, opening)
            except RuntimeError:
                # The loop is closed, and with it every connection.
                pass


def _cancel(opening: Opened | asyncio.Task[Opened]) -> None:
    if isinstance(opening, Opened):
        opening.cancel()
    elif not opening.done():
        opening.cancel()
    elif not _is_void(opening):
        opening.result().cancel()


def _is_void(opening: asyncio.Task[Opened]) -> bool:
    """Whether no call came of it."""
    return opening.cancelled() or opening.exception() is not None


class _Sending(_Stream[Reply], Generic[Request, Reply]):
    async def send(self, message: Request) -> None:
        """Sends a message, and waits while the server does not want more. Cancelled
        while it waits, it has sent nothing. Raises `RpcError` when the call has
        ended by failure, and does nothing when it has ended well: the server has
        heard enough."""
        opened = await self._opened()
        call, transport = opened.call, opened.transport
        body = encode(message)
        if len(body) > transport.limits.message_bytes_max:
            raise ValueError(f"a message of {len(body)} bytes is too long")
        assert call.sender is not None, "opened with a stream"
        if call.sender.is_ending:
            raise ValueError("the stream has been ended")
        while not call.is_done and not transport.has_room(call, len(body)):
            await transport.changed(call)
        if call.error is not None:
            raise call.error
        if not call.is_done:
            transport.send(call, body)

    async def end(self) -> None:
        """Tells that no further message comes."""
        opened = await self._opened()
        opened.transport.end(opened.call)

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
            if not self.is_done:
                self.cancel()
                raise
        except BaseException:
            self.cancel()
            raise


class RequestStream(_Sending[Request, Reply]):
    """Many requests, one reply: send, then `reply`."""

    async def reply(self) -> Reply:
        """Waits for the reply. Raises `RpcError`."""
        return decode(self._reply_class, await outcome(await self._opened()))


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
        opened = await self._opened()
        call, transport = opened.call, opened.transport
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


async def outcome(opened: Opened) -> bytes:
    """Waits for a call's end; whoever stops waiting cancels it."""
    call, transport = opened.call, opened.transport
    try:
        while not call.is_done:
            await transport.changed(call)
    except BaseException:
        transport.cancel(call)
        raise
    if call.error is not None:
        raise call.error
    return call.body

"""What generated clients call over: a `Connection`, each call once, or `Retrying`."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from .calls import DuplexStream, Opened, ReplyStream, RequestStream
from .codec import decode, encode
from .payload import Metadata
from .retry import Guard

Reply = TypeVar("Reply", bound=Message)


class Caller(abc.ABC):
    """Makes calls of each kind.

    Every call has a timeout in seconds. A task that is cancelled while it waits
    cancels its call: the server drops the handler. Failures are `RpcError`, and
    its `execution` tells whether the call may have had an effect.

    Whoever implements it decides whether a call may act twice: it may be sent again
    beyond what its `Guard` allows only while `execution.is_safe_to_retry`.
    """

    @abc.abstractmethod
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

    @abc.abstractmethod
    def _start(
        self,
        method: int,
        body: bytes,
        timeout: float,
        metadata: Metadata | None,
        *,
        streams: bool = False,
        replies: bool = False,
    ) -> Opened | asyncio.Task[Opened]:
        """Starts a call with a stream of requests, of replies, or both: what these
        stand on. It has begun, or a task waits for a connection to begin it over."""

    def request_stream(
        self,
        method: int,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> RequestStream[Message, Reply]:
        """A stream of requests, one reply, step by step."""
        started = self._start(method, b"", timeout, metadata, streams=True)
        return RequestStream(started, reply_class)

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
        started = self._start(method, encode(request), timeout, metadata, replies=True)
        return ReplyStream(started, reply_class)

    def duplex_stream(
        self,
        method: int,
        reply_class: type[Reply],
        *,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> DuplexStream[Any, Reply]:
        """Streams both ways."""
        started = self._start(method, b"", timeout, metadata, streams=True, replies=True)
        return DuplexStream(started, reply_class)

    async def unary(
        self,
        method: int,
        request: Message,
        reply_class: type[Reply],
        *,
        guard: Guard = Guard.UNKNOWN,
        timeout: float,
        metadata: Metadata | None = None,
    ) -> Reply:
        """One request, one reply."""
        body = await self.call(
            method, encode(request), guard=guard, timeout=timeout, metadata=metadata
        )
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

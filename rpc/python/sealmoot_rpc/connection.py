"""One connection: TLS, hellos, and the shell around the multiplexer that reads,
writes and keeps time.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from .frame import Flag, Frame, Input, Kind, Violation, malformed, unexpected
from .keys import KeyId, KeyRejected, PublicKey
from .limits import DURATION_MAX, TRANSMIT_BYTES_TARGET, Limits
from .multiplexer import Call, Client
from .payload import Metadata, OnceId, decode_failure, decode_hello, encode_hello
from .status import Code, Execution, RpcError
from .tls import CertificateRejected, Identity, client_context, is_pinned, server_key_of


class ConnectError(Exception):
    """No connection came about. No call was sent."""


class Unreachable(ConnectError):
    """Nobody answers there, or not in time, or TLS failed."""


class WrongServer(ConnectError):
    """Whoever answers there is not the pinned key. It was sent nothing."""


class ServerViolation(ConnectError):
    """The server broke the protocol; `violation` says how."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation

    def __str__(self) -> str:
        return f"the server broke the protocol: {self.violation}"


class Refused(ConnectError):
    """The server knows who this is and does not serve them."""

    def __init__(self, reason: RpcError) -> None:
        super().__init__(reason)
        self.code = reason.code
        self.message = reason.message
        self.details = reason.details


async def open_transport(
    host: str,
    port: int,
    *,
    identity: Identity,
    server: KeyId | PublicKey,
    statements: bytes = b"",
    limits: Limits | None = None,
) -> Transport:
    """Connects and is admitted. Raises `ConnectError`."""
    limits = limits or Limits()
    hello = encode_hello(statements)
    context = client_context(identity)
    transport = Transport(server, hello, limits)
    try:
        await asyncio.wait_for(_establish(transport, host, port, context, limits), limits.handshake)
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise Unreachable("no connection in time") from error
    except OSError as error:
        raise Unreachable(f"cannot connect: {error}") from error
    finally:
        if not transport.is_open:
            transport.abort()
    return transport


async def _establish(
    transport: Transport, host: str, port: int, context: ssl.SSLContext, limits: Limits
) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: transport,
        host,
        port,
        ssl=context,
        # Servers have no names.
        server_hostname="",
        ssl_handshake_timeout=limits.handshake,
    )
    await transport.admitted


class Transport(asyncio.Protocol):
    """The shell. Callbacks of the event loop and calls of the application both run
    on the loop's thread, so nothing is locked."""

    def __init__(self, server: KeyId | PublicKey, hello: bytes, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._pinned = server
        self._hello = hello
        self._limits = limits
        self._machine = Client(limits)
        self._input = Input()
        self._stream: asyncio.Transport | None = None
        self._receive = self._receive_hello
        self._is_closing = False
        self._is_paused = False
        self._is_flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._spoke = self._loop.time()
        self._pinged: float | None = None
        self._stalled_since: float | None = None
        self._unwritten_bytes = 0
        self.admitted: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._refusal: asyncio.Future[None] = self._loop.create_future()
        self.server_key: PublicKey | None = None
        self.server_statements = b""

    # What the application asks for.

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        is_admitted = self.admitted.done() and not self.admitted.cancelled()
        return is_admitted and not self._is_closing and self._machine.refusal is None

    @property
    def limits(self) -> Limits:
        return self._limits

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
    ) -> Call:
        now = self._loop.time()
        call = self._machine.begin(
            now, method, body, timeout, metadata, once=once, streams=streams, replies=replies
        )
        self._flush_soon()
        return call

    def cancel(self, call: Call) -> None:
        self._machine.cancel(call)
        self._flush_soon()

    def cancel_from_anywhere(self, call: Call) -> None:
        """For finalizers, which run on whatever thread."""
        try:
            self._loop.call_soon_threadsafe(self.cancel, call)
        except RuntimeError:
            # The loop is closed, and with it the connection.
            pass

    def has_room(self, call: Call, message_bytes: int) -> bool:
        return self._machine.has_room(call, message_bytes)

    def send(self, call: Call, message: bytes) -> None:
        self._machine.send(call, message)
        self._flush_soon()

    def end(self, call: Call) -> None:
        self._machine.end(call)
        self._flush_soon()

    def take(self, call: Call) -> bytes | None:
        message = self._machine.take(call)
        if message is not None and self._machine.has_output:
            self._flush_soon()
        return message

    async def changed(self, call: Call) -> None:
        """Waits until something becomes of a call."""
        waiter = self._loop.create_future()
        call.waiters.add(waiter)
        try:
            await waiter
        finally:
            call.waiters.discard(waiter)

    async def refused(self) -> None:
        """Waits until no further call is taken."""
        # Another's wait must not be cancelled with ours.
        await asyncio.shield(self._refusal)

    async def close(self) -> None:
        """Ends every call in flight and closes."""
        if not self._is_closing:
            reason = RpcError(
                Code.CANCELLED, Execution.MAYBE_EXECUTED, "the connection was closed here"
            )
            self._machine.fail_all(reason)
            self._part()
        # Another's wait must not be cancelled with ours.
        await asyncio.shield(self.closed)

    def abort(self) -> None:
        """Ends the connection without a word."""
        self._lose("the connection was closed")
        if self._stream is not None:
            self._stream.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "made by create_connection"
        self._stream = transport
        try:
            self.server_key = server_key_of(transport.get_extra_info("ssl_object"))
            if not is_pinned(self.server_key, self._pinned):
                raise WrongServer(f"the server's key is {self.server_key.key_id}, not the pinned one")
        except (CertificateRejected, KeyRejected) as error:
            self._fail(WrongServer(str(error)))
        except WrongServer as error:
            self._fail(error)
        else:
            transport.set_write_buffer_limits(high=TRANSMIT_BYTES_TARGET)
            self._heard = self._spoke = self._loop.time()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._heard = self._loop.time()
        self._pinged = None
        self._input.feed(data)
        try:
            while not self._is_closing and (frame := self._input.next()) is not None:
                self._receive(frame)
        except Violation as violation:
            self._violated(violation)
        self._flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        reason = "the server closed the connection"
        if error is not None:
            reason = f"the connection broke: {error}"
        self._lose(reason)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._is_paused = True
        self._stalled_since = self._loop.time()
        self._unwritten_bytes = self._buffered_bytes()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._stalled_since = None
        self._flush_soon()

    # From a channel to an admitted peer: the server speaks first.

    def _receive_hello(self, frame: Frame) -> None:
        # A goaway counts only from a server that was admitted, and a hello with
        # the welcome's flag is not the first.
        if frame.kind != Kind.HELLO or frame.flags:
            raise unexpected(frame.kind)
        self.server_statements = decode_hello(frame.payload)
        assert self._stream is not None, "frames come from a stream"
        self._stream.write(Frame(Kind.HELLO, payload=self._hello).encode())
        self._receive = self._receive_welcome

    def _receive_welcome(self, frame: Frame) -> None:
        if frame.kind == Kind.GOAWAY:
            self._fail(Refused(decode_failure(frame.code, frame.payload)))
            return
        if frame.kind != Kind.HELLO or frame.flags != Flag.WELCOME:
            raise unexpected(frame.kind)
        if frame.payload:
            raise malformed("welcome with a payload")
        self._receive = self._machine.receive
        if not self.admitted.done():
            self.admitted.set_result(None)

    # Deciding is the multiplexer's; this moves bytes.

    def _flush_soon(self) -> None:
        """What many callers ask for in one turn of the loop leaves in one write."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._is_closing or self._stream is None:
            self._notify()
            return
        now = self._loop.time()
        self._machine.expire(now)
        while self._machine.has_output and not self._is_paused:
            self._stream.write(self._machine.transmit())
            self._spoke = now
        self._notify()
        if self._machine.refusal is not None and self._machine.calls_in_flight == 0:
            # The server asked to go, and nobody waits for an answer.
            self._part()
            return
        self._keep_time(now)

    def _notify(self) -> None:
        if self._machine.refusal is not None and not self._refusal.done():
            self._refusal.set_result(None)
        for call in self._machine.take_changed():
            for waiter in call.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _keep_time(self, now: float) -> None:
        limits = self._limits
        due = [self._spoke + limits.keepalive_idle]
        if self._stalled_since is not None:
            due = [self._stalled_since + limits.write_stall]
        if self._pinged is None:
            due.append(self._heard + limits.keepalive_idle)
        else:
            due.append(self._pinged + limits.keepalive_timeout)
        deadline = self._machine.next_deadline()
        if deadline is not None:
            due.append(deadline)
        at = min(min(due), now + DURATION_MAX)
        # Moved only to an earlier time: a later one is found when it fires.
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._is_closing:
            return
        now = self._loop.time()
        reason = self._silence(now) if self.admitted.done() else None
        if reason is not None:
            self._lose(reason)
            if self._stream is not None:
                self._stream.abort()
            return
        self._flush()

    def _silence(self, now: float) -> str | None:
        """Shows that we are here, asks a silent server, and says when it has been
        silent for too long."""
        limits = self._limits
        if self._stalled_since is not None:
            unwritten = self._buffered_bytes()
            if unwritten < self._unwritten_bytes:
                self._stalled_since = now
            self._unwritten_bytes = unwritten
            if now >= self._stalled_since + limits.write_stall:
                return "the server takes no bytes"
        if now >= self._heard + limits.keepalive_idle:
            # Not judged by when it was heard: whoever was stopped for a while, and
            # finds on waking that all was silent, asks first.
            if self._pinged is None:
                self._machine.ping()
                self._pinged = self._spoke = now
            elif now >= self._pinged + limits.keepalive_timeout:
                return "the server has fallen silent"
        if self._stalled_since is None and now >= self._spoke + limits.keepalive_idle:
            self._machine.show_life()
            self._spoke = now
        return None

    def _buffered_bytes(self) -> int:
        return self._stream.get_write_buffer_size() if self._stream is not None else 0

    def _violated(self, violation: Violation) -> None:
        """The server broke the protocol: say so, and take nothing further."""
        reason = RpcError(
            Code.INTERNAL,
            Execution.MAYBE_EXECUTED,
            f"the server broke the protocol: {violation}",
        )
        reason.__cause__ = violation
        if not self.admitted.done():
            self._fail(ServerViolation(violation))
            return
        self._machine.fail_all(reason)
        self._machine.goaway(
            RpcError(Code.INVALID_ARGUMENT, Execution.NOT_STARTED, str(violation))
        )
        self._part()

    def _fail(self, error: ConnectError) -> None:
        """No connection comes about. A stranger is told nothing."""
        if not self.admitted.done():
            self.admitted.set_exception(error)
            # Nobody may be waiting for it any more.
            self.admitted.exception()
        self.abort()

    def _part(self) -> None:
        """Writes what is left and closes, but waits for no peer for long."""
        if self._stream is None or self._is_closing:
            return
        while self._machine.has_output and not self._is_paused:
            self._stream.write(self._machine.transmit())
        self._is_closing = True
        self._stop_timer()
        self._stream.close()
        self._loop.call_later(self._limits.linger, self._stream.abort)
        self._notify()

    def _lose(self, reason: str) -> None:
        """The stream is gone."""
        self._is_closing = True
        self._stop_timer()
        self._machine.fail_all(RpcError(Code.UNAVAILABLE, Execution.MAYBE_EXECUTED, reason))
        if not self.admitted.done():
            self.admitted.set_exception(Unreachable(reason))
            # Nobody may be waiting for it any more.
            self.admitted.exception()
        self._notify()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        state: dict[str, Any] = {"is_open": self.is_open, "calls": self._machine.calls_in_flight}
        return f"Transport({state})"

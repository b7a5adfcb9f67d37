"""Many calls over one ordered stream, decided without touching the stream.

The client numbers calls, puts replies together and says of every failure whether
the call may have run. It takes frames and the time and leaves bytes to be sent:
no socket, no clock, no task.

Frames for a call that is not in the table are ignored, because a race explains
them: a reply that crossed a cancel, chunks behind a failure.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

from .frame import TOKEN_BYTES, Flag, Frame, Kind, malformed, unexpected
from .limits import (
    CHUNK_BYTES_MAX,
    STREAM_MESSAGE_OVERHEAD_BYTES,
    TIMEOUT_MS_MAX,
    Limits,
)
from .outgoing import Body, Outgoing
from .payload import (
    CallHead,
    Metadata,
    OnceId,
    decode_credit,
    decode_failure,
    decode_token,
    encode_credit,
    encode_failure,
)
from .status import Code, Execution, RpcError
from .streams import MessageTooLong, Receiver, Sender

_NUMBER_MAX = 2**32 - 1
_TOKEN = bytes(TOKEN_BYTES)


class Call:
    """One call and what became of it."""

    def __init__(self, number: int, deadline: float, streams: bool, replies: bool) -> None:
        self.number = number
        self.deadline = deadline
        self.sender = Sender(number) if streams else None
        self.receiver = Receiver() if replies else None
        self.partial: bytearray | None = None
        """The reply so far, once it has begun in parts."""
        self.has_opened = False
        """The stream of replies has begun."""
        self.is_done = False
        self.body = b""
        """The reply of a call that has ended well and whose replies are no stream."""
        self.error: RpcError | None = None
        self.waiters: set[Any] = set()
        """The shell's: who wants to know when something changes."""

    @property
    def held_bytes(self) -> int:
        of_receiver = self.receiver.held_bytes if self.receiver else 0
        return of_receiver + len(self.partial or b"")


class Client:
    """The table of calls in flight."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls: dict[int, Call] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._outgoing = Outgoing()
        self._call_last = 0
        self._held_bytes = 0
        self._changed: dict[int, Call] = {}
        self._awaiting_room: dict[int, Call] = {}
        """Those whose streams wait for others' messages to leave."""
        self.refusal: RpcError | None = None
        """Why no further call is taken, when none is."""

    @property
    def calls_in_flight(self) -> int:
        return len(self._calls)

    @property
    def has_output(self) -> bool:
        return not self._outgoing.is_empty

    @property
    def held_bytes(self) -> int:
        """What is kept of replies."""
        return self._held_bytes

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._outgoing.queued_bytes

    def begin(
        self,
        now: float,
        method: int,
        body: bytes,
        timeout: float,
        metadata: Metadata | None = None,
        *,
        once: OnceId | None = None,
        streams: bool = False,
        replies: bool = False,
    ) -> Call:
        """Queues a call. Raises `RpcError`, which then is always `NOT_SENT`, and
        `ValueError` for arguments that make no call."""
        if not math.isfinite(timeout):
            raise ValueError("a call needs a finite timeout")
        self._refuse_unless_room(timeout, body)
        timeout_ms = min(math.ceil(timeout * 1000), TIMEOUT_MS_MAX)
        head = CallHead(timeout_ms, method, once, metadata or None)
        encoded = head.encode()
        flags = head.flags
        flags |= Flag.STREAM if streams else Flag.NONE
        flags |= Flag.REPLIES if replies else Flag.NONE
        call = Call(self._next_call(), now + min(timeout, timeout_ms / 1000), streams, replies)
        if len(body) <= CHUNK_BYTES_MAX:
            self._outgoing.open_call(Frame(Kind.CALL, flags, 0, call.number, encoded + body))
        else:
            self._outgoing.push_body(call.number, Body(call.number, flags, encoded, body))
        if call.sender is not None:
            self._outgoing.push_stream(call.number, call.sender)
        self._calls[call.number] = call
        heapq.heappush(self._deadlines, (call.deadline, call.number))
        return call

    def has_room(self, call: Call, message_bytes: int) -> bool:
        """Whether a message of a call's stream may be queued. When not, the call
        is among those of `take_changed` when to ask again."""
        assert call.sender is not None, "opened with a stream"
        if not call.sender.has_room:
            return False
        stream_bytes_max = self._limits.outgoing_bytes_max // 2
        if self._outgoing.has_room(call.sender, message_bytes, stream_bytes_max):
            return True
        self._awaiting_room[call.number] = call
        return False

    def send(self, call: Call, message: bytes) -> None:
        """Queues a message of a call's stream, for which there must be room."""
        assert call.sender is not None and call.sender.has_room, "the shell waits for room"
        call.sender.push(message)
        self._outgoing.push_stream(call.number, call.sender)

    def end(self, call: Call) -> None:
        """Nothing follows in a call's stream."""
        if call.sender is not None and not call.is_done:
            call.sender.end()
            self._outgoing.push_stream(call.number, call.sender)

    def take(self, call: Call) -> bytes | None:
        """The next message of a stream of replies, when one is there. The server
        may then send more."""
        assert call.receiver is not None, "the call has a stream of replies"
        before = call.receiver.held_bytes
        message = call.receiver.take()
        if message is not None:
            self._held_bytes -= before - call.receiver.held_bytes
            self._give_credit(call)
        return message

    def cancel(self, call: Call) -> None:
        """The caller no longer wants an answer, nor the messages that are there."""
        if call.number in self._calls and not call.is_done:
            execution = self._tell_cancelled(call)
            self._finish(call, RpcError(Code.CANCELLED, execution, "cancelled by the caller"))
        self._discard(call)

    def receive(self, frame: Frame) -> None:
        """Takes a frame from the server. Raises `Violation`."""
        match frame.kind:
            case Kind.REPLY:
                self._receive_reply(frame)
            case Kind.CHUNK | Kind.END:
                self._receive_part(frame)
            case Kind.CREDIT:
                self._receive_credit(frame)
            case Kind.PING:
                self._outgoing.set_pong(decode_token(frame.payload))
            case Kind.PONG:
                pass
            case Kind.GOAWAY:
                refusal = decode_failure(frame.code, frame.payload)
                self.refusal = self.refusal or refusal
            case _:
                raise unexpected(frame.kind)

    def expire(self, now: float) -> None:
        """Ends the calls whose time is over."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            call = self._calls.get(number)
            if call is None or call.deadline > now:
                continue
            execution = self._tell_cancelled(call)
            error = RpcError(Code.DEADLINE_EXCEEDED, execution, "no reply in time")
            self._finish(call, error)
            self._discard(call)

    def fail_all(self, reason: RpcError) -> None:
        """The connection is over: every call ends, and so does every later one."""
        self.refusal = self.refusal or reason
        for call in list(self._calls.values()):
            unsent = self._outgoing.is_unsent(call.number)
            execution = Execution.NOT_SENT if unsent else Execution.MAYBE_EXECUTED
            error = self.refusal.with_execution(execution)
            error.__cause__ = self.refusal.__cause__
            self._finish(call, error)
        # A call just reported as not sent must not leave any more.
        self._outgoing.clear()

    def show_life(self) -> None:
        """Gives the server a sign of life."""
        self._outgoing.show_life(_TOKEN)

    def ping(self) -> None:
        """Asks the server for one."""
        self._outgoing.push(Frame(Kind.PING, payload=_TOKEN))

    def goaway(self, error: RpcError) -> None:
        """Tells the server why the connection ends."""
        self._outgoing.push(Frame(Kind.GOAWAY, code=error.code, payload=encode_failure(error)))

    def transmit(self) -> bytes:
        """The next write's worth of frames."""
        output, moved = self._outgoing.transmit()
        for number in moved:
            self._changed[number] = self._calls[number]
        return output

    def next_deadline(self) -> float | None:
        """When the next call ends by itself."""
        while self._deadlines and self._deadlines[0][1] not in self._calls:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def take_changed(self) -> list[Call]:
        """The calls of which somebody may want to know that they moved on."""
        if self._outgoing.take_room_made():
            self._changed.update(self._awaiting_room)
            self._awaiting_room.clear()
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def _refuse_unless_room(self, timeout: float, body: bytes) -> None:
        if self.refusal is not None:
            error = self.refusal.with_execution(Execution.NOT_SENT)
            error.__cause__ = self.refusal.__cause__
            raise error
        limits = self._limits
        room = limits.outgoing_bytes_max - self._outgoing.queued_bytes
        for is_refused, code, message in (
            (timeout <= 0, Code.DEADLINE_EXCEEDED, "no time left to call"),
            (len(body) > limits.message_bytes_max, Code.INVALID_ARGUMENT, "request is too large"),
            (
                len(self._calls) >= limits.calls_in_flight_max,
                Code.RESOURCE_EXHAUSTED,
                "too many calls in flight",
            ),
            (
                room <= 0 or len(body) > room,
                Code.RESOURCE_EXHAUSTED,
                "too many bytes wait to be sent",
            ),
        ):
            if is_refused:
                raise RpcError(code, Execution.NOT_SENT, message)

    def _receive_reply(self, frame: Frame) -> None:
        opens = Flag.STREAM in frame.flags
        if frame.code != 0 and frame.flags:
            raise malformed("failure in more than one frame")
        if opens and Flag.MORE in frame.flags:
            raise malformed("a stream has no body that goes on")
        if opens and frame.payload:
            raise malformed("a stream begins with a body")
        call = self._calls.get(frame.call)
        if call is None:
            return
        if call.partial is not None:
            raise malformed("second reply to one call")
        if frame.code != 0:
            self._end_by_reply(call, decode_failure(frame.code, frame.payload))
        elif opens != (call.receiver is not None):
            raise malformed("a reply of the wrong kind")
        elif opens:
            if call.has_opened:
                raise malformed("second reply to one call")
            call.has_opened = True
        elif Flag.MORE in frame.flags:
            call.partial = bytearray()
            self._receive_body(call, frame)
        else:
            call.body = frame.payload
            self._end_by_reply(call, None)

    def _receive_part(self, frame: Frame) -> None:
        call = self._calls.get(frame.call)
        if call is None:
            return
        if call.receiver is None:
            if Flag.LAST in frame.flags:
                raise malformed("end of a message where there is no stream")
            if call.partial is None:
                raise malformed("part of a reply that has not begun")
            self._receive_body(call, frame)
        elif not call.has_opened:
            raise malformed("part of a reply that has not begun")
        elif frame.kind == Kind.CHUNK:
            self._receive_message(call, frame)
        else:
            if frame.payload:
                raise malformed("end of a stream with a payload")
            call.receiver.end()
            self._end_by_reply(call, None)

    def _receive_body(self, call: Call, frame: Frame) -> None:
        assert call.partial is not None, "set by whoever calls"
        if not frame.payload:
            raise malformed("empty part of a body")
        length = len(call.partial) + len(frame.payload)
        if length > self._limits.message_bytes_max:
            self._give_up(call, Execution.EXECUTED, "reply is too large")
        elif self._held_bytes + len(frame.payload) > self._limits.incoming_bytes_max:
            self._give_up(
                call, Execution.EXECUTED, "too many bytes of replies wait for their end"
            )
        else:
            call.partial += frame.payload
            self._held_bytes += len(frame.payload)
            if frame.kind == Kind.END:
                call.body = bytes(call.partial)
                self._end_by_reply(call, None)

    def _receive_message(self, call: Call, frame: Frame) -> None:
        assert call.receiver is not None, "asked by whoever calls"
        cost = len(frame.payload) + STREAM_MESSAGE_OVERHEAD_BYTES
        if self._held_bytes + cost > self._limits.incoming_bytes_max:
            self._give_up(
                call, Execution.MAYBE_EXECUTED, "too many bytes of replies wait to be taken"
            )
            return
        before = call.receiver.held_bytes
        try:
            call.receiver.receive(frame, self._limits.message_bytes_max)
        except MessageTooLong:
            self._give_up(call, Execution.MAYBE_EXECUTED, "reply is too large")
            return
        self._held_bytes += call.receiver.held_bytes - before
        self._give_credit(call)
        self._changed[call.number] = call

    def _receive_credit(self, frame: Frame) -> None:
        amount = decode_credit(frame.payload)
        call = self._calls.get(frame.call)
        if call is None:
            return
        if call.sender is None:
            raise malformed("credit where there is no stream")
        call.sender.add_credit(amount)
        self._outgoing.push_stream(call.number, call.sender)
        if self._awaiting_room.pop(call.number, None) is not None:
            # With the credit its message may need no room that others take.
            self._changed[call.number] = call

    def _give_credit(self, call: Call) -> None:
        """Nothing is given to a call that has ended: the server knows it no more."""
        assert call.receiver is not None, "asked by whoever calls"
        amount = 0 if call.is_done else call.receiver.credit_to_give()
        if amount:
            frame = Frame(Kind.CREDIT, call=call.number, payload=encode_credit(amount))
            self._outgoing.push(frame)

    def _give_up(self, call: Call, execution: Execution, message: str) -> None:
        """Whose reply has begun has run; whose stream has begun is still at work."""
        self._tell_cancelled(call)
        self._finish(call, RpcError(Code.RESOURCE_EXHAUSTED, execution, message))
        self._discard(call)

    def _end_by_reply(self, call: Call, error: RpcError | None) -> None:
        """A reply can overtake the request's own chunks: the rest of a request
        that is answered need not be sent."""
        if self._outgoing.withdraw(call.number):
            self._outgoing.push(Frame(Kind.CANCEL, call=call.number))
        self._finish(call, error)

    def _tell_cancelled(self, call: Call) -> Execution:
        """Withdraws or cancels a call, and says whether it can have run."""
        is_unsent = self._outgoing.is_unsent(call.number)
        self._outgoing.withdraw(call.number)
        if is_unsent:
            return Execution.NOT_SENT
        self._outgoing.push(Frame(Kind.CANCEL, call=call.number))
        return Execution.MAYBE_EXECUTED

    def _finish(self, call: Call, error: RpcError | None) -> None:
        """Takes a call out of the table. Whole messages stay for the caller."""
        del self._calls[call.number]
        self._awaiting_room.pop(call.number, None)
        call.is_done = True
        call.error = error
        before = call.held_bytes
        call.partial = None
        if call.receiver is not None:
            call.receiver.discard_partial()
        self._held_bytes -= before - call.held_bytes
        self._changed[call.number] = call
        if len(self._deadlines) > 2 * len(self._calls) + 64:
            # Deadlines of calls that ended earlier must not pile up.
            self._deadlines = [(other.deadline, number) for number, other in self._calls.items()]
            heapq.heapify(self._deadlines)

    def _discard(self, call: Call) -> None:
        if call.receiver is not None:
            self._held_bytes -= call.receiver.held_bytes
            call.receiver.discard()

    def _next_call(self) -> int:
        """Numbers count up and wrap after four thousand million calls, so a late
        reply to a cancelled call cannot be taken for the answer to another."""
        while True:
            self._call_last = self._call_last % _NUMBER_MAX + 1
            if self._call_last not in self._calls:
                return self._call_last

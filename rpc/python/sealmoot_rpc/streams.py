"""One direction of a stream of messages: credit, cutting and putting together.

Both are values without I/O. A sender never exceeds the credit that it was given,
and a receiver ends the connection of one that does: that is what bounds memory.
"""

from __future__ import annotations

from collections import deque

from .frame import HEADER_BYTES, Flag, Frame, Kind, Rule, Violation, malformed
from .limits import (
    CHUNK_BYTES_MAX,
    STREAM_CREDIT_MAX,
    STREAM_MESSAGE_OVERHEAD_BYTES,
    STREAM_WINDOW_BYTES,
)


def cost_of(frame: Frame) -> int:
    """Credit that a chunk takes: with its header, so that empty messages are
    bounded too."""
    return HEADER_BYTES + len(frame.payload)


def cost_of_message(message_bytes: int) -> int:
    """What a message takes in credit: its bytes and the headers of its chunks."""
    chunks = max(1, -(-message_bytes // CHUNK_BYTES_MAX))
    return message_bytes + HEADER_BYTES * chunks


class Sender:
    """Messages that leave as credit allows."""

    def __init__(self, call: int) -> None:
        self._call = call
        self._credit = STREAM_WINDOW_BYTES
        self._messages: deque[bytes] = deque()
        self._offset = 0
        self._is_ending = False
        self.queued_bytes = 0
        """What waits, as it will cost: with the headers of its chunks."""
        self.has_ended = False
        """The end has been handed out."""

    @property
    def has_room(self) -> bool:
        """Whether the next message may be queued: only one waits."""
        return not self._messages

    @property
    def is_ending(self) -> bool:
        """Whether no further message may be queued."""
        return self._is_ending

    def affords(self, message_bytes: int) -> bool:
        """Whether a message could leave whole without further credit."""
        credit = min(self._credit, STREAM_WINDOW_BYTES)
        return self.queued_bytes + cost_of_message(message_bytes) <= credit

    def push(self, message: bytes) -> None:
        assert not self._is_ending, "nothing follows the end"
        self._messages.append(message)
        self.queued_bytes += cost_of_message(len(message))

    def end(self) -> None:
        self._is_ending = True

    def add_credit(self, amount: int) -> None:
        if self._credit + amount > STREAM_CREDIT_MAX:
            raise Violation(Rule.CREDIT_REFUSED, "more credit than a stream can have")
        self._credit += amount

    def withdraw(self) -> None:
        """Forgets what has not left."""
        self._messages.clear()
        self._offset = 0
        self.queued_bytes = 0

    @property
    def has_output(self) -> bool:
        """Whether `next_frame` would give one."""
        if not self._messages:
            return self._is_ending and not self.has_ended
        chunk = min(len(self._messages[0]) - self._offset, CHUNK_BYTES_MAX)
        return HEADER_BYTES + chunk <= self._credit

    def next_frame(self) -> Frame | None:
        """The next frame that credit allows. All chunks of a message but the
        last are full, so one that credit has no room for waits."""
        if not self.has_output:
            return None
        if not self._messages:
            self.has_ended = True
            return Frame(Kind.END, call=self._call)
        message = self._messages[0]
        end = min(len(message), self._offset + CHUNK_BYTES_MAX)
        payload = message[self._offset : end]
        is_last = end == len(message)
        if is_last:
            self._messages.popleft()
        self._offset = 0 if is_last else end
        frame = Frame(Kind.CHUNK, Flag.LAST if is_last else Flag.NONE, call=self._call, payload=payload)
        self._credit -= cost_of(frame)
        self.queued_bytes -= cost_of(frame)
        return frame


class MessageTooLong(Exception):
    """A message beyond this side's limit. The call ends, the connection goes on."""


class Receiver:
    """Messages that arrive within the credit given."""

    def __init__(self) -> None:
        self._credit = STREAM_WINDOW_BYTES
        self._partial: bytearray | None = None
        self._messages: deque[tuple[bytes, int]] = deque()
        self._due = 0
        self.held_bytes = 0
        """Of the unfinished message and of those not taken, with what each takes
        beside its bytes."""

    @property
    def has_messages(self) -> bool:
        return bool(self._messages)

    def receive(self, frame: Frame, message_bytes_max: int) -> None:
        """Takes a chunk. Raises `Violation` or `MessageTooLong`."""
        cost = cost_of(frame)
        if cost > self._credit:
            raise Violation(Rule.CREDIT_EXCEEDED, "a stream's credit is exceeded")
        self._credit -= cost
        is_last = bool(frame.flags & Flag.LAST)
        if not frame.payload and (not is_last or self._partial is not None):
            raise malformed("empty part of a message")
        begun_bytes = len(self._partial) if self._partial is not None else 0
        if begun_bytes + len(frame.payload) > message_bytes_max:
            raise MessageTooLong
        if self._partial is None:
            self._partial = bytearray()
            self.held_bytes += STREAM_MESSAGE_OVERHEAD_BYTES
        self._partial += frame.payload
        self.held_bytes += len(frame.payload)
        if is_last:
            # Due when the message is taken: this is what slows a server down.
            self._messages.append((bytes(self._partial), cost))
            self._partial = None
        else:
            # Due at once: the message could else not become whole. It is bounded
            # by its greatest length.
            self._due += cost

    def end(self) -> None:
        """The stream ends here. Raises `Violation` inside a message."""
        if self._partial is not None:
            raise malformed("a stream ends inside a message")

    def take(self) -> bytes | None:
        """The next message."""
        if not self._messages:
            return None
        message, cost = self._messages.popleft()
        self.held_bytes -= len(message) + STREAM_MESSAGE_OVERHEAD_BYTES
        self._due += cost
        return message

    def discard_partial(self) -> None:
        """The rest of the unfinished message will not come."""
        if self._partial is not None:
            self.held_bytes -= len(self._partial) + STREAM_MESSAGE_OVERHEAD_BYTES
            self._partial = None

    def discard(self) -> None:
        """Nobody wants the messages any more."""
        self.discard_partial()
        self._messages.clear()
        self.held_bytes = 0

    def credit_to_give(self) -> int:
        """What is due, once it is half a window: with less than half a window left
        a sender could else wait for ever on a full chunk."""
        if self._due < STREAM_WINDOW_BYTES // 2:
            return 0
        amount, self._due = self._due, 0
        self._credit += amount
        return amount

"""What waits to be written, and in which order it leaves.

Small frames leave first and together. Bulk, bodies and streams alike, waits in a
ring and gives one frame each a round, so that a small call waits for one write's
worth of bulk and never for a whole message.
"""

from __future__ import annotations

from collections import deque

from .frame import HEADER_BYTES, Flag, Frame, Kind
from .limits import CHUNK_BYTES_MAX, TRANSMIT_BYTES_TARGET
from .streams import Sender


class Body:
    """A request that does not fit its first frame."""

    def __init__(self, call: int, flags: Flag, head: bytes, body: bytes) -> None:
        self._call = call
        self._flags = flags
        self._head = head
        self._body = body
        self._offset = 0

    @property
    def has_begun(self) -> bool:
        return self._offset > 0

    @property
    def queued_bytes(self) -> int:
        return HEADER_BYTES + len(self._body) - self._offset

    @property
    def has_output(self) -> bool:
        return self._offset < len(self._body)

    def next_frame(self) -> Frame | None:
        payload = self._body[self._offset : self._offset + CHUNK_BYTES_MAX]
        is_first = self._offset == 0
        self._offset += len(payload)
        if is_first:
            return Frame(Kind.CALL, self._flags | Flag.MORE, 0, self._call, self._head + payload)
        kind = Kind.CHUNK if self.has_output else Kind.END
        return Frame(kind, call=self._call, payload=payload)


class Outgoing:
    """The queue of one connection. Whoever adds to it bounds it by
    `queued_bytes`."""

    def __init__(self) -> None:
        # The opening frames of calls by their number, so that they can be taken
        # back; other frames by a number below zero. A dict keeps their order.
        self._ready: dict[int, bytes] = {}
        self._ready_bytes = 0
        self._anonymous = 0
        self._bulk: dict[int, Body | Sender] = {}
        # What was counted of each at its last change, and the sums of it.
        self._counted: dict[int, int] = {}
        self._bulk_bytes = 0
        self._stream_bytes = 0
        self._has_made_room = False
        self._ring: deque[int] = deque()
        self._pong: bytes | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing can leave. A stream without credit does not count."""
        return not self._ready and not self._ring and self._pong is None

    @property
    def queued_bytes(self) -> int:
        return self._ready_bytes + self._bulk_bytes

    def has_room(self, sender: Sender, message_bytes: int, stream_bytes_max: int) -> bool:
        """Whether a stream may queue a message while the messages of all streams
        may take `stream_bytes_max`. What can leave by the reading of the server
        alone waits for no other stream: else two of them could wait for each other."""
        return (
            sender.affords(message_bytes)
            or self._stream_bytes + message_bytes <= stream_bytes_max
            or self._stream_bytes == 0
        )

    def take_room_made(self) -> bool:
        """Whether less of streams waits than when this was last asked."""
        has_made_room, self._has_made_room = self._has_made_room, False
        return has_made_room

    def push(self, frame: Frame) -> None:
        """Queues a frame that is never taken back."""
        self._anonymous -= 1
        self._put(self._anonymous, frame)

    def open_call(self, frame: Frame) -> None:
        """Queues the frame that begins a call."""
        self._put(frame.call, frame)

    def push_body(self, call: int, body: Body) -> None:
        """Queues a call that does not fit one frame."""
        self._bulk[call] = body
        self._count(call, body)
        self._ring.append(call)

    def push_stream(self, call: int, sender: Sender) -> None:
        """Lets a stream take part. To be said again whenever it got a message or
        credit."""
        self._bulk[call] = sender
        self._count(call, sender)
        if sender.has_output and call not in self._ring:
            self._ring.append(call)

    def set_pong(self, token: bytes) -> None:
        """Answers a ping. Only the newest answer waits: a peer that sends pings
        and reads nothing must not grow this queue."""
        self._pong = token

    def show_life(self, token: bytes) -> None:
        """Tells the peer unasked that we are here."""
        if self._pong is None:
            self._pong = token

    def is_unsent(self, call: int) -> bool:
        """Whether no byte of a call has left."""
        bulk = self._bulk.get(call)
        return call in self._ready or (isinstance(bulk, Body) and not bulk.has_begun)

    def withdraw(self, call: int) -> bool:
        """Takes back what has not left of a call, and says whether the server
        still waits for more of it."""
        opening = self._ready.pop(call, None)
        if opening is not None:
            self._ready_bytes -= len(opening)
        bulk = self._bulk.pop(call, None)
        if call in self._ring:
            self._ring.remove(call)
        if bulk is None:
            return False
        self._forget(call, bulk)
        if isinstance(bulk, Sender):
            bulk.withdraw()
            return opening is None and not bulk.has_ended
        return bulk.has_begun

    def clear(self) -> None:
        """Forgets everything that has not left."""
        for call in list(self._bulk):
            self.withdraw(call)
        self._ready.clear()
        self._ready_bytes = 0
        self._pong = None

    def transmit(self) -> tuple[bytes, set[int]]:
        """The next write's worth of frames, and the calls whose bulk moved on."""
        output = bytearray()
        moved: set[int] = set()
        if self._pong is not None:
            output += Frame(Kind.PONG, payload=self._pong).encode()
            self._pong = None
        for encoded in self._ready.values():
            output += encoded
        self._ready.clear()
        self._ready_bytes = 0
        while self._ring and len(output) < TRANSMIT_BYTES_TARGET:
            call = self._ring.popleft()
            bulk = self._bulk[call]
            frame = bulk.next_frame()
            if frame is not None:
                output += frame.encode()
                moved.add(call)
                self._count(call, bulk)
            if bulk.has_output:
                self._ring.append(call)
            elif isinstance(bulk, Body):
                del self._bulk[call]
                self._forget(call, bulk)
        return bytes(output), moved

    def _count(self, call: int, bulk: Body | Sender) -> None:
        """Keeps the sums after a change."""
        self._add(call, bulk, bulk.queued_bytes - self._counted.get(call, 0))

    def _forget(self, call: int, bulk: Body | Sender) -> None:
        self._add(call, bulk, -self._counted.get(call, 0))
        self._counted.pop(call, None)

    def _add(self, call: int, bulk: Body | Sender, change: int) -> None:
        self._counted[call] = self._counted.get(call, 0) + change
        self._bulk_bytes += change
        if isinstance(bulk, Sender):
            self._stream_bytes += change
            self._has_made_room |= change < 0

    def _put(self, key: int, frame: Frame) -> None:
        encoded = frame.encode()
        self._ready[key] = encoded
        self._ready_bytes += len(encoded)

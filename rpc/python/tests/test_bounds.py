"""What streams may take on this side, as values: no socket and no clock."""

import unittest

from sealmoot_rpc.frame import Flag, Kind
from sealmoot_rpc.limits import (
    CHUNK_BYTES_MAX,
    STREAM_MESSAGE_OVERHEAD_BYTES,
    STREAM_WINDOW_BYTES,
)
from sealmoot_rpc.status import Code, Execution

from .test_multiplexer import FULL, begin, chunk, credit, end, machine, reply, sent

LAST = Flag.LAST


def reading(**fields):
    """A client, and a call whose stream of replies has begun."""
    client = machine(**fields)
    call = begin(client, replies=True)
    sent(client)
    client.receive(reply(call, flags=Flag.STREAM))
    return client, call


def writing(client):
    """A call with a stream of requests that has spent its credit."""
    call = begin(client, b"", streams=True)
    client.send(call, bytes(STREAM_WINDOW_BYTES - 4 * 12))
    sent(client)
    return call


class Incoming(unittest.TestCase):
    def test_small_messages_beyond_the_bound_end_their_call_alone(self):
        most = 10
        client, call = reading(incoming_bytes_max=most * STREAM_MESSAGE_OVERHEAD_BYTES)
        other = begin(client)
        sent(client)
        for _ in range(most):
            client.receive(chunk(call, b"", LAST))
        self.assertFalse(call.is_done)
        client.receive(chunk(call, b"", LAST))
        self.assertEqual(call.error.code, Code.RESOURCE_EXHAUSTED)
        self.assertEqual(client.held_bytes, 0)
        client.receive(reply(other, b"answer"))
        self.assertEqual(other.body, b"answer")

    def test_a_message_for_which_the_overhead_has_no_room_ends_its_call(self):
        client, call = reading(incoming_bytes_max=100 + STREAM_MESSAGE_OVERHEAD_BYTES - 1)
        client.receive(chunk(call, bytes(100), LAST))
        self.assertEqual(call.error.code, Code.RESOURCE_EXHAUSTED)

    def test_each_message_counts_for_more_than_its_bytes_until_it_is_taken(self):
        client, call = reading()
        for count in range(1, 4):
            client.receive(chunk(call, b"abc", LAST))
            self.assertEqual(client.held_bytes, count * (3 + STREAM_MESSAGE_OVERHEAD_BYTES))
        client.take(call)
        self.assertEqual(client.held_bytes, 2 * (3 + STREAM_MESSAGE_OVERHEAD_BYTES))
        client.receive(end(call))
        client.take(call)
        client.take(call)
        self.assertEqual(client.held_bytes, 0)

    def test_a_message_in_parts_counts_once(self):
        client, call = reading()
        client.receive(chunk(call, FULL))
        client.receive(chunk(call, FULL))
        client.receive(chunk(call, b"x", LAST))
        expected = 2 * CHUNK_BYTES_MAX + 1 + STREAM_MESSAGE_OVERHEAD_BYTES
        self.assertEqual(client.held_bytes, expected)
        client.receive(chunk(call, FULL))
        client.receive(reply(call, b"\x03\x00\x00\x00\x00\x00\x00", code=10))
        self.assertEqual(client.held_bytes, expected, "what was not whole is forgotten")
        client.take(call)
        self.assertEqual(client.held_bytes, 0)

    def test_a_stream_that_is_given_up_may_have_executed(self):
        fits_one = CHUNK_BYTES_MAX + STREAM_MESSAGE_OVERHEAD_BYTES
        for fields in ({"message_bytes_max": CHUNK_BYTES_MAX}, {"incoming_bytes_max": fits_one}):
            with self.subTest(fields):
                client, call = reading(**fields)
                client.receive(chunk(call, FULL))
                client.receive(chunk(call, b"x", LAST))
                self.assertEqual(call.error.code, Code.RESOURCE_EXHAUSTED)
                # Its handler is dropped at work: it has not come to its end.
                self.assertEqual(call.error.execution, Execution.MAYBE_EXECUTED)
                self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])


class Outgoing(unittest.TestCase):
    def test_streams_without_credit_fill_half_of_what_may_wait(self):
        client = machine(outgoing_bytes_max=100_000)
        first, second, third = (writing(client) for _ in range(3))
        self.assertTrue(client.has_room(first, 49_000))
        client.send(first, bytes(49_000))
        self.assertFalse(client.has_room(second, 1_000), "beyond half")
        self.assertTrue(client.has_room(second, 900))
        client.send(second, bytes(900))
        self.assertFalse(client.has_room(third, 100))
        # The other half is for calls.
        begin(client, body=bytes(40_000))

    def test_one_message_waits_even_if_it_is_more_than_half(self):
        client = machine(outgoing_bytes_max=100_000)
        first, second = writing(client), writing(client)
        self.assertTrue(client.has_room(first, 80_000))
        client.send(first, bytes(80_000))
        self.assertFalse(client.has_room(second, 1))

    def test_a_stream_with_credit_waits_for_no_other(self):
        client = machine(outgoing_bytes_max=100_000)
        blocked, free = writing(client), begin(client, b"", streams=True)
        client.send(blocked, bytes(80_000))
        sent(client)
        self.assertTrue(client.has_room(free, STREAM_WINDOW_BYTES - 4 * 12))
        self.assertFalse(client.has_room(free, STREAM_WINDOW_BYTES - 4 * 12 + 1))

    def asks_in_vain(self, client, call):
        client.take_changed()
        self.assertFalse(client.has_room(call, 1))
        self.assertEqual(client.take_changed(), [])

    def test_who_waits_for_room_is_told_when_messages_leave(self):
        client = machine(outgoing_bytes_max=100_000)
        first, second = writing(client), writing(client)
        client.send(first, bytes(80_000))
        self.asks_in_vain(client, second)
        client.receive(credit(first, 100_000))
        sent(client)
        self.assertIn(second, client.take_changed())
        self.assertTrue(client.has_room(second, 1))

    def test_who_waits_for_room_is_told_when_a_stream_is_withdrawn(self):
        for withdraw in (
            lambda client, call: client.cancel(call),
            lambda client, call: client.receive(reply(call, b"enough")),
            lambda client, call: client.expire(call.deadline),
        ):
            client = machine(outgoing_bytes_max=100_000)
            first = writing(client)
            second = begin(client, b"", streams=True, timeout=9.0)
            client.send(second, bytes(STREAM_WINDOW_BYTES - 4 * 12))
            sent(client)
            client.send(first, bytes(80_000))
            self.asks_in_vain(client, second)
            withdraw(client, first)
            self.assertIn(second, client.take_changed())
            self.assertTrue(client.has_room(second, 1))

    def test_who_waits_for_room_is_told_of_its_own_credit(self):
        client = machine(outgoing_bytes_max=100_000)
        first, second = writing(client), writing(client)
        client.send(first, bytes(80_000))
        self.asks_in_vain(client, second)
        client.receive(credit(second, 100))
        self.assertIn(second, client.take_changed())
        self.assertTrue(client.has_room(second, 88))
        self.assertFalse(client.has_room(second, 89))

    def test_what_waits_is_counted_until_it_has_left(self):
        client = machine(outgoing_bytes_max=1_000_000)
        calls = [writing(client) for _ in range(3)]
        for call in calls:
            client.send(call, bytes(40_000))
        bulk = begin(client, body=bytes(200_000))
        self.assertEqual(client.queued_bytes, 3 * (40_000 + 3 * 12) + 200_000 + 12)
        client.receive(credit(calls[0], 16_384 + 12))
        sent(client)
        self.assertEqual(client.queued_bytes, 3 * (40_000 + 3 * 12) - 16_384 - 12)
        client.cancel(calls[0])
        client.cancel(bulk)
        client.receive(credit(calls[1], 100_000))
        sent(client)
        self.assertEqual(client.queued_bytes, 40_000 + 3 * 12)
        client.cancel(calls[2])
        sent(client)
        self.assertEqual(client.queued_bytes, 0)


if __name__ == "__main__":
    unittest.main()

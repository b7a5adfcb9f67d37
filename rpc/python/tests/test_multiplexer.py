"""Calls in flight as a value: frames in, frames out, no socket and no clock."""

import random
import struct
import unittest

from sealmoot_rpc.frame import Flag, Frame, Input, Kind, Rule, Violation
from sealmoot_rpc.limits import (
    CHUNK_BYTES_MAX,
    STREAM_MESSAGE_OVERHEAD_BYTES,
    STREAM_WINDOW_BYTES,
    Limits,
)
from sealmoot_rpc.multiplexer import Client
from sealmoot_rpc.payload import OnceId, decode_call, encode_failure
from sealmoot_rpc.status import Code, Execution, RpcError

FULL = bytes(CHUNK_BYTES_MAX)
FAILURE = encode_failure(RpcError(Code.ABORTED, Execution.EXECUTED, "no"))


def machine(**fields):
    return Client(Limits(**fields))


def sent(client):
    """Every frame that leaves now."""
    source = Input()
    while client.has_output:
        source.feed(client.transmit())
    frames = []
    while (frame := source.next()) is not None:
        frames.append(frame)
    return frames


def begin(client, body=b"body", timeout=1.0, now=0.0, **fields):
    return client.begin(now, 7, body, timeout, **fields)


def reply(call, payload=b"", flags=Flag.NONE, code=0):
    return Frame(Kind.REPLY, flags, code, call.number, payload)


def chunk(call, payload, flags=Flag.NONE):
    return Frame(Kind.CHUNK, flags, 0, call.number, payload)


def end(call, payload=b""):
    return Frame(Kind.END, call=call.number, payload=payload)


def credit(call, amount):
    return Frame(Kind.CREDIT, call=call.number, payload=struct.pack("<I", amount))


class Unary(unittest.TestCase):
    def test_a_call_is_answered(self):
        client = machine()
        call = begin(client, timeout=1.0005, metadata={"k": b"v"})
        (frame,) = sent(client)
        head, body = decode_call(frame.flags, frame.payload)
        self.assertEqual((head.timeout_ms, head.method, body), (1001, 7, b"body"))
        self.assertEqual(head.metadata, {"k": b"v"})
        client.receive(reply(call, b"answer"))
        self.assertTrue(call.is_done)
        self.assertEqual((call.body, call.error), (b"answer", None))
        self.assertEqual(client.take_changed(), [call])

    def test_a_named_call_carries_its_name_and_others_none(self):
        client = machine()
        name = OnceId(bytes(range(16)), 3, 2)
        begin(client, once=name, metadata={"k": b"v"})
        begin(client)
        named, plain = sent(client)
        self.assertEqual(named.flags, Flag.ONCE | Flag.METADATA)
        head, body = decode_call(named.flags, named.payload)
        self.assertEqual((head.once, body), (name, b"body"))
        self.assertIsNone(decode_call(plain.flags, plain.payload)[0].once)

    def test_bulk_travels_in_chunks_and_small_calls_pass_it(self):
        client = machine()
        bulk = begin(client, body=bytes(5 * CHUNK_BYTES_MAX + 1))
        client.transmit()
        small = begin(client)
        frames = sent(client)
        self.assertEqual(frames[0].call, small.number)
        self.assertEqual([frame.kind for frame in frames[1:]], [Kind.CHUNK] * 3 + [Kind.END])
        self.assertEqual([len(frame.payload) for frame in frames[1:]], [CHUNK_BYTES_MAX] * 3 + [1])
        self.assertTrue(all(frame.call == bulk.number for frame in frames[1:]))

    def test_a_reply_in_parts_is_put_together(self):
        client = machine()
        call = begin(client)
        sent(client)
        client.receive(reply(call, FULL, Flag.MORE))
        client.receive(chunk(call, FULL))
        self.assertEqual(client.held_bytes, 2 * CHUNK_BYTES_MAX)
        client.receive(end(call, b"rest"))
        self.assertEqual(call.body, FULL + FULL + b"rest")
        self.assertEqual(client.held_bytes, 0)

    def test_a_failure_keeps_what_the_server_said(self):
        client = machine()
        call = begin(client)
        sent(client)
        client.receive(reply(call, FAILURE, code=10))
        self.assertEqual(call.error.code, Code.ABORTED)
        self.assertEqual(call.error.execution, Execution.EXECUTED)

    def test_a_failure_stops_what_has_not_left_of_the_request(self):
        client = machine()
        call = begin(client, body=bytes(8 * CHUNK_BYTES_MAX))
        client.transmit()
        client.receive(reply(call, FAILURE, code=10))
        self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])

    def test_a_cancelled_call_is_withdrawn_or_told_of(self):
        client = machine()
        unsent, left = begin(client), begin(client)
        client.cancel(unsent)
        self.assertEqual(unsent.error.execution, Execution.NOT_SENT)
        self.assertEqual([frame.call for frame in sent(client)], [left.number])
        client.cancel(left)
        self.assertEqual(left.error.execution, Execution.MAYBE_EXECUTED)
        self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])
        client.receive(reply(left, b"late"))
        self.assertEqual(client.calls_in_flight, 0)

    def test_a_deadline_ends_a_call_and_says_whether_it_may_have_run(self):
        client = machine()
        left = begin(client, timeout=1.0)
        sent(client)
        unsent = begin(client, timeout=1.0, now=0.5)
        self.assertEqual(client.next_deadline(), 1.0)
        client.expire(0.999)
        self.assertFalse(left.is_done)
        client.expire(1.0)
        self.assertEqual(left.error.code, Code.DEADLINE_EXCEEDED)
        self.assertEqual(left.error.execution, Execution.MAYBE_EXECUTED)
        client.expire(1.5)
        self.assertEqual(unsent.error.execution, Execution.NOT_SENT)
        self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])
        self.assertIsNone(client.next_deadline())

    def test_a_lost_connection_tells_the_sent_from_the_unsent(self):
        client = machine()
        left = begin(client)
        bulk_left = begin(client, body=bytes(8 * CHUNK_BYTES_MAX))
        client.transmit()
        unsent = begin(client)
        bulk_unsent = begin(client, body=bytes(8 * CHUNK_BYTES_MAX))
        client.fail_all(RpcError(Code.UNAVAILABLE, Execution.MAYBE_EXECUTED, "gone"))
        executions = [call.error.execution for call in (left, bulk_left, unsent, bulk_unsent)]
        self.assertEqual(executions, [Execution.MAYBE_EXECUTED] * 2 + [Execution.NOT_SENT] * 2)
        self.assertEqual(sent(client), [])
        with self.assertRaises(RpcError) as refused:
            begin(client)
        self.assertEqual(refused.exception.execution, Execution.NOT_SENT)

    def test_a_goaway_refuses_new_calls_and_leaves_the_others(self):
        client = machine()
        call = begin(client)
        sent(client)
        client.receive(Frame(Kind.GOAWAY, code=13, payload=FAILURE))
        with self.assertRaises(RpcError) as refused:
            begin(client)
        self.assertEqual(refused.exception.execution, Execution.NOT_SENT)
        client.receive(reply(call, b"answer"))
        self.assertEqual(call.body, b"answer")

    def test_calls_beyond_a_bound_are_refused_unsent(self):
        for fields, body, timeout, code in (
            ({"calls_in_flight_max": 1}, b"", 1.0, Code.RESOURCE_EXHAUSTED),
            ({"outgoing_bytes_max": 20}, b"", 1.0, Code.RESOURCE_EXHAUSTED),
            ({"message_bytes_max": 3}, b"four", 1.0, Code.INVALID_ARGUMENT),
            ({}, b"", 0.0, Code.DEADLINE_EXCEEDED),
            ({}, b"", -1.0, Code.DEADLINE_EXCEEDED),
        ):
            with self.subTest(fields):
                client = machine(**fields)
                begin(client, body=b"")
                with self.assertRaises(RpcError) as refused:
                    begin(client, body=body, timeout=timeout)
                self.assertEqual(refused.exception.code, code)
                self.assertEqual(refused.exception.execution, Execution.NOT_SENT)
                self.assertEqual(len(sent(client)), 1)

    def test_arguments_that_make_no_call_are_refused(self):
        client = machine()
        for fields in (
            {"timeout": float("nan")},
            {"timeout": float("inf")},
            {"metadata": {"Key": b""}},
        ):
            with self.subTest(fields), self.assertRaises(ValueError):
                begin(client, **fields)
        self.assertEqual((client.calls_in_flight, sent(client)), (0, []))

    def test_a_reply_above_a_limit_ends_the_call_alone(self):
        for fields in ({"message_bytes_max": CHUNK_BYTES_MAX}, {"incoming_bytes_max": CHUNK_BYTES_MAX}):
            with self.subTest(fields):
                client = machine(**fields)
                call, other = begin(client), begin(client)
                sent(client)
                client.receive(reply(call, FULL, Flag.MORE))
                client.receive(chunk(call, b"x"))
                self.assertEqual(call.error.code, Code.RESOURCE_EXHAUSTED)
                self.assertEqual(call.error.execution, Execution.EXECUTED)
                self.assertEqual(client.held_bytes, 0)
                self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])
                client.receive(chunk(call, b"late"))
                client.receive(reply(other, b"answer"))
                self.assertEqual(other.body, b"answer")

    def test_numbers_are_not_used_again_while_in_flight(self):
        client = machine()
        first = begin(client)
        client._call_last = 2**32 - 2
        numbers = [begin(client).number for _ in range(3)]
        self.assertEqual(first.number, 1)
        self.assertEqual(numbers, [2**32 - 1, 2, 3])

    def test_deadlines_of_calls_that_ended_do_not_pile_up(self):
        client = machine()
        for _ in range(1000):
            call = begin(client, timeout=1000.0)
            sent(client)
            client.receive(reply(call))
        self.assertLess(len(client._deadlines), 70)

    def test_only_the_newest_ping_is_answered(self):
        client = machine()
        for number in range(100):
            client.receive(Frame(Kind.PING, payload=struct.pack("<Q", number)))
        self.assertEqual(sent(client), [Frame(Kind.PONG, payload=struct.pack("<Q", 99))])


class Streams(unittest.TestCase):
    def test_a_client_streams_within_its_credit(self):
        client = machine()
        call = begin(client, b"", streams=True)
        client.send(call, bytes(100 * 1024))
        frames = sent(client)
        self.assertEqual(frames[0].flags, Flag.STREAM)
        cost = sum(12 + len(frame.payload) for frame in frames[1:])
        self.assertLessEqual(cost, STREAM_WINDOW_BYTES)
        self.assertEqual([len(frame.payload) for frame in frames[1:]], [CHUNK_BYTES_MAX] * 3)
        client.receive(credit(call, 100 * 1024))
        frames = sent(client)
        self.assertEqual(sum(len(frame.payload) for frame in frames), 100 * 1024 - 3 * CHUNK_BYTES_MAX)
        self.assertEqual([Flag.LAST in frame.flags for frame in frames][-2:], [False, True])

    def test_credit_counts_headers_so_that_empty_messages_are_bounded(self):
        client = machine()
        call = begin(client, b"", streams=True)
        sent(client)
        count = 0
        while call.sender.has_room:
            client.send(call, b"")
            count += len(sent(client))
        self.assertEqual(count, STREAM_WINDOW_BYTES // 12)

    def test_the_end_follows_the_messages_and_costs_nothing(self):
        client = machine()
        call = begin(client, b"", streams=True)
        client.send(call, bytes(STREAM_WINDOW_BYTES - 4 * 12))
        client.end(call)
        kinds = [frame.kind for frame in sent(client)]
        self.assertEqual(kinds, [Kind.CALL] + [Kind.CHUNK] * 4 + [Kind.END])
        client.receive(reply(call, b"sum"))
        self.assertEqual(call.body, b"sum")
        self.assertEqual(sent(client), [])

    def test_an_early_answer_stops_a_clients_stream(self):
        for left in (True, False):
            with self.subTest(left):
                client = machine()
                call = begin(client, b"", streams=True)
                client.send(call, bytes(1024 * 1024))
                if left:
                    sent(client)
                else:
                    client.transmit()
                client.receive(reply(call, b"enough"))
                self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])
                client.receive(credit(call, 1))
                self.assertEqual(sent(client), [])

    def test_a_stream_of_replies_arrives_message_by_message(self):
        client = machine()
        call = begin(client, replies=True)
        (opening,) = sent(client)
        self.assertEqual(opening.flags, Flag.REPLIES)
        client.receive(reply(call, flags=Flag.STREAM))
        client.receive(chunk(call, b"one", Flag.LAST))
        client.receive(chunk(call, FULL))
        self.assertEqual(client.take(call), b"one")
        self.assertIsNone(client.take(call))
        client.receive(chunk(call, b"two", Flag.LAST))
        client.receive(chunk(call, b"", Flag.LAST))
        client.receive(end(call))
        self.assertTrue(call.is_done)
        self.assertEqual([client.take(call) for _ in range(3)], [FULL + b"two", b"", None])
        self.assertEqual((client.held_bytes, call.error), (0, None))

    def test_a_failure_follows_the_messages_before_it(self):
        client = machine()
        call = begin(client, replies=True)
        sent(client)
        client.receive(reply(call, flags=Flag.STREAM))
        client.receive(chunk(call, b"one", Flag.LAST))
        client.receive(chunk(call, b"half"))
        client.receive(reply(call, FAILURE, code=10))
        self.assertEqual([client.take(call), client.take(call)], [b"one", None])
        self.assertEqual(call.error.code, Code.ABORTED)
        self.assertEqual(client.held_bytes, 0)

    def test_a_failure_may_come_in_place_of_a_stream(self):
        client = machine()
        call = begin(client, replies=True)
        sent(client)
        client.receive(reply(call, FAILURE, code=10))
        self.assertEqual(call.error.code, Code.ABORTED)

    def test_credit_is_given_at_half_a_window_and_for_what_was_taken(self):
        client = machine()
        call = begin(client, replies=True)
        sent(client)
        client.receive(reply(call, flags=Flag.STREAM))
        for _ in range(3):
            client.receive(chunk(call, FULL, Flag.LAST))
        self.assertEqual(sent(client), [])
        client.take(call)
        self.assertEqual(sent(client), [])
        client.take(call)
        (frame,) = sent(client)
        self.assertEqual(frame, credit(call, 2 * (12 + CHUNK_BYTES_MAX)))

    def test_parts_of_one_message_are_due_at_once(self):
        client = machine()
        call = begin(client, replies=True)
        sent(client)
        client.receive(reply(call, flags=Flag.STREAM))
        given = 0
        for _ in range(100):
            client.receive(chunk(call, FULL))
            given += sum(int.from_bytes(frame.payload, "little") for frame in sent(client))
        self.assertGreater(given, 100 * CHUNK_BYTES_MAX - STREAM_WINDOW_BYTES // 2)

    def test_a_message_above_a_limit_ends_the_call_alone(self):
        fits_one = CHUNK_BYTES_MAX + STREAM_MESSAGE_OVERHEAD_BYTES
        for fields in ({"message_bytes_max": CHUNK_BYTES_MAX}, {"incoming_bytes_max": fits_one}):
            with self.subTest(fields):
                client = machine(**fields)
                call = begin(client, replies=True)
                sent(client)
                client.receive(reply(call, flags=Flag.STREAM))
                client.receive(chunk(call, FULL))
                self.assertFalse(call.is_done)
                client.receive(chunk(call, b"x", Flag.LAST))
                self.assertEqual(call.error.code, Code.RESOURCE_EXHAUSTED)
                self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])
                self.assertEqual(client.held_bytes, 0)

    def test_a_cancelled_stream_holds_nothing(self):
        client = machine()
        call = begin(client, replies=True)
        sent(client)
        client.receive(reply(call, flags=Flag.STREAM))
        client.receive(chunk(call, FULL, Flag.LAST))
        client.receive(chunk(call, FULL))
        client.cancel(call)
        self.assertEqual(client.held_bytes, 0)
        self.assertIsNone(client.take(call))
        client.receive(chunk(call, FULL))
        client.receive(end(call))
        self.assertEqual([frame.kind for frame in sent(client)], [Kind.CANCEL])

    def test_random_streams_arrive_whole_and_within_credit(self):
        for seed in range(40):
            with self.subTest(seed=seed):
                self.exchange(random.Random(seed))

    def exchange(self, chance):
        """Both directions at once, against a peer that counts credit itself."""
        sizes = (0, 1, 100, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 70_000, 200_000)
        outbound = [chance.randbytes(chance.choice(sizes)) for _ in range(10)]
        client = machine()
        call = begin(client, b"", streams=True, replies=True)
        sent(client)
        client.receive(reply(call, flags=Flag.STREAM))
        waiting, taken, arrived, partial, has_ended = list(outbound), [], [], b"", False
        allowance = due = STREAM_WINDOW_BYTES
        theirs = [(chance.randbytes(chance.choice(sizes))) for _ in range(10)]
        frames = []
        for message in theirs:
            pieces = [message[i : i + CHUNK_BYTES_MAX] for i in range(0, len(message), CHUNK_BYTES_MAX)] or [b""]
            frames += [chunk(call, piece) for piece in pieces[:-1]]
            frames.append(chunk(call, pieces[-1], Flag.LAST))
        credit_of_peer, due = STREAM_WINDOW_BYTES, 0
        for _ in range(10_000):
            action = chance.randrange(4)
            if action == 0 and waiting and call.sender.has_room:
                client.send(call, waiting.pop(0))
                if not waiting:
                    client.end(call)
            elif action == 1 and frames and 12 + len(frames[0].payload) <= credit_of_peer:
                credit_of_peer -= 12 + len(frames[0].payload)
                client.receive(frames.pop(0))
            elif action == 2:
                message = client.take(call)
                taken += [] if message is None else [message]
            elif action == 3 and due and not call.is_done:
                client.receive(credit(call, due))
                allowance, due = allowance + due, 0
            for frame in sent(client):
                if frame.kind == Kind.CREDIT:
                    credit_of_peer += int.from_bytes(frame.payload, "little")
                elif frame.kind == Kind.CHUNK:
                    allowance -= 12 + len(frame.payload)
                    due += 12 + len(frame.payload)
                    self.assertGreaterEqual(allowance, 0)
                    partial += frame.payload
                    if Flag.LAST in frame.flags:
                        arrived.append(partial)
                        partial = b""
                else:
                    self.assertEqual(frame.kind, Kind.END)
                    has_ended = True
        self.assertTrue(has_ended)
        self.assertEqual(arrived, outbound)
        self.assertEqual(taken, theirs)
        client.receive(end(call))
        self.assertEqual((call.is_done, call.error, client.held_bytes), (True, None, 0))
        self.assertEqual(sent(client), [])


class Hostile(unittest.TestCase):
    """What ends the connection. `expect` opens one call, plays frames that are
    sound, and then one that is not."""

    def expect(self, rule, bad, sound=(), **fields):
        client = machine()
        call = begin(client, b"", **fields)
        sent(client)
        for frame in sound:
            client.receive(frame(call))
        with self.assertRaises(Violation) as violation:
            client.receive(bad(call))
        self.assertEqual(violation.exception.rule, rule)
        messages_max = STREAM_WINDOW_BYTES // 12
        held_max = STREAM_WINDOW_BYTES + messages_max * STREAM_MESSAGE_OVERHEAD_BYTES
        self.assertLessEqual(client.held_bytes, held_max)

    def opened(self, call):
        return reply(call, flags=Flag.STREAM)

    def test_kinds_that_only_clients_send(self):
        for kind in (Kind.HELLO, Kind.CALL, Kind.CANCEL):
            with self.subTest(kind):
                self.expect(Rule.UNEXPECTED, lambda call: Frame(kind, call=call.number))

    def test_a_second_reply(self):
        self.expect(
            Rule.MALFORMED, lambda call: reply(call, b"x"), [lambda call: reply(call, b"x", Flag.MORE)]
        )

    def test_a_failure_behind_the_beginning_of_a_body(self):
        self.expect(
            Rule.MALFORMED,
            lambda call: reply(call, FAILURE, code=1),
            [lambda call: reply(call, b"x", Flag.MORE)],
        )

    def test_a_part_before_its_reply(self):
        for fields in ({}, {"replies": True}):
            for bad in (chunk, end):
                with self.subTest(fields):
                    self.expect(Rule.MALFORMED, lambda call: bad(call, b"x"), **fields)

    def test_an_empty_part_of_a_body(self):
        begun = [lambda call: reply(call, b"x", Flag.MORE)]
        self.expect(Rule.MALFORMED, lambda call: chunk(call, b""), begun)
        self.expect(Rule.MALFORMED, lambda call: end(call), begun)
        self.expect(Rule.MALFORMED, lambda call: reply(call, b"", Flag.MORE))

    def test_the_end_of_a_message_where_there_is_no_stream(self):
        begun = [lambda call: reply(call, b"x", Flag.MORE)]
        self.expect(Rule.MALFORMED, lambda call: chunk(call, b"x", Flag.LAST), begun)
        self.expect(Rule.MALFORMED, lambda call: chunk(call, b"x", Flag.LAST))

    def test_a_failure_in_parts(self):
        for flag in (Flag.MORE, Flag.STREAM):
            self.expect(Rule.MALFORMED, lambda call: reply(call, FAILURE, flag, 1), replies=True)

    def test_a_failure_that_does_not_decode(self):
        self.expect(Rule.MALFORMED, lambda call: reply(call, b"", code=1))
        self.expect(Rule.MALFORMED, lambda call: Frame(Kind.GOAWAY, code=1))

    def test_a_stream_that_is_a_body_too(self):
        self.expect(
            Rule.MALFORMED, lambda call: reply(call, b"", Flag.MORE | Flag.STREAM), replies=True
        )

    def test_a_stream_that_begins_with_a_body(self):
        self.expect(Rule.MALFORMED, lambda call: reply(call, b"x", Flag.STREAM), replies=True)

    def test_a_stream_that_nobody_asked_for(self):
        self.expect(Rule.MALFORMED, self.opened)
        self.expect(Rule.MALFORMED, self.opened, streams=True)

    def test_a_body_in_place_of_a_stream(self):
        self.expect(Rule.MALFORMED, lambda call: reply(call, b"x"), replies=True)
        self.expect(Rule.MALFORMED, lambda call: reply(call, b"x", Flag.MORE), replies=True)
        self.expect(Rule.MALFORMED, lambda call: reply(call), [self.opened], replies=True)

    def test_a_stream_that_begins_twice(self):
        self.expect(Rule.MALFORMED, self.opened, [self.opened], replies=True)

    def test_an_empty_part_of_a_message(self):
        self.expect(Rule.MALFORMED, lambda call: chunk(call, b""), [self.opened], replies=True)
        self.expect(
            Rule.MALFORMED,
            lambda call: chunk(call, b"", Flag.LAST),
            [self.opened, lambda call: chunk(call, b"x")],
            replies=True,
        )

    def test_an_end_inside_a_message(self):
        self.expect(
            Rule.MALFORMED, end, [self.opened, lambda call: chunk(call, b"x")], replies=True
        )

    def test_an_end_with_a_payload(self):
        self.expect(Rule.MALFORMED, lambda call: end(call, b"x"), [self.opened], replies=True)

    def test_more_than_the_credit(self):
        full = [self.opened] + [lambda call: chunk(call, FULL, Flag.LAST)] * 3
        rest = STREAM_WINDOW_BYTES - 3 * (12 + CHUNK_BYTES_MAX)
        fits = lambda call: chunk(call, bytes(rest - 12), Flag.LAST)  # noqa: E731
        self.expect(
            Rule.CREDIT_EXCEEDED, lambda call: chunk(call, bytes(rest - 11), Flag.LAST), full, replies=True
        )
        self.expect(
            Rule.CREDIT_EXCEEDED, lambda call: chunk(call, b"", Flag.LAST), [*full, fits], replies=True
        )

    def test_a_flood_of_empty_messages(self):
        flood = [lambda call: chunk(call, b"", Flag.LAST)] * (STREAM_WINDOW_BYTES // 12)
        self.expect(
            Rule.CREDIT_EXCEEDED,
            lambda call: chunk(call, b"", Flag.LAST),
            [self.opened, *flood],
            replies=True,
        )

    def test_credit_where_there_is_no_stream(self):
        self.expect(Rule.MALFORMED, lambda call: credit(call, 1))
        self.expect(Rule.MALFORMED, lambda call: credit(call, 1), replies=True)

    def test_credit_of_nothing(self):
        self.expect(Rule.CREDIT_REFUSED, lambda call: credit(call, 0), streams=True)

    def test_credit_beyond_the_most(self):
        most = 2**30 - STREAM_WINDOW_BYTES
        self.expect(Rule.CREDIT_REFUSED, lambda call: credit(call, most + 1), streams=True)
        self.expect(
            Rule.CREDIT_REFUSED,
            lambda call: credit(call, 1),
            [lambda call: credit(call, most)],
            streams=True,
        )

    def test_credit_without_its_number(self):
        self.expect(
            Rule.MALFORMED, lambda call: Frame(Kind.CREDIT, call=call.number, payload=b"abc"), streams=True
        )

    def test_a_ping_without_its_token(self):
        self.expect(Rule.MALFORMED, lambda _: Frame(Kind.PING, payload=b"short"))

    def test_frames_for_unknown_calls_are_ignored(self):
        client = machine()
        for frame in (
            Frame(Kind.REPLY, call=99),
            Frame(Kind.REPLY, Flag.STREAM, call=99),
            Frame(Kind.CHUNK, Flag.LAST, call=99, payload=FULL),
            Frame(Kind.END, call=99, payload=b"x"),
            Frame(Kind.CREDIT, call=99, payload=b"\xff\xff\xff\xff"),
        ):
            for _ in range(100):
                client.receive(frame)
        self.assertEqual((client.held_bytes, client.has_output), (0, False))

"""Streams over TLS against a lawful server in Python, which counts credit for
itself."""

import asyncio
import time
import unittest

from google.protobuf.wrappers_pb2 import BytesValue

from sealmoot_rpc import Code, Execution, Limits, RpcError
from sealmoot_rpc.frame import Flag, Frame, Kind
from sealmoot_rpc.limits import STREAM_WINDOW_BYTES
from sealmoot_rpc.payload import encode_credit, encode_failure

from .trial import PATIENCE, FakeServer


def words(value):
    return BytesValue(value=value)


def message_frames(call, value):
    data = words(value).SerializeToString()
    pieces = [data[i : i + 16384] for i in range(0, len(data), 16384)] or [b""]
    frames = [Frame(Kind.CHUNK, call=call, payload=piece) for piece in pieces[:-1]]
    return [*frames, Frame(Kind.CHUNK, Flag.LAST, call=call, payload=pieces[-1])]


class Streams(unittest.IsolatedAsyncioTestCase):
    async def test_a_client_stream_is_answered(self):
        async def script(peer):
            await peer.admit()
            call = await peer.receive()
            assert call.flags == Flag.STREAM
            size, messages = 0, 0
            while (frame := await peer.receive()).kind != Kind.END:
                size += len(frame.payload)
                messages += Flag.LAST in frame.flags
                cost = 12 + len(frame.payload)
                await peer.send(Frame(Kind.CREDIT, call=call.call, payload=encode_credit(cost)))
            answer = words(f"{messages} {size}".encode()).SerializeToString()
            await peer.send(Frame(Kind.REPLY, call=call.call, payload=answer))
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            sizes = [0, 10, 20_000, 100_000]
            size = sum(words(bytes(each)).ByteSize() for each in sizes)
            requests = (words(bytes(each)) for each in sizes)
            reply = await connection.client_stream(1, requests, BytesValue, timeout=PATIENCE)
            self.assertEqual(reply.value, f"4 {size}".encode())
            await connection.close()

    async def test_a_sender_waits_for_credit(self):
        release = asyncio.Event()

        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            taken = 0
            while taken + 12 + 16384 <= STREAM_WINDOW_BYTES:
                taken += 12 + len((await peer.receive()).payload)
            await release.wait()
            await peer.send(Frame(Kind.REPLY, call=call))
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.request_stream(1, BytesValue, timeout=PATIENCE)
            await stream.send(words(bytes(100_000)))
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.send(words(b"x")), 0.2)
            release.set()
            self.assertEqual((await stream.reply()).value, b"")
            # The server has answered: what it did not want is no error.
            await stream.send(words(b"x"))
            await connection.close()

    async def test_an_early_answer_ends_an_endless_stream(self):
        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.receive()
            await peer.send(Frame(Kind.REPLY, call=call))
            while (await peer.receive()).kind != Kind.CANCEL:
                pass
            told.set()
            await peer.drain()

        async def endless():
            while True:
                yield words(b"more")
                await asyncio.sleep(0.01)

        told = asyncio.Event()
        async with FakeServer(script) as server:
            connection = await server.connect()
            await connection.client_stream(1, endless(), BytesValue, timeout=PATIENCE)
            await asyncio.wait_for(told.wait(), PATIENCE)
            await connection.close()

    async def test_what_requests_raise_cancels_the_call(self):
        kinds = []

        async def script(peer):
            await peer.admit()
            while True:
                kinds.append((await peer.receive()).kind)

        def requests():
            yield words(b"one")
            raise KeyError("broken")

        async with FakeServer(script) as server:
            connection = await server.connect()
            with self.assertRaises(KeyError):
                await connection.client_stream(1, requests(), BytesValue, timeout=PATIENCE)
            await asyncio.sleep(0.1)
            self.assertEqual(kinds[-1], Kind.CANCEL)
            self.assertNotIn(Kind.END, kinds)
            await connection.close()

    async def test_a_server_stream_keeps_within_a_window_of_what_is_taken(self):
        ahead = []

        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.send(Frame(Kind.REPLY, Flag.STREAM, call=call))
            credit = STREAM_WINDOW_BYTES
            for number in range(50):
                for frame in message_frames(call, bytes([number]) * 10_000):
                    while credit < 12 + len(frame.payload):
                        ahead.append(number)
                        credit += int.from_bytes((await peer.receive()).payload, "little")
                    credit -= 12 + len(frame.payload)
                    await peer.send(frame)
            await peer.send(Frame(Kind.END, call=call))
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            async with connection.server_stream(1, words(b""), BytesValue, timeout=PATIENCE) as stream:
                until = time.monotonic() + PATIENCE
                while not ahead and time.monotonic() < until:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                self.assertEqual(ahead, [6], "the server waits for the reader")
                values = [reply.value async for reply in stream]
            self.assertEqual(values, [bytes([number]) * 10_000 for number in range(50)])
            await connection.close()

    async def test_a_failure_comes_behind_the_replies_before_it(self):
        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            failure = encode_failure(RpcError(Code.DATA_LOSS, Execution.EXECUTED, "torn", b"here"))
            await peer.send(
                Frame(Kind.REPLY, Flag.STREAM, call=call),
                *message_frames(call, b"one"),
                Frame(Kind.CHUNK, call=call, payload=b"half"),
                Frame(Kind.REPLY, code=14, call=call, payload=failure),
            )
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.server_stream(1, words(b""), BytesValue, timeout=PATIENCE)
            self.assertEqual((await stream.receive()).value, b"one")
            for _ in range(2):
                with self.assertRaises(RpcError) as failed:
                    await stream.receive()
                self.assertEqual(failed.exception.code, Code.DATA_LOSS)
                self.assertEqual(failed.exception.details, b"here")
            self.assertTrue(connection.is_open)
            await connection.close()

    async def test_a_stream_waits_while_others_fill_what_may_wait(self):
        may_grant = asyncio.Event()

        async def script(peer):
            await peer.admit()
            first = (await peer.receive()).call
            await may_grant.wait()
            await peer.send(Frame(Kind.CREDIT, call=first, payload=encode_credit(200_000)))
            await peer.drain()

        async with FakeServer(script) as server:
            limits = Limits(outgoing_bytes_max=200_000, linger=0.2)
            async with await server.connect(limits=limits) as connection:
                first, second = (
                    connection.duplex_stream(1, BytesValue, timeout=PATIENCE) for _ in range(2)
                )
                for stream in (first, second):
                    # Three chunks leave; the rest of the window is too small for a fourth.
                    await stream.send(words(bytes(3 * 16_384 - 8)))
                await first.send(words(bytes(99_000)))
                waiting = asyncio.ensure_future(second.send(words(bytes(20_000))))
                await asyncio.sleep(0.1)
                self.assertFalse(waiting.done())
                may_grant.set()
                await asyncio.wait_for(waiting, PATIENCE)

    async def test_leaving_a_stream_cancels_it(self):
        kinds = []

        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.send(Frame(Kind.REPLY, Flag.STREAM, call=call), *message_frames(call, b"one"))
            while True:
                kinds.append((await peer.receive()).kind)

        for leave in ("with", "forget", "cancel"):
            with self.subTest(leave):
                kinds.clear()
                async with FakeServer(script) as server:
                    connection = await server.connect()
                    stream = connection.server_stream(1, words(b""), BytesValue, timeout=PATIENCE)
                    await stream.receive()
                    if leave == "with":
                        async with stream:
                            pass
                    elif leave == "cancel":
                        stream.cancel()
                    del stream
                    await asyncio.sleep(0.1)
                    self.assertEqual(kinds, [Kind.CANCEL])
                    self.assertEqual(connection._transport._machine.calls_in_flight, 0)
                    await connection.close()

    async def test_a_deadline_ends_a_stream_on_both_sides(self):
        kinds = []

        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.send(Frame(Kind.REPLY, Flag.STREAM, call=call))
            while True:
                kinds.append((await peer.receive()).kind)

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.duplex_stream(1, BytesValue, timeout=0.3)
            with self.assertRaises(RpcError) as failed:
                await stream.receive()
            self.assertEqual(failed.exception.code, Code.DEADLINE_EXCEEDED)
            with self.assertRaises(RpcError):
                await stream.send(words(b"late"))
            await asyncio.sleep(0.1)
            self.assertEqual(kinds, [Kind.CANCEL])
            await connection.close()

    async def test_nothing_is_sent_behind_the_end(self):
        async def script(peer):
            await peer.admit()
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.duplex_stream(1, BytesValue, timeout=PATIENCE)
            with self.assertRaises(ValueError):
                await stream.send(words(bytes(5_000_000)))
            await stream.end()
            with self.assertRaises(ValueError):
                await stream.send(words(b"x"))
            await connection.close()

    async def test_a_reply_that_does_not_decode_cancels_the_stream(self):
        kinds = []

        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.send(
                Frame(Kind.REPLY, Flag.STREAM, call=call),
                Frame(Kind.CHUNK, Flag.LAST, call=call, payload=b"\xff\xff"),
            )
            while True:
                kinds.append((await peer.receive()).kind)

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.server_stream(1, words(b""), BytesValue, timeout=PATIENCE)
            with self.assertRaises(RpcError) as failed:
                await stream.receive()
            self.assertEqual(failed.exception.code, Code.INTERNAL)
            await asyncio.sleep(0.1)
            self.assertEqual(kinds, [Kind.CANCEL])
            await connection.close()

    async def test_a_lost_connection_ends_whoever_sends_or_receives(self):
        async def script(peer):
            await peer.admit()
            await peer.receive()

        async with FakeServer(script) as server:
            connection = await server.connect()
            stream = connection.duplex_stream(1, BytesValue, timeout=PATIENCE)

            async def send():
                while True:
                    await stream.send(words(bytes(100_000)))

            outcomes = await asyncio.gather(stream.receive(), send(), return_exceptions=True)
            for outcome in outcomes:
                self.assertIsInstance(outcome, RpcError)
                self.assertEqual(outcome.code, Code.UNAVAILABLE)

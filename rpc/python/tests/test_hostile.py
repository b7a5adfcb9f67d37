"""Over TLS against servers that are not lawful: the client ends with a typed
error, never hangs, and tells strangers nothing."""

import asyncio
import itertools
import ssl
import struct
import tracemalloc
import unittest

import sealmoot_rpc
from sealmoot_rpc import Code, Execution, Rule, RpcError
from sealmoot_rpc.frame import HEADER, Flag, Frame, Kind
from sealmoot_rpc.payload import decode_failure, encode_failure, encode_hello

from . import trial
from .trial import PATIENCE, FakeServer

FAILURE = encode_failure(RpcError(Code.UNAVAILABLE, Execution.NOT_STARTED, "draining"))


def header(length, kind, flags=0, code=0, call=0):
    return HEADER.pack(length, kind, flags, code, call)


# What is sent once the client's first call is there, which has number 1.
BEHIND_A_CALL = {
    "unknown kind": (header(0, 11), Rule.UNKNOWN_KIND),
    "unknown flag": (header(0, 3, 0x80, call=1), Rule.UNKNOWN_FLAGS),
    "four gigabytes": (header(2**32 - 1, 3, call=1), Rule.PAYLOAD_TOO_LONG),
    "a long chunk": (header(16385, 4, call=1), Rule.PAYLOAD_TOO_LONG),
    "no call number": (header(0, 3), Rule.MALFORMED),
    "a code on a chunk": (header(0, 4, 0, 5, 1), Rule.MALFORMED),
    "a second hello": (Frame(Kind.HELLO, payload=encode_hello(b"")).encode(), Rule.UNEXPECTED),
    "a call from the server": (Frame(Kind.CALL, call=1, payload=bytes(12)).encode(), Rule.UNEXPECTED),
    "a cancel from the server": (Frame(Kind.CANCEL, call=1).encode(), Rule.UNEXPECTED),
    "a part of nothing": (Frame(Kind.CHUNK, call=1, payload=b"x").encode(), Rule.MALFORMED),
    "a stream unasked": (Frame(Kind.REPLY, Flag.STREAM, call=1).encode(), Rule.MALFORMED),
    "credit for no stream": (Frame(Kind.CREDIT, call=1, payload=b"\1\0\0\0").encode(), Rule.MALFORMED),
    "credit of nothing": (Frame(Kind.CREDIT, call=1, payload=bytes(4)).encode(), Rule.CREDIT_REFUSED),
    "a failure cut short": (Frame(Kind.REPLY, code=5, call=1, payload=b"\1").encode(), Rule.MALFORMED),
    "a goaway cut short": (Frame(Kind.GOAWAY, code=5).encode(), Rule.MALFORMED),
    "a ping cut short": (Frame(Kind.PING, payload=b"1").encode(), Rule.MALFORMED),
}

# What stands where the server's hello should.
BEFORE_THE_HELLO = {
    "a welcome at once": (Frame(Kind.HELLO, Flag.WELCOME).encode(), Rule.UNEXPECTED),
    "a goaway of a stranger": (Frame(Kind.GOAWAY, code=7, payload=FAILURE).encode(), Rule.UNEXPECTED),
    "a ping": (Frame(Kind.PING, payload=bytes(8)).encode(), Rule.UNEXPECTED),
    "another version": (Frame(Kind.HELLO, payload=b"\2\0\0\0\0\0").encode(), Rule.UNSUPPORTED_VERSION),
    "an empty hello": (Frame(Kind.HELLO).encode(), Rule.MALFORMED),
    "a hello that lies": (Frame(Kind.HELLO, payload=b"\1\0\1\0\0\0").encode(), Rule.MALFORMED),
    "a long hello": (header(6 + 65537, 1), Rule.PAYLOAD_TOO_LONG),
    "no frame": (b"HTTP/1.1 400 Bad Request\r\n\r\n", Rule.UNKNOWN_KIND),
}


class Hostile(unittest.IsolatedAsyncioTestCase):
    async def test_bad_frames_end_the_connection_with_a_reason(self):
        for name, (data, rule) in BEHIND_A_CALL.items():
            told = []

            async def script(peer, data=data, told=told):
                await peer.admit()
                await peer.receive()
                await peer.send_bytes(data)
                told.append(await peer.receive())
                await peer.drain()

            with self.subTest(name):
                async with FakeServer(script) as server:
                    connection = await server.connect()
                    with self.assertRaises(RpcError) as failed:
                        await connection.call(1, b"x", timeout=PATIENCE)
                    self.assertEqual(failed.exception.code, Code.INTERNAL)
                    self.assertEqual(failed.exception.execution, Execution.MAYBE_EXECUTED)
                    self.assertEqual(failed.exception.__cause__.rule, rule)
                    self.assertFalse(connection.is_open)
                    with self.assertRaises(RpcError) as refused:
                        await connection.call(1, b"x", timeout=PATIENCE)
                    self.assertEqual(refused.exception.execution, Execution.NOT_SENT)
                    await connection.close()
                (goaway,) = told
                self.assertEqual(goaway.kind, Kind.GOAWAY)
                reason = decode_failure(goaway.code, goaway.payload)
                self.assertEqual(reason.message, str(failed.exception.__cause__))

    async def test_credit_abuse_ends_the_connection(self):
        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            await peer.send(Frame(Kind.REPLY, Flag.STREAM, call=call))
            while True:
                await peer.send(Frame(Kind.CHUNK, Flag.LAST, call=call, payload=bytes(16384)))

        async with FakeServer(script) as server:
            connection = await server.connect()
            call = connection._transport.begin(1, b"", PATIENCE, None, replies=True)
            while not call.is_done:
                await connection._transport.changed(call)
            self.assertEqual(call.error.__cause__.rule, Rule.CREDIT_EXCEEDED)
            self.assertLessEqual(connection._transport._machine.held_bytes, 65536)

    async def test_bad_first_frames_are_answered_with_nothing(self):
        for name, (data, rule) in BEFORE_THE_HELLO.items():

            async def script(peer, data=data):
                await peer.send_bytes(data)
                await peer.drain()

            with self.subTest(name):
                async with FakeServer(script) as server:
                    with self.assertRaises(sealmoot_rpc.ServerViolation) as failed:
                        await server.connect(statements=b"secret")
                    self.assertEqual(failed.exception.violation.rule, rule)
                self.assertEqual(server.received, b"")

    async def test_the_wrong_key_is_sent_nothing(self):
        async def script(peer):
            await peer.send(Frame(Kind.HELLO, payload=encode_hello(b"")))
            await peer.drain()

        other = trial.identity("other")
        other_id = sealmoot_rpc.KeyId.from_hex(trial.key_id(other))
        self_signed = sealmoot_rpc.PublicKey(trial.certificate_der(other)[124:156])
        self.assertEqual(self_signed.key_id, other_id)
        for pinned in (other_id, self_signed):
            with self.subTest(pinned):
                async with FakeServer(script) as server:
                    with self.assertRaises(sealmoot_rpc.WrongServer) as failed:
                        await server.connect(server=pinned, statements=b"secret")
                    self.assertIn(str(server.key_id), str(failed.exception))
                    await asyncio.sleep(0.1)
                self.assertEqual(server.received, b"")

    async def test_another_protocol_or_version_is_sent_nothing(self):
        async def script(peer):
            await peer.drain()

        for fields, error in (
            ({"alpn": None}, sealmoot_rpc.WrongServer),
            ({"alpn": "h2"}, sealmoot_rpc.WrongServer),
            # Already the handshake fails.
            ({"maximum": ssl.TLSVersion.TLSv1_2}, sealmoot_rpc.Unreachable),
        ):
            with self.subTest(fields):
                async with FakeServer(script, **fields) as server:
                    with self.assertRaises(error):
                        await server.connect()
                self.assertEqual(server.received, b"")

    async def test_a_refusal_of_an_admitted_server_is_told(self):
        async def script(peer):
            await peer.send(Frame(Kind.HELLO, payload=encode_hello(b"")))
            await peer.receive()
            await peer.send(Frame(Kind.GOAWAY, code=6, payload=FAILURE))
            await peer.drain()

        async with FakeServer(script) as server:
            with self.assertRaises(sealmoot_rpc.Refused) as failed:
                await server.connect()
            self.assertEqual(failed.exception.code, Code.PERMISSION_DENIED)
            self.assertEqual(failed.exception.message, "draining")

    async def test_a_welcome_that_is_none_is_a_violation(self):
        for bad in (
            Frame(Kind.HELLO, payload=encode_hello(b"")),
            Frame(Kind.HELLO, Flag.WELCOME, payload=b"x"),
            Frame(Kind.REPLY, call=1),
        ):

            async def script(peer, bad=bad):
                await peer.send(Frame(Kind.HELLO, payload=encode_hello(b"")))
                await peer.receive()
                await peer.send(bad)
                await peer.drain()

            with self.subTest(bad):
                async with FakeServer(script) as server:
                    with self.assertRaises(sealmoot_rpc.ServerViolation):
                        await server.connect()

    async def test_a_server_that_says_nothing_is_left(self):
        async def nothing(peer):
            await peer.stay()

        async def half(peer):
            for byte in Frame(Kind.HELLO, payload=encode_hello(bytes(1000))).encode():
                await peer.send_bytes(bytes([byte]))
                await asyncio.sleep(0.02)

        async def no_welcome(peer):
            await peer.send(Frame(Kind.HELLO, payload=encode_hello(b"")))
            await peer.stay()

        for script in (nothing, half, no_welcome):
            with self.subTest(script.__name__):
                async with FakeServer(script) as server:
                    with self.assertRaisesRegex(sealmoot_rpc.Unreachable, "in time"):
                        await server.connect(limits=sealmoot_rpc.Limits(handshake=0.5))

    async def test_nobody_there_is_unreachable(self):
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with self.assertRaises(sealmoot_rpc.Unreachable):
            await sealmoot_rpc.connect(
                "127.0.0.1", port, identity=trial.identity("client"), server=sealmoot_rpc.KeyId(bytes(32))
            )

    async def test_a_server_that_falls_silent_is_given_up(self):
        async def script(peer):
            await peer.admit()
            await peer.stay()

        limits = sealmoot_rpc.Limits(keepalive_idle=0.1, keepalive_timeout=0.2, linger=0.1)
        async with FakeServer(script) as server:
            connection = await server.connect(limits=limits)
            with self.assertRaisesRegex(RpcError, "silent") as failed:
                await connection.call(1, b"", timeout=PATIENCE)
            self.assertEqual(failed.exception.code, Code.UNAVAILABLE)
            self.assertEqual(failed.exception.execution, Execution.MAYBE_EXECUTED)

    async def test_a_server_that_takes_no_bytes_is_given_up(self):
        async def script(peer):
            await peer.admit()
            while True:
                # It lives, and does not read.
                await peer.send(Frame(Kind.PONG, payload=bytes(8)))
                await asyncio.sleep(0.05)

        limits = sealmoot_rpc.Limits(write_stall=0.5, linger=0.1)
        async with FakeServer(script) as server:
            connection = await server.connect(limits=limits)
            calls = [connection.call(1, bytes(4_000_000), timeout=PATIENCE) for _ in range(8)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            for outcome in outcomes:
                self.assertIsInstance(outcome, RpcError)
                self.assertIn("takes no bytes", outcome.message)

    async def test_a_server_that_does_not_close_is_left(self):
        async def script(peer):
            await peer.admit()
            peer.pause_reading()
            await peer.stay()

        async with FakeServer(script) as server:
            connection = await server.connect()
            await asyncio.sleep(0.1)
            await asyncio.wait_for(connection.close(), PATIENCE / 2)

    async def test_a_cut_in_every_place_ends_the_call(self):
        answer = (
            Frame(Kind.REPLY, Flag.MORE, call=1, payload=bytes(100)).encode()
            + Frame(Kind.END, call=1, payload=b"end").encode()
        )
        for length in (0, 1, 11, 12, 50, 112, 113, 123, len(answer) - 1):

            async def script(peer, length=length):
                await peer.admit()
                await peer.receive()
                await peer.send_bytes(answer[:length])

            with self.subTest(length):
                async with FakeServer(script) as server:
                    connection = await server.connect()
                    with self.assertRaises(RpcError) as failed:
                        await connection.call(1, b"", timeout=PATIENCE)
                    self.assertEqual(failed.exception.code, Code.UNAVAILABLE)
                    self.assertEqual(failed.exception.execution, Execution.MAYBE_EXECUTED)

    async def test_memory_does_not_follow_what_is_announced_or_unasked(self):
        async def script(peer):
            await peer.admit()
            call = (await peer.receive()).call
            # Chunks for calls that nobody knows, and pings without end.
            for number in itertools.islice(itertools.count(1000), 2000):
                payload = struct.pack("<Q", number)
                await peer.send(
                    Frame(Kind.CHUNK, Flag.LAST, call=number, payload=bytes(16384)),
                    Frame(Kind.PING, payload=payload),
                )
            await peer.send(Frame(Kind.REPLY, call=call, payload=b"alive"))
            await peer.drain()

        async with FakeServer(script) as server:
            connection = await server.connect()
            tracemalloc.start()
            try:
                self.assertEqual(await connection.call(1, b"", timeout=PATIENCE), b"alive")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            # 32 MiB were sent.
            self.assertLess(peak, 4 * 1024 * 1024)
            await connection.close()

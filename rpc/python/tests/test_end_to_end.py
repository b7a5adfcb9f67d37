"""Generated stubs against the Rust server, for every kind of method."""

import asyncio
import gc
import os
import pathlib
import ssl
import stat
import unittest

import trial_pb2
import trial_rpc
from google.protobuf.empty_pb2 import Empty
from parts.number_pb2 import Number

import sealmoot_rpc
from sealmoot_rpc import Code, Execution, Limits, RpcError

from . import trial
from .trial import PATIENCE, RustServer

HAS_STREAMS = os.environ.get("SEALMOOT_STREAMS") != "0"
needs_streams = unittest.skipUnless(HAS_STREAMS, "SKIPPED streams: the server has none")


def failure(code, execution, message="", details=b""):
    return trial_pb2.Failure(code=code, execution=execution, message=message, details=details)


class EndToEnd(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RustServer()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    async def asyncSetUp(self):
        self.connection = await self.connect()
        self.client = trial_rpc.TrialClient(self.connection)

    async def asyncTearDown(self):
        await self.connection.close()

    async def connect(self, **fields):
        server = fields.pop("server", self.server)
        return await sealmoot_rpc.connect(
            server.host,
            server.port,
            identity=trial.identity("client"),
            server=fields.pop("key", server.key_id),
            **fields,
        )

    async def failed(self, call):
        with self.assertRaises(RpcError) as failed:
            await call
        return failed.exception

    async def test_a_unary_call_is_answered(self):
        for size in (0, 1, 16_000, 16_384, 100_000, 4_000_000):
            with self.subTest(size):
                request = trial_pb2.Words(words=os.urandom(size))
                self.assertEqual(await self.client.echo(request, timeout=PATIENCE), request)

    async def test_many_calls_share_a_connection(self):
        requests = [trial_pb2.Words(words=os.urandom(i * 500 % 40_000)) for i in range(500)]
        replies = await asyncio.gather(*(self.client.echo(r, timeout=PATIENCE) for r in requests))
        self.assertEqual(replies, requests)

    async def test_the_server_knows_the_callers_key(self):
        reply = await self.client.watch(Empty(), timeout=PATIENCE)
        self.assertEqual(reply.caller.hex(), trial.key_id(trial.identity("client")))

    async def test_the_servers_statements_and_key_are_there(self):
        self.assertEqual(self.connection.server_statements, b"trial server")
        self.assertEqual(self.connection.server_key.key_id, self.server.key_id)
        async with await self.connect(key=self.connection.server_key) as other:
            self.assertTrue(other.is_open)
        self.assertFalse(other.is_open)

    async def test_another_pinned_key_is_refused(self):
        with self.assertRaises(sealmoot_rpc.WrongServer):
            await self.connect(key=sealmoot_rpc.KeyId(bytes(32)))

    async def test_a_refusal_is_told(self):
        with self.assertRaises(sealmoot_rpc.Refused) as refused:
            await self.connect(statements=b"refuse me")
        self.assertEqual(refused.exception.code, Code.PERMISSION_DENIED)
        self.assertEqual(refused.exception.message, "as you wish")

    async def test_failures_arrive_as_they_were(self):
        for code in list(Code)[1:]:
            for number, execution in (
                (1, Execution.NOT_STARTED),
                (2, Execution.MAYBE_EXECUTED),
                (3, Execution.EXECUTED),
            ):
                request = failure(code, number, f"völlig {code}", b"\0\1" * number)
                error = await self.failed(self.client.fail(request, timeout=PATIENCE))
                self.assertEqual((error.code, error.execution), (code, execution))
                self.assertEqual((error.message, error.details), (request.message, request.details))

    async def test_an_unknown_method_has_not_started(self):
        error = await self.failed(self.connection.call(12345, b"", timeout=PATIENCE))
        self.assertEqual((error.code, error.execution), (Code.UNIMPLEMENTED, Execution.NOT_STARTED))

    async def test_a_request_that_does_not_decode_has_not_started(self):
        error = await self.failed(
            self.connection.call(0xC21BCD4128146EAD, b"\xff\xff\xff", timeout=PATIENCE)
        )
        self.assertEqual(
            (error.code, error.execution), (Code.INVALID_ARGUMENT, Execution.NOT_STARTED)
        )

    async def test_a_request_too_large_is_not_sent(self):
        error = await self.failed(
            self.client.echo(trial_pb2.Words(words=bytes(5_000_000)), timeout=PATIENCE)
        )
        self.assertEqual((error.code, error.execution), (Code.INVALID_ARGUMENT, Execution.NOT_SENT))

    async def sleepers(self):
        reply = await self.client.watch(Empty(), timeout=PATIENCE)
        return reply.sleepers, reply.dropped

    async def until_sleepers(self, count):
        while (await self.sleepers())[0] != count:
            await asyncio.sleep(0.01)

    async def test_a_deadline_ends_the_call_here_and_there(self):
        request = trial_pb2.SleepRequest(milliseconds=20_000)
        error = await self.failed(self.client.sleep(request, timeout=0.2))
        self.assertEqual(error.code, Code.DEADLINE_EXCEEDED)
        self.assertEqual(error.execution, Execution.MAYBE_EXECUTED)
        await asyncio.wait_for(self.until_sleepers(0), PATIENCE)

    async def test_a_cancelled_task_drops_the_handler(self):
        _, before = await self.sleepers()
        request = trial_pb2.SleepRequest(milliseconds=20_000)
        task = asyncio.ensure_future(self.client.sleep(request, timeout=PATIENCE))
        await asyncio.wait_for(self.until_sleepers(1), PATIENCE)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(self.until_sleepers(0), PATIENCE)
        self.assertEqual((await self.sleepers())[1], before + 1)

    async def test_a_closed_connection_ends_its_calls(self):
        connection = await self.connect()
        client = trial_rpc.TrialClient(connection)
        request = trial_pb2.SleepRequest(milliseconds=20_000)
        task = asyncio.ensure_future(client.sleep(request, timeout=PATIENCE))
        await asyncio.wait_for(self.until_sleepers(1), PATIENCE)
        await connection.close()
        error = await self.failed(task)
        self.assertEqual((error.code, error.execution), (Code.CANCELLED, Execution.MAYBE_EXECUTED))
        error = await self.failed(client.watch(Empty(), timeout=PATIENCE))
        self.assertEqual(error.execution, Execution.NOT_SENT)
        await asyncio.wait_for(self.until_sleepers(0), PATIENCE)

    async def test_a_killed_server_ends_the_call(self):
        with RustServer() as server:
            connection = await self.connect(server=server)
            client = trial_rpc.TrialClient(connection)
            request = trial_pb2.SleepRequest(milliseconds=20_000)
            task = asyncio.ensure_future(client.sleep(request, timeout=PATIENCE))
            await asyncio.sleep(0.1)
            server.kill()
            error = await self.failed(task)
            self.assertEqual(error.code, Code.UNAVAILABLE)
            self.assertEqual(error.execution, Execution.MAYBE_EXECUTED)
            await connection.close()

    async def test_an_idle_connection_stays(self):
        limits = Limits(keepalive_idle=0.1, keepalive_timeout=4.0)
        async with await self.connect(limits=limits) as connection:
            await asyncio.sleep(5.0)
            client = trial_rpc.TrialClient(connection)
            await client.watch(Empty(), timeout=PATIENCE)

    async def test_nothing_is_left_of_many_connections(self):
        for _ in range(20):
            async with await self.connect() as connection:
                await trial_rpc.TrialClient(connection).watch(Empty(), timeout=PATIENCE)
        gc.collect()
        machines = [each for each in gc.get_objects() if type(each).__name__ == "Transport"]
        self.assertLessEqual(len(machines), 3)

    @needs_streams
    async def test_a_client_stream_is_answered(self):
        numbers = [Number(value=i, padding=bytes(i)) for i in range(500)]
        for requests in (numbers, iter(numbers), self.each(numbers)):
            reply = await self.client.sum(requests, timeout=PATIENCE)
            self.assertEqual(reply.value, sum(range(500)))
        self.assertEqual((await self.client.sum([], timeout=PATIENCE)).value, 0)

    async def each(self, items):
        for item in items:
            await asyncio.sleep(0)
            yield item

    @needs_streams
    async def test_a_server_stream_arrives_in_order(self):
        for up_to, padding in ((0, 0), (1, 0), (1000, 100), (100, 50_000), (5, 1_000_000)):
            with self.subTest((up_to, padding)):
                request = trial_pb2.CountRequest(up_to=up_to, padding=padding)
                stream = self.client.count(request, timeout=PATIENCE)
                replies = [(reply.value, len(reply.padding)) async for reply in stream]
                self.assertEqual(replies, [(value, padding) for value in range(up_to)])

    @needs_streams
    async def test_a_server_stream_may_fail_at_its_end(self):
        request = trial_pb2.CountRequest(up_to=3, failure=failure(14, 3, "torn", b"here"))
        values = []
        with self.assertRaises(RpcError) as failed:
            async for reply in self.client.count(request, timeout=PATIENCE):
                values.append(reply.value)
        # A failure may overtake replies that had not left.
        self.assertEqual(values, [0, 1, 2][: len(values)])
        self.assertEqual((failed.exception.code, failed.exception.details), (Code.DATA_LOSS, b"here"))

    @needs_streams
    async def test_a_stream_left_early_harms_nobody(self):
        request = trial_pb2.CountRequest(up_to=10**9, padding=1000)
        for _ in range(20):
            async with self.client.count(request, timeout=PATIENCE) as stream:
                async for reply in stream:
                    if reply.value == 10:
                        break
        await self.client.watch(Empty(), timeout=PATIENCE)

    @needs_streams
    async def test_a_stream_that_nobody_reads_delays_nobody(self):
        request = trial_pb2.CountRequest(up_to=10**9, padding=1000)
        async with self.client.count(request, timeout=PATIENCE):
            for _ in range(200):
                await self.client.echo(trial_pb2.Words(words=bytes(10_000)), timeout=PATIENCE)
            held = self.connection._transport._machine.held_bytes
            # Each message has a thousand bytes and counts for 64 more.
            self.assertLessEqual(held, 64 * 1024 + 64 * 64)

    @needs_streams
    async def test_both_sides_stream_at_once(self):
        sizes = [0, 1, 100, 16_384, 70_000, 1_000_000] * 4
        stream = self.client.chat(timeout=PATIENCE)
        messages = [trial_pb2.Words(words=os.urandom(size)) for size in sizes]

        async def speak():
            for message in messages:
                await stream.send(message)
            await stream.end()

        speaking = asyncio.ensure_future(speak())
        replies = [reply async for reply in stream]
        await speaking
        self.assertEqual(replies, messages)

    @needs_streams
    async def test_a_deadline_ends_a_stream(self):
        stream = self.client.chat(timeout=3.0)
        await stream.send(trial_pb2.Words(words=b"one"))
        self.assertEqual((await stream.receive()).words, b"one")
        error = await self.failed(stream.receive())
        self.assertEqual(error.code, Code.DEADLINE_EXCEEDED)

    @needs_streams
    async def test_a_call_of_the_wrong_kind_has_not_started(self):
        echo, count = 0xC21BCD4128146EAD, 0x6D4D3E5B143F16F8
        stream = self.connection.server_stream(echo, Empty(), Empty, timeout=PATIENCE)
        for call in (stream.receive(), self.connection.call(count, b"", timeout=PATIENCE)):
            error = await self.failed(call)
            self.assertEqual(error.code, Code.INVALID_ARGUMENT)
            self.assertEqual(error.execution, Execution.NOT_STARTED)

    @needs_streams
    async def test_metadata_arrives(self):
        metadata = {"trace.parent-1_": b"\0\xff", "a": b"", "z": bytes(4000)}
        reply = await self.client.metadata(Empty(), timeout=PATIENCE, metadata=metadata)
        self.assertEqual({entry.key: entry.value for entry in reply.entries}, metadata)
        reply = await self.client.metadata(Empty(), timeout=PATIENCE)
        self.assertEqual(len(reply.entries), 0)


class Identities(unittest.TestCase):
    def test_a_key_file_is_its_owners_alone(self):
        mode = pathlib.Path(trial.identity("client").key).stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_files_that_are_no_identity_are_refused(self):
        client, other = trial.identity("client"), trial.identity("other")
        for certificate, key in (
            (client.certificate, other.key),
            (client.key, client.key),
            (client.certificate, client.certificate),
        ):
            with self.subTest((certificate, key)), self.assertRaises(ssl.SSLError):
                identity = sealmoot_rpc.Identity(certificate=certificate, key=key)
                asyncio.run(
                    sealmoot_rpc.connect(
                        "127.0.0.1", 1, identity=identity, server=sealmoot_rpc.KeyId(bytes(32))
                    )
                )

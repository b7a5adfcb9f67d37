"""The same calls from plain code."""

import os
import threading
import unittest

import trial_pb2
import trial_rpc
from google.protobuf.empty_pb2 import Empty
from parts.number_pb2 import Number

from sealmoot_rpc import Code, RpcError, WrongServer, KeyId, blocking

from . import trial
from .test_end_to_end import needs_streams
from .trial import PATIENCE, RustServer


class Blocking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RustServer()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def setUp(self):
        self.connection = self.connect(self.server.key_id)
        self.client = trial_rpc.TrialBlockingClient(self.connection)
        self.addCleanup(self.connection.close)

    def connect(self, key):
        identity = trial.identity("client")
        return blocking.connect(self.server.host, self.server.port, identity=identity, server=key)

    def test_a_unary_call_is_answered(self):
        request = trial_pb2.Words(words=b"hello")
        self.assertEqual(self.client.echo(request, timeout=PATIENCE), request)

    def test_the_wrong_key_is_told(self):
        with self.assertRaises(WrongServer):
            self.connect(KeyId(bytes(32)))

    def test_a_client_that_retries_has_every_kind_of_call(self):
        identity = trial.identity("client")
        server = self.server
        with blocking.connect_retrying(
            server.host, server.port, identity=identity, server=server.key_id
        ) as retrying:
            retrying.up(PATIENCE)
            client = trial_rpc.TrialBlockingClient(retrying)
            request = trial_pb2.TallyRequest(key=4711, refusals=2)
            self.assertEqual(client.tally(request, timeout=PATIENCE).runs, 1)
            numbers = [Number(value=value) for value in range(4)]
            self.assertEqual(client.sum(numbers, timeout=PATIENCE).value, 6)
            counted = client.count(trial_pb2.CountRequest(up_to=3), timeout=PATIENCE)
            self.assertEqual([one.value for one in counted], [0, 1, 2])
            with client.chat(timeout=PATIENCE) as chat:
                chat.send(trial_pb2.Words(words=b"hello"))
                self.assertEqual(chat.receive().words, b"hello")
        with self.assertRaises(RpcError) as closed:
            client.tally(request, timeout=PATIENCE)
        self.assertEqual(closed.exception.code, Code.CANCELLED)

    def test_over_a_connection_nothing_is_sent_again(self):
        request = trial_pb2.TallyRequest(key=4712, refusals=1)
        with self.assertRaises(RpcError) as refused:
            self.client.tally(request, timeout=PATIENCE)
        self.assertTrue(refused.exception.execution.is_safe_to_retry)

    def test_a_deadline_ends_the_call(self):
        with self.assertRaises(RpcError) as failed:
            self.client.sleep(trial_pb2.SleepRequest(milliseconds=20_000), timeout=0.2)
        self.assertEqual(failed.exception.code, Code.DEADLINE_EXCEEDED)

    def test_threads_share_a_connection(self):
        replies = []

        def work(number):
            request = trial_pb2.Words(words=bytes([number]))
            for _ in range(50):
                replies.append(self.client.echo(request, timeout=PATIENCE) == request)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(replies, [True] * 400)

    def test_a_closed_connection_takes_no_calls(self):
        with self.connect(self.server.key_id) as connection:
            pass
        with self.assertRaises(RpcError):
            trial_rpc.TrialBlockingClient(connection).watch(Empty(), timeout=PATIENCE)

    def test_a_forked_process_has_no_connection(self):
        child = os.fork()
        if child == 0:
            try:
                self.client.watch(Empty(), timeout=PATIENCE)
            except RuntimeError:
                os._exit(7)
            os._exit(0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)

    @needs_streams
    def test_each_kind_of_stream(self):
        reply = self.client.sum((Number(value=i) for i in range(100)), timeout=PATIENCE)
        self.assertEqual(reply.value, sum(range(100)))
        request = trial_pb2.CountRequest(up_to=100)
        values = [reply.value for reply in self.client.count(request, timeout=PATIENCE)]
        self.assertEqual(values, list(range(100)))
        with self.client.chat(timeout=PATIENCE) as chat:
            for word in (b"a", b"b"):
                chat.send(trial_pb2.Words(words=word))
                self.assertEqual(chat.receive().words, word)
            chat.end()
            self.assertIsNone(chat.receive())

    @needs_streams
    def test_what_requests_raise_cancels_the_call(self):
        def requests():
            yield Number(value=1)
            raise KeyError("broken")

        with self.assertRaises(KeyError):
            self.client.sum(requests(), timeout=PATIENCE)
        self.assertEqual(self.connection._inner._transport._machine.calls_in_flight, 0)

"""Calls that are sent again: against a server that does as it is told, and against
the Rust server behind a proxy that cuts."""

import asyncio
import gc
import os
import random
import unittest

import trial_pb2
import trial_rpc
from google.protobuf.empty_pb2 import Empty
from parts.number_pb2 import Number

import sealmoot_rpc
from sealmoot_rpc import Code, Execution, Guard, Limits, RetryPolicy, RpcError
from sealmoot_rpc.frame import Flag, Frame, Kind
from sealmoot_rpc.once import OPEN_METHOD, UNKNOWN_INCARNATION
from sealmoot_rpc.payload import decode_call, encode_failure

from . import trial
from .trial import PATIENCE, FakeServer, Proxy, RustServer

METHOD = 7
SHORT = 2.0
STORMS = int(os.environ.get("SEALMOOT_STORMS", "3"))
"""Seeds of calls through many cuts."""


def answer(call):
    return Frame(Kind.REPLY, call=call, payload=b"answer")


def fails(code, execution, details=b""):
    failure = encode_failure(RpcError(code, execution, "as told", details))
    return lambda call: Frame(Kind.REPLY, code=code, call=call, payload=failure)


def cut(_):
    """The connection ends without an answer."""


def silence(_):
    return ()


def drain(call):
    """Answers, and takes no further call on this connection."""
    reason = encode_failure(RpcError(Code.UNAVAILABLE, Execution.NOT_STARTED, "draining"))
    return (Frame(Kind.GOAWAY, code=Code.UNAVAILABLE, payload=reason), answer(call))


BUSY = fails(Code.UNAVAILABLE, Execution.NOT_STARTED)
UNKNOWN = fails(Code.FAILED_PRECONDITION, Execution.NOT_STARTED, UNKNOWN_INCARNATION)


class Script:
    """What becomes of each call, whatever connection it comes over."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.heads = []
        self.connections = 0
        self.cancels = 0
        self.admission = 0.0
        """How long it takes, for all connections but the first."""

    async def __call__(self, peer):
        self.connections += 1
        await asyncio.sleep(self.admission if self.connections > 1 else 0)
        await peer.admit()
        while True:
            frame = await peer.receive()
            if frame.kind == Kind.CANCEL:
                self.cancels += 1
                continue
            self.heads.append(decode_call(frame.flags, frame.payload)[0])
            frames = self.steps.pop(0)(frame.call)
            if frames is None:
                return
            await peer.send(*((frames,) if isinstance(frames, Frame) else frames))

    @property
    def names(self):
        """The at-most-once blocks: the incarnation as a number from 0 in the order
        of their opening, sequence, floor."""
        incarnations = [h.once.incarnation for h in self.heads if h.method == OPEN_METHOD]
        assert len(set(incarnations)) == len(incarnations), "an open was sent twice"
        return [
            (incarnations.index(head.once.incarnation), head.once.sequence, head.once.floor)
            for head in self.heads
        ]


class Told(unittest.IsolatedAsyncioTestCase):
    async def outcome(self, script, guard=Guard.ONCE, **fields):
        async with FakeServer(script) as server:
            async with server.connect_retrying(**fields) as client:
                return await client.call(METHOD, b"", guard=guard, timeout=PATIENCE)

    async def refused(self, script, *arguments, **fields):
        with self.assertRaises(RpcError) as failed:
            await self.outcome(script, *arguments, **fields)
        return failed.exception.code, failed.exception.execution

    async def test_a_plain_call_that_may_have_run_is_not_sent_again(self):
        script = Script(cut, answer)
        refused = await self.refused(script, Guard.UNKNOWN)
        self.assertEqual(refused, (Code.UNAVAILABLE, Execution.MAYBE_EXECUTED))
        self.assertEqual(len(script.heads), 1)

    async def test_what_executed_is_not_sent_again(self):
        for guard in Guard:
            opening = [answer] if guard == Guard.ONCE else []
            script = Script(*opening, fails(Code.UNAVAILABLE, Execution.EXECUTED), answer)
            refused = await self.refused(script, guard)
            self.assertEqual(refused, (Code.UNAVAILABLE, Execution.EXECUTED))

    async def test_attempts_end(self):
        script = Script(*[BUSY] * 9)
        refused = await self.refused(script, Guard.UNKNOWN)
        self.assertEqual(refused, (Code.UNAVAILABLE, Execution.NOT_STARTED))
        self.assertEqual(len(script.heads), RetryPolicy().attempts_max)

    async def test_what_did_not_start_is_sent_again_whatever_it_is(self):
        for guard in Guard:
            opening = [answer] if guard == Guard.ONCE else []
            script = Script(*opening, BUSY, BUSY, answer)
            self.assertEqual(await self.outcome(script, guard), b"answer")

    async def test_an_idempotent_call_is_sent_again_over_another_connection(self):
        for guard in (Guard.NO_SIDE_EFFECTS, Guard.IDEMPOTENT):
            script = Script(cut, cut, answer)
            self.assertEqual(await self.outcome(script, guard), b"answer")
            self.assertEqual((script.connections, len(script.heads)), (3, 3))
            self.assertTrue(all(head.once is None for head in script.heads))

    async def test_the_first_attempt_after_an_ended_connection_costs_no_budget(self):
        async def called(*steps):
            script = Script(*steps)
            async with FakeServer(script) as server, server.connect_retrying() as client:
                while client._budget.withdraw(10.0**9):
                    pass
                return await client.call(
                    METHOD, b"", guard=Guard.IDEMPOTENT, timeout=PATIENCE
                )

        self.assertEqual(await called(cut, answer), b"answer")
        # Once a call, and only for that.
        for steps in ((cut, cut, answer), (BUSY, answer)):
            with self.assertRaises(RpcError) as failed:
                await called(*steps)
            self.assertEqual(failed.exception.code, Code.UNAVAILABLE)

    async def test_an_at_most_once_call_is_sent_again_under_its_name(self):
        script = Script(answer, cut, BUSY, cut, answer)
        self.assertEqual(await self.outcome(script), b"answer")
        self.assertEqual(script.names, [(0, 0, 0)] + [(0, 1, 1)] * 4)
        self.assertEqual(script.heads[0].method, OPEN_METHOD)

    async def test_an_open_without_an_answer_is_not_repeated(self):
        script = Script(cut, BUSY, answer, answer)
        self.assertEqual(await self.outcome(script), b"answer")
        self.assertEqual(script.names, [(0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 1, 1)])

    async def test_an_open_that_fails_leaves_its_call_unsent(self):
        script = Script(fails(Code.PERMISSION_DENIED, Execution.EXECUTED, b"why"))
        refused = await self.refused(script)
        self.assertEqual(refused, (Code.PERMISSION_DENIED, Execution.NOT_SENT))
        self.assertEqual(script.names, [(0, 0, 0)])

    async def test_an_unknown_incarnation_is_replaced_when_nothing_can_have_run(self):
        script = Script(answer, BUSY, UNKNOWN, answer, answer)
        self.assertEqual(await self.outcome(script), b"answer")
        self.assertEqual(
            script.names, [(0, 0, 0), (0, 1, 1), (0, 1, 1), (1, 0, 0), (1, 1, 1)]
        )

    async def test_an_unknown_incarnation_leaves_what_may_have_run_unknown(self):
        for middle in ([], [BUSY]):
            script = Script(answer, cut, *middle, UNKNOWN, answer, answer)
            refused = await self.refused(script)
            self.assertEqual(refused, (Code.OUTCOME_UNKNOWN, Execution.MAYBE_EXECUTED))
            self.assertEqual(script.names, [(0, 0, 0)] + [(0, 1, 1)] * (2 + len(middle)))

    async def test_an_old_at_most_once_call_is_not_sent_again(self):
        script = Script(answer, cut, answer)
        script.admission = 1.1
        refused = await self.refused(script, policy=RetryPolicy(once_horizon=1.0))
        self.assertEqual(refused, (Code.UNAVAILABLE, Execution.MAYBE_EXECUTED))
        self.assertEqual(script.names, [(0, 0, 0), (0, 1, 1)])
        self.assertEqual(script.connections, 2)

    async def test_the_floor_follows_the_calls_that_are_settled(self):
        script = Script(answer, answer, BUSY, answer, fails(Code.ABORTED, Execution.EXECUTED), answer)
        async with FakeServer(script) as server, server.connect_retrying() as client:
            for _ in range(4):
                try:
                    await client.call(METHOD, b"", guard=Guard.ONCE, timeout=PATIENCE)
                except RpcError as error:
                    self.assertEqual(error.code, Code.ABORTED)
        expected = [(0, 0), (1, 1), (2, 2), (2, 2), (3, 3), (4, 4)]
        self.assertEqual([name[1:] for name in script.names], expected)

    async def test_a_cancelled_call_is_told_and_settled(self):
        script = Script(answer, silence, answer)
        async with FakeServer(script) as server, server.connect_retrying() as client:
            call = client.call(METHOD, b"", guard=Guard.ONCE, timeout=PATIENCE)
            task = asyncio.ensure_future(call)
            while len(script.heads) < 2:
                await asyncio.sleep(0.001)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            await client.call(METHOD, b"", guard=Guard.ONCE, timeout=PATIENCE)
        self.assertEqual(script.names, [(0, 0, 0), (0, 1, 1), (0, 2, 2)])
        self.assertEqual(script.cancels, 1)

    async def test_callers_share_one_open_and_one_that_leaves_does_not_end_it(self):
        may_answer = asyncio.Event()
        script = Script()

        async def waiting(peer):
            script.connections += 1
            await peer.admit()
            opening = await peer.receive()
            script.heads.append(decode_call(opening.flags, opening.payload)[0])
            await may_answer.wait()
            await peer.send(answer(opening.call))
            while True:
                frame = await peer.receive()
                script.heads.append(decode_call(frame.flags, frame.payload)[0])
                await peer.send(answer(frame.call))

        async with FakeServer(waiting) as server, server.connect_retrying() as client:
            tasks = [
                asyncio.ensure_future(
                    client.call(METHOD, b"", guard=Guard.ONCE, timeout=PATIENCE)
                )
                for _ in range(4)
            ]
            while not script.heads:
                await asyncio.sleep(0.001)
            tasks.pop(0).cancel()
            may_answer.set()
            self.assertEqual(await asyncio.gather(*tasks), [b"answer"] * 3)
        self.assertEqual([name[:2] for name in script.names], [(0, 0), (0, 1), (0, 2), (0, 3)])

    async def test_a_deadline_ends_a_call_wherever_it_is(self):
        for steps, guard, execution in (
            ([silence], Guard.IDEMPOTENT, Execution.MAYBE_EXECUTED),
            ([answer, silence], Guard.ONCE, Execution.MAYBE_EXECUTED),
            ([silence], Guard.ONCE, Execution.NOT_SENT),
        ):
            script = Script(*steps)
            async with FakeServer(script) as server, server.connect_retrying() as client:
                with self.assertRaises(RpcError) as failed:
                    await client.call(METHOD, b"", guard=guard, timeout=SHORT)
            self.assertEqual(failed.exception.code, Code.DEADLINE_EXCEEDED)
            self.assertEqual(failed.exception.execution, execution)

    async def test_a_call_that_never_had_a_connection_was_not_sent_and_says_why(self):
        async with FakeServer(Script()) as server:
            other = sealmoot_rpc.KeyId.from_hex("11" * 32)
            async with server.connect_retrying(server=other) as client:
                with self.assertRaises(RpcError) as failed:
                    await client.call(METHOD, b"", timeout=SHORT)
                stream = client.server_stream(METHOD, Empty(), Empty, timeout=SHORT)
                with self.assertRaises(RpcError) as not_started:
                    await stream.receive()
                self.assertTrue(stream.is_done)
                self.assertFalse(client.is_up)
        for error in (failed.exception, not_started.exception):
            self.assertEqual(error.code, Code.DEADLINE_EXCEEDED)
            self.assertEqual(error.execution, Execution.NOT_SENT)
            self.assertIn("not the pinned one", error.message)

    async def test_a_server_that_drains_is_left_for_another_connection(self):
        script = Script(drain, answer)
        async with FakeServer(script) as server, server.connect_retrying() as client:
            for _ in range(2):
                self.assertEqual(await client.call(METHOD, b"", timeout=PATIENCE), b"answer")
        self.assertEqual(script.connections, 2)

    async def test_a_call_that_a_draining_server_answers_late_keeps_no_other(self):
        def goes(call):
            return drain(call)[0]

        script = Script(goes, answer)
        async with FakeServer(script) as server, server.connect_retrying() as client:
            late = asyncio.ensure_future(client.call(METHOD, b"", timeout=PATIENCE))
            while not script.heads:
                await asyncio.sleep(0.001)
            self.assertEqual(await client.call(METHOD, b"", timeout=PATIENCE / 2), b"answer")
            self.assertFalse(late.done())
            await client.close()
            with self.assertRaises(RpcError):
                await late

    async def test_a_server_that_says_nothing_is_tried_again_before_a_whole_handshakes_time(self):
        script = Script(answer)

        async def silent_at_first(peer):
            if script.connections == 0:
                script.connections += 1
                await peer.stay()
            await script(peer)

        async with FakeServer(silent_at_first) as server:
            async with server.connect_retrying(limits=Limits(handshake=60.0)) as client:
                self.assertEqual(await client.call(METHOD, b"", timeout=PATIENCE), b"answer")

    async def test_a_closed_client_ends_its_calls_and_takes_none(self):
        script = Script(answer, silence)
        async with FakeServer(script) as server:
            client = server.connect_retrying()
            call = client.call(METHOD, b"", guard=Guard.ONCE, timeout=PATIENCE)
            task = asyncio.ensure_future(call)
            while len(script.heads) < 2:
                await asyncio.sleep(0.001)
            await client.close()
            with self.assertRaises(RpcError) as ended:
                await task
            with self.assertRaises(RpcError) as refused:
                await client.call(METHOD, b"", timeout=PATIENCE)
            with self.assertRaises(RpcError):
                await client.duplex_stream(METHOD, Empty, timeout=PATIENCE).receive()
            await client.close()
        self.assertEqual(ended.exception.execution, Execution.MAYBE_EXECUTED)
        self.assertEqual(refused.exception.code, Code.CANCELLED)
        self.assertEqual(refused.exception.execution, Execution.NOT_SENT)

    async def test_closing_ends_a_rest_and_a_wait_for_a_connection(self):
        policy = RetryPolicy(backoff_first=1000.0, backoff_max=1000.0)
        random.seed(1)
        script = Script(BUSY, answer)
        async with FakeServer(script) as server:
            client = server.connect_retrying(policy=policy)
            task = asyncio.ensure_future(client.call(METHOD, b"", timeout=10_000.0))
            while not script.heads:
                await asyncio.sleep(0.001)
            await client.close()
            with self.assertRaises(RpcError) as resting:
                await asyncio.wait_for(task, PATIENCE)
        self.assertEqual(resting.exception.execution, Execution.NOT_STARTED)

    async def test_arguments_that_make_no_call_are_refused_at_once(self):
        async with FakeServer(Script()) as server, server.connect_retrying() as client:
            for fields in ({"timeout": float("nan")}, {"timeout": 1.0, "metadata": {"Key": b""}}):
                with self.assertRaises(ValueError):
                    await client.call(METHOD, b"", **fields)
                with self.assertRaises(ValueError):
                    client.duplex_stream(METHOD, Empty, **fields)

    async def test_an_identity_that_is_not_there_is_told_at_once(self):
        missing = sealmoot_rpc.Identity(certificate="/nowhere.pem", key="/nowhere.pem")
        with self.assertRaises(OSError):
            sealmoot_rpc.connect_retrying(
                "127.0.0.1", 1, identity=missing, server=sealmoot_rpc.KeyId.from_hex("11" * 32)
            )


class Cut(unittest.IsolatedAsyncioTestCase):
    """Generated stubs and the Rust server, with a proxy between."""

    def client_of(self, proxy, server, **fields):
        return sealmoot_rpc.connect_retrying(
            proxy.host,
            proxy.port,
            identity=trial.identity("client"),
            server=server.key_id,
            limits=Limits(linger=0.2),
            **fields,
        )

    async def cut(self, proxy, retrying):
        """Until the client has noticed: no call is sent into the void."""
        connection = retrying._link.connection
        proxy.cut_all()
        await connection.refused()

    async def runs(self, server):
        """How often each key was counted, as the server has it."""
        async with await sealmoot_rpc.connect(
            server.host, server.port, identity=trial.identity("client"), server=server.key_id
        ) as connection:
            client = trial_rpc.TrialClient(connection)
            return dict((await client.tallies(Empty(), timeout=PATIENCE)).runs)

    async def storm(self, seed, call):
        """Many calls through many cuts: their errors by key, and the runs."""
        chance = random.Random(seed)
        with RustServer() as server:
            # Some connections do not live through their handshake.
            proxy = Proxy(server, lambda: chance.randrange(1_000, 4_000))
            outcomes = {}
            async with proxy, self.client_of(proxy, server) as retrying:
                client = trial_rpc.TrialClient(retrying)

                async def work(worker):
                    for number in range(40):
                        key = 100 * worker + number
                        request = trial_pb2.TallyRequest(
                            key=key,
                            refusals=chance.choice((0, 0, 0, 1)),
                            milliseconds=chance.randrange(4),
                        )
                        try:
                            await call(client, request)
                            outcomes[key] = None
                        except RpcError as error:
                            outcomes[key] = error

                await asyncio.gather(*(work(worker) for worker in range(4)))
            self.assertGreater(proxy.cuts, 5, "too few cuts to tell anything")
            return outcomes, await self.runs(server)

    def tell_the_truth(self, outcomes, runs):
        """No call ran twice, and each did what it was said to have done."""
        self.assertEqual(len(outcomes), 160)
        for key, error in outcomes.items():
            ran = runs.get(key, 0)
            self.assertLessEqual(ran, 1, key)
            if error is None or error.execution == Execution.EXECUTED:
                self.assertEqual(ran, 1, key)
            elif error.execution.is_safe_to_retry:
                self.assertEqual(ran, 0, key)

    async def test_an_at_most_once_call_never_runs_twice_whatever_is_cut(self):
        for seed in range(STORMS):
            with self.subTest(seed=seed):
                outcomes, runs = await self.storm(
                    seed, lambda client, request: client.tally(request, timeout=PATIENCE)
                )
                self.tell_the_truth(outcomes, runs)
                succeeded = sum(error is None for error in outcomes.values())
                self.assertGreater(succeeded, 120, "cuts are survived")

    async def test_a_plain_call_never_runs_twice_whatever_is_cut(self):
        seed = 7
        with self.subTest(seed=seed):
            outcomes, runs = await self.storm(
                seed, lambda client, request: client.tally_plainly(request, timeout=PATIENCE)
            )
            self.tell_the_truth(outcomes, runs)

    async def cut_while_it_runs(self, method):
        """What comes of a call whose connection is cut then, and how often it ran."""
        with RustServer() as server:
            async with Proxy(server) as proxy, self.client_of(proxy, server) as retrying:
                client = trial_rpc.TrialClient(retrying)
                request = trial_pb2.TallyRequest(key=1, milliseconds=3000)
                task = asyncio.ensure_future(method(client)(request, timeout=PATIENCE))
                while not await self.runs(server):
                    await asyncio.sleep(0.01)
                proxy.cut_all()
                await asyncio.wait({task})
            return task, (await self.runs(server))[1]

    async def test_an_at_most_once_call_that_is_cut_while_it_runs_is_joined(self):
        task, runs = await self.cut_while_it_runs(lambda client: client.tally)
        self.assertEqual((task.result().runs, runs), (1, 1))

    async def test_an_idempotent_call_that_is_cut_while_it_runs_runs_again(self):
        task, runs = await self.cut_while_it_runs(lambda client: client.tally_again)
        self.assertEqual((task.result().runs, runs), (2, 2))

    async def test_a_plain_call_that_is_cut_while_it_runs_is_reported(self):
        task, runs = await self.cut_while_it_runs(lambda client: client.tally_plainly)
        self.assertEqual(task.exception().execution, Execution.MAYBE_EXECUTED)
        self.assertEqual(runs, 1)

    async def test_a_server_that_comes_again_has_forgotten_what_may_have_run(self):
        first = RustServer("again")
        with first:
            async with Proxy(first) as proxy, self.client_of(proxy, first) as retrying:
                client = trial_rpc.TrialClient(retrying)
                request = trial_pb2.TallyRequest(key=1, milliseconds=60_000)
                task = asyncio.ensure_future(client.tally(request, timeout=PATIENCE))
                while not await self.runs(first):
                    await asyncio.sleep(0.01)
                with RustServer("again") as second:
                    self.assertEqual(second.key_id, first.key_id)
                    proxy.target = second
                    first.kill()
                    proxy.cut_all()
                    with self.assertRaises(RpcError) as unknown:
                        await task
                    self.assertEqual(unknown.exception.code, Code.OUTCOME_UNKNOWN)
                    self.assertEqual(unknown.exception.execution, Execution.MAYBE_EXECUTED)
                    # What begins now has another incarnation.
                    reply = await client.tally(trial_pb2.TallyRequest(key=2), timeout=PATIENCE)
                    self.assertEqual(reply.runs, 1)
                    self.assertEqual(await self.runs(second), {2: 1})

    async def test_a_server_that_comes_again_costs_settled_clients_nothing(self):
        first = RustServer("again")
        with first:
            async with Proxy(first) as proxy, self.client_of(proxy, first) as retrying:
                client = trial_rpc.TrialClient(retrying)
                await client.tally(trial_pb2.TallyRequest(key=1), timeout=PATIENCE)
                with RustServer("again") as second:
                    proxy.target = second
                    first.kill()
                    await self.cut(proxy, retrying)
                    reply = await client.tally(trial_pb2.TallyRequest(key=1), timeout=PATIENCE)
                    self.assertEqual(reply.runs, 1, "the other server has counted nothing")

    async def test_over_a_connection_each_call_is_sent_once(self):
        with RustServer() as server:
            async with await sealmoot_rpc.connect(
                server.host, server.port, identity=trial.identity("client"), server=server.key_id
            ) as connection:
                client = trial_rpc.TrialClient(connection)
                request = trial_pb2.TallyRequest(key=1, refusals=1)
                with self.assertRaises(RpcError) as refused:
                    await client.tally(request, timeout=PATIENCE)
                self.assertEqual(refused.exception.execution, Execution.NOT_STARTED)
                self.assertEqual((await client.tally(request, timeout=PATIENCE)).runs, 1)

    async def test_streams_of_each_kind_wait_for_their_connection(self):
        with RustServer() as server:
            async with Proxy(server) as proxy, self.client_of(proxy, server) as retrying:
                client = trial_rpc.TrialClient(retrying)
                numbers = [Number(value=value) for value in range(5)]
                # Of all three the first begins before there is a connection.
                request = trial_pb2.CountRequest(up_to=5)
                counted = [one.value async for one in client.count(request, timeout=PATIENCE)]
                self.assertEqual(counted, [0, 1, 2, 3, 4])
                self.assertEqual((await client.sum(numbers, timeout=PATIENCE)).value, 10)
                async with client.chat(timeout=PATIENCE) as chat:
                    await chat.send(trial_pb2.Words(words=b"hello"))
                    self.assertEqual((await chat.receive()).words, b"hello")
                    await chat.end()
                    self.assertIsNone(await chat.receive())
                    self.assertTrue(chat.is_done)
                await self.cut(proxy, retrying)
                async with client.chat(timeout=PATIENCE) as chat:
                    await chat.send(trial_pb2.Words(words=b"again"))
                    self.assertEqual((await chat.receive()).words, b"again")

    async def test_a_stream_that_is_cut_is_not_resumed(self):
        with RustServer() as server:
            async with Proxy(server) as proxy, self.client_of(proxy, server) as retrying:
                client = trial_rpc.TrialClient(retrying)
                async with client.chat(timeout=PATIENCE) as chat:
                    await chat.send(trial_pb2.Words(words=b"hello"))
                    await chat.receive()
                    proxy.cut_all()
                    with self.assertRaises(RpcError) as lost:
                        await chat.receive()
                self.assertEqual(lost.exception.execution, Execution.MAYBE_EXECUTED)

    async def test_streams_left_behind_are_cancelled_whether_or_not_they_began(self):
        with RustServer() as server:
            async with Proxy(server) as proxy, self.client_of(proxy, server) as retrying:
                client = trial_rpc.TrialClient(retrying)
                never = client.chat(timeout=PATIENCE)
                never.cancel()
                with self.assertRaises(RpcError) as cancelled:
                    await never.receive()
                self.assertEqual(cancelled.exception.execution, Execution.NOT_SENT)
                await retrying.up(PATIENCE)
                left = client.chat(timeout=PATIENCE)
                await left.send(trial_pb2.Words())
                machine = retrying._link.connection._transport._machine
                self.assertEqual(machine.calls_in_flight, 1)
                del left
                not_begun = client.chat(timeout=PATIENCE)
                del not_begun
                gc.collect()
                await client.echo(trial_pb2.Words(), timeout=PATIENCE)
                self.assertEqual(machine.calls_in_flight, 0)


if __name__ == "__main__":
    unittest.main()

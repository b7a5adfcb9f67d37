"""At-most-once calls of one client as values; the same cases as in Rust."""

import unittest

from sealmoot_rpc.limits import ONCE_ENTRIES_MAX, ONCE_HORIZON
from sealmoot_rpc.once import (
    UNKNOWN_INCARNATION,
    SessionOver,
    Unopened,
    combined,
    is_unknown_incarnation,
)
from sealmoot_rpc.payload import CallHead, OnceId, decode_call
from sealmoot_rpc.status import Code, Execution, RpcError

INCARNATION = b"\x07" * 16


def opened(now=0.0, **fields):
    _, opening = Unopened(INCARNATION, **fields).send(now)
    return opening.answered()


class Opening(unittest.TestCase):
    def test_an_open_is_never_sent_twice(self):
        unopened = Unopened(INCARNATION)
        unopened.send(0.0)
        with self.assertRaises(RuntimeError):
            unopened.send(1.0)

    def test_an_open_makes_one_session(self):
        _, opening = Unopened(INCARNATION).send(0.0)
        opening.answered()
        with self.assertRaises(RuntimeError):
            opening.answered()

    def test_an_incarnation_of_another_length_is_refused(self):
        for length in (0, 15, 17):
            with self.assertRaises(ValueError):
                Unopened(bytes(length))

    def test_an_open_names_no_call(self):
        once, _ = Unopened(INCARNATION).send(0.0)
        self.assertEqual(once, OnceId(INCARNATION, 0, 0))
        head = CallHead(1, 0, once)
        self.assertEqual(decode_call(head.flags, head.encode()), (head, b""))


class Session(unittest.TestCase):
    def test_a_lost_incarnation_begins_no_call(self):
        session = opened()
        session.lost()
        self.assertEqual(session.begin(0.0), SessionOver.LOST)

    def test_an_incarnation_not_heard_of_for_the_horizon_begins_no_call(self):
        session = opened()
        self.assertEqual(session.begin(ONCE_HORIZON), SessionOver.STALE)
        session.heard(1.0)
        self.assertEqual(session.begin(ONCE_HORIZON), 1)
        session.heard(0.0)
        self.assertEqual(session.begin(ONCE_HORIZON), 2, "an older answer took life away")

    def test_the_horizon_begins_when_the_open_was_sent(self):
        session = opened(5.0, horizon=10.0)
        self.assertEqual(session.begin(14.999), 1)
        self.assertEqual(session.begin(15.0), SessionOver.STALE)

    def test_an_incarnation_with_too_much_above_its_floor_begins_no_call(self):
        session = opened()
        for sequence in range(1, ONCE_ENTRIES_MAX + 1):
            self.assertEqual(session.begin(0.0), sequence)
        self.assertEqual(session.begin(0.0), SessionOver.FULL)
        session.settle(2)
        self.assertEqual(session.begin(0.0), SessionOver.FULL)
        session.settle(1)
        self.assertEqual(session.begin(0.0), ONCE_ENTRIES_MAX + 1)

    def test_the_floor_is_the_lowest_unsettled_sequence(self):
        session = opened()
        self.assertEqual(session.floor, 1)
        for expected in (1, 2, 3):
            self.assertEqual(session.begin(0.0), expected)
        session.settle(2)
        self.assertEqual(session.id(3), OnceId(INCARNATION, 3, 1))
        session.settle(1)
        self.assertEqual(session.id(3).floor, 3)
        session.settle(3)
        self.assertEqual(session.floor, 4)

    def test_an_attempt_never_carries_a_floor_above_itself(self):
        session = opened()
        session.begin(0.0)
        session.settle(1)
        self.assertEqual(session.id(1), OnceId(INCARNATION, 1, 1))

    def test_settling_twice_or_what_never_began_moves_no_floor(self):
        session = opened()
        session.begin(0.0)
        session.settle(9)
        self.assertEqual(session.floor, 1)
        session.settle(1)
        session.settle(1)
        self.assertEqual(session.floor, 2)


class Known(unittest.TestCase):
    def test_a_refusal_takes_back_nothing_of_the_attempts_before(self):
        not_sent, not_started, maybe, executed = Execution
        for previous, this, expected in (
            ([], not_sent, not_sent),
            ([not_sent], not_started, not_started),
            ([not_started], not_sent, not_started),
            ([maybe], not_started, maybe),
            ([maybe, not_sent], not_sent, maybe),
            ([maybe], executed, executed),
            ([executed], maybe, executed),
        ):
            self.assertEqual(combined(previous, this), expected)

    def test_only_a_refusal_with_its_details_is_an_unknown_incarnation(self):
        known = (Code.FAILED_PRECONDITION, Execution.NOT_STARTED, "", UNKNOWN_INCARNATION)
        self.assertTrue(is_unknown_incarnation(RpcError(*known)))
        for index, other in (
            (0, Code.UNAVAILABLE),
            (1, Execution.MAYBE_EXECUTED),
            (1, Execution.EXECUTED),
            (3, b""),
            (3, UNKNOWN_INCARNATION + b"."),
        ):
            fields = list(known)
            fields[index] = other
            self.assertFalse(is_unknown_incarnation(RpcError(*fields)), fields)


if __name__ == "__main__":
    unittest.main()

"""Whether and when calls are sent again, as values; the same cases as in Rust."""

import unittest

from sealmoot_rpc.limits import (
    LINK_REFUSED_RETRY_MAX,
    LINK_RETRY_FIRST,
    LINK_RETRY_MAX,
    LINK_STANDS,
    ONCE_HORIZON,
    RETRY_ATTEMPTS_MAX,
    RETRY_BURST_MAX,
)
from sealmoot_rpc.link import Pauses
from sealmoot_rpc.once import UNKNOWN_INCARNATION
from sealmoot_rpc.retry import Again, Anew, Attempts, Budget, Guard, Report, RetryPolicy
from sealmoot_rpc.status import Code, Execution, RpcError

NOT_SENT, NOT_STARTED, MAYBE, EXECUTED = Execution
PASSING = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)
TIME = 10.0
NOW = 1000.0
# As rpc/src/details.rs has it: 300 ms.
RETRY_AFTER = b"\x0a\x21\x0a\x1asealmoot.rpc.v1.RetryAfter\x12\x03\x08\xac\x02"


def error(code, execution, details=b""):
    return RpcError(code, execution, "why", details)


def unknown():
    return error(Code.FAILED_PRECONDITION, NOT_STARTED, UNKNOWN_INCARNATION)


class Decisions(unittest.TestCase):
    def setUp(self):
        self.policy = RetryPolicy()
        self.budget = Budget(NOW)

    def after(self, guard, *failures, now=NOW, random=1.0, timeout=TIME):
        """What becomes of a call whose attempts fail so, the last of them now."""
        attempts = Attempts(guard, NOW + timeout)
        for failure in failures:
            attempts.begin(NOW)
            decision = attempts.failed(now, failure, self.policy, self.budget, random)
        return decision

    def reported(self, decision):
        self.assertIsInstance(decision, Report)
        return decision.error.code, decision.error.execution

    def test_what_executed_is_never_sent_again(self):
        for guard in Guard:
            decision = self.after(guard, error(Code.UNAVAILABLE, EXECUTED))
            self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, EXECUTED))

    def test_what_may_have_run_is_sent_again_only_under_a_guard(self):
        lost = error(Code.UNAVAILABLE, MAYBE)
        self.assertEqual(self.reported(self.after(Guard.UNKNOWN, lost)), (Code.UNAVAILABLE, MAYBE))
        for guard in (Guard.NO_SIDE_EFFECTS, Guard.IDEMPOTENT, Guard.ONCE):
            self.assertIsInstance(self.after(guard, lost), Again, guard)

    def test_a_refusal_after_an_uncertain_attempt_does_not_free_a_plain_call(self):
        failures = [error(Code.UNAVAILABLE, MAYBE), error(Code.UNAVAILABLE, NOT_STARTED)]
        decision = self.after(Guard.UNKNOWN, *failures)
        self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, MAYBE))

    def test_codes_that_will_not_pass_are_reported_at_once(self):
        for code in set(Code) - {Code.OK, *PASSING}:
            for guard in Guard:
                decision = self.after(guard, error(code, NOT_STARTED))
                self.assertEqual(self.reported(decision), (code, NOT_STARTED))

    def test_attempts_are_bounded(self):
        failures = [error(Code.UNAVAILABLE, NOT_SENT)] * RETRY_ATTEMPTS_MAX
        self.assertIsInstance(self.after(Guard.UNKNOWN, *failures[1:]), Again)
        self.assertIsInstance(self.after(Guard.UNKNOWN, *failures), Report)

    def test_calls_that_end_with_their_connection_are_sent_again_once_without_budget(self):
        while self.budget.withdraw(NOW):
            pass
        for guard, execution in ((Guard.UNKNOWN, NOT_STARTED), (Guard.ONCE, MAYBE)):
            failure = error(Code.UNAVAILABLE, execution)
            attempts = Attempts(guard, NOW + TIME)
            decisions = []
            for _ in range(2):
                attempts.begin(NOW)
                attempts.cut()
                decisions.append(attempts.failed(NOW, failure, self.policy, self.budget, 1.0))
            self.assertIsInstance(decisions[0], Again, guard)
            self.assertEqual(self.reported(decisions[1])[0], Code.UNAVAILABLE, guard)
        # What did not end with its connection costs as ever.
        self.assertIsInstance(self.after(Guard.ONCE, error(Code.UNAVAILABLE, NOT_SENT)), Report)
        # What may not be sent again is not, whatever it costs.
        plain = Attempts(Guard.UNKNOWN, NOW + TIME)
        plain.begin(NOW)
        plain.cut()
        lost = error(Code.UNAVAILABLE, MAYBE)
        decision = plain.failed(NOW, lost, self.policy, self.budget, 1.0)
        self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, MAYBE))

    def test_nothing_is_sent_behind_the_deadline(self):
        failure = error(Code.UNAVAILABLE, NOT_SENT)
        self.assertIsInstance(self.after(Guard.UNKNOWN, failure, now=NOW + TIME), Report)
        self.assertIsInstance(self.after(Guard.UNKNOWN, failure, now=NOW + TIME + 1), Report)

    def test_nothing_is_sent_beyond_the_budget(self):
        for _ in range(RETRY_BURST_MAX):
            self.assertIsInstance(self.after(Guard.UNKNOWN, error(Code.UNAVAILABLE, NOT_SENT)), Again)
        decision = self.after(Guard.UNKNOWN, error(Code.UNAVAILABLE, NOT_SENT))
        self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, NOT_SENT))

    def test_an_unknown_incarnation_behind_an_uncertain_attempt_is_an_unknown_outcome(self):
        decision = self.after(Guard.ONCE, error(Code.UNAVAILABLE, MAYBE), unknown())
        self.assertEqual(self.reported(decision), (Code.OUTCOME_UNKNOWN, MAYBE))

    def test_an_unknown_incarnation_is_replaced_when_nothing_can_have_run(self):
        for before in ([], [error(Code.UNAVAILABLE, NOT_SENT)], [error(Code.UNAVAILABLE, NOT_STARTED)]):
            self.assertEqual(self.after(Guard.ONCE, *before, unknown()), Anew())

    def test_another_incarnation_costs_no_budget_and_an_attempt(self):
        while self.budget.withdraw(NOW):
            pass
        self.assertEqual(self.after(Guard.ONCE, unknown()), Anew())
        decision = self.after(Guard.ONCE, *[unknown()] * RETRY_ATTEMPTS_MAX)
        self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, NOT_STARTED))
        self.assertNotEqual(decision.error.details, UNKNOWN_INCARNATION)

    def test_an_unknown_incarnation_means_nothing_to_other_guards(self):
        for guard in (Guard.UNKNOWN, Guard.NO_SIDE_EFFECTS, Guard.IDEMPOTENT):
            decision = self.after(guard, unknown())
            self.assertEqual(self.reported(decision), (Code.FAILED_PRECONDITION, NOT_STARTED))

    def test_an_at_most_once_call_older_than_the_horizon_is_not_sent_again(self):
        lost = error(Code.UNAVAILABLE, MAYBE)
        fields = {"timeout": 2 * ONCE_HORIZON}
        decision = self.after(Guard.ONCE, lost, now=NOW + ONCE_HORIZON, **fields)
        self.assertEqual(self.reported(decision), (Code.UNAVAILABLE, MAYBE))
        self.assertIsInstance(self.after(Guard.ONCE, lost, now=NOW + ONCE_HORIZON - 1, **fields), Again)
        refused = error(Code.UNAVAILABLE, NOT_STARTED)
        self.assertIsInstance(self.after(Guard.ONCE, refused, now=NOW + ONCE_HORIZON, **fields), Again)

    def test_an_attempt_that_waited_too_long_for_a_connection_is_not_sent(self):
        for guard, execution, expected in (
            (Guard.ONCE, MAYBE, True),
            (Guard.ONCE, NOT_STARTED, False),
            (Guard.IDEMPOTENT, MAYBE, False),
        ):
            attempts = Attempts(guard, NOW + 2 * ONCE_HORIZON)
            attempts.begin(NOW)
            failure = error(Code.UNAVAILABLE, execution)
            decision = attempts.failed(NOW, failure, self.policy, self.budget, 0.0)
            self.assertIsInstance(decision, Again)
            self.assertFalse(attempts.is_too_late(NOW + ONCE_HORIZON - 1, self.policy))
            self.assertEqual(attempts.is_too_late(NOW + ONCE_HORIZON, self.policy), expected)

    def test_what_certainly_did_not_start_is_sent_again_whatever_it_is(self):
        for guard in Guard:
            for execution in (NOT_SENT, NOT_STARTED):
                for code in PASSING:
                    self.assertIsInstance(self.after(guard, error(code, execution)), Again)

    def test_the_rest_doubles_is_drawn_and_ends(self):
        failure = error(Code.UNAVAILABLE, NOT_SENT)
        rests = [
            self.after(Guard.UNKNOWN, *[failure] * count, timeout=1000.0).rest
            for count in range(1, RETRY_ATTEMPTS_MAX)
        ]
        self.assertEqual(rests, [0.025, 0.05, 0.1, 0.2])
        self.assertEqual(self.policy.backoff(10**9, 1.0), 2.0)
        self.assertEqual(self.policy.backoff(3, 0.25), 0.025)
        self.assertEqual(self.after(Guard.UNKNOWN, failure, random=0.0), Again(0.0))

    def test_at_most_half_of_what_is_left_is_rested(self):
        failure = error(Code.UNAVAILABLE, NOT_SENT)
        self.assertAlmostEqual(self.after(Guard.UNKNOWN, failure, timeout=0.02).rest, 0.01)

    def test_what_the_server_asks_for_stands_before_the_rest(self):
        failure = error(Code.UNAVAILABLE, NOT_STARTED, RETRY_AFTER)
        self.assertAlmostEqual(self.after(Guard.UNKNOWN, failure).rest, 0.325)
        self.assertAlmostEqual(self.after(Guard.UNKNOWN, failure, random=0.0).rest, 0.3)
        self.assertIsInstance(self.after(Guard.UNKNOWN, failure, timeout=0.3), Report)
        self.assertIsInstance(self.after(Guard.UNKNOWN, failure, timeout=0.31), Again)

    def test_who_may_not_ask_is_not_heard(self):
        for code, execution, details in (
            (Code.DEADLINE_EXCEEDED, NOT_STARTED, RETRY_AFTER),
            (Code.UNAVAILABLE, NOT_SENT, RETRY_AFTER),
            (Code.UNAVAILABLE, NOT_STARTED, RETRY_AFTER[:-1]),
            (Code.UNAVAILABLE, NOT_STARTED, RETRY_AFTER.replace(b"\x08\xac\x02", b"\x0a\x01x")),
            (Code.UNAVAILABLE, NOT_STARTED, RETRY_AFTER.replace(b"\x08\xac\x02", b"\xff\xff\xff")),
        ):
            decision = self.after(Guard.UNKNOWN, error(code, execution, details))
            self.assertAlmostEqual(decision.rest, 0.025, msg=details)

    def test_a_report_keeps_what_the_last_attempt_said(self):
        lost = error(Code.UNAVAILABLE, MAYBE)
        last = RpcError(Code.ABORTED, NOT_STARTED, "no", b"details")
        last.__cause__ = OSError("why")
        reported = self.after(Guard.IDEMPOTENT, lost, last).error
        self.assertEqual((reported.code, reported.execution), (Code.ABORTED, MAYBE))
        self.assertEqual((reported.message, reported.details), ("no", b"details"))
        self.assertIs(reported.__cause__, last.__cause__)

    def test_policies_that_make_no_sense_are_refused(self):
        for fields in (
            {"attempts_max": 0},
            {"backoff_first": 0.0},
            {"backoff_max": float("inf")},
            {"once_horizon": float("nan")},
            {"once_horizon": ONCE_HORIZON + 1},
        ):
            with self.assertRaises(ValueError):
                RetryPolicy(**fields)


class Budgets(unittest.TestCase):
    def drained(self):
        budget = Budget(NOW)
        for _ in range(RETRY_BURST_MAX):
            self.assertTrue(budget.withdraw(NOW))
        return budget

    def test_an_empty_budget_gives_no_retry(self):
        self.assertFalse(self.drained().withdraw(NOW))

    def test_five_calls_earn_one_retry_and_four_none(self):
        budget = self.drained()
        for _ in range(4):
            budget.deposit()
        self.assertFalse(budget.withdraw(NOW))
        budget.deposit()
        self.assertTrue(budget.withdraw(NOW))
        self.assertFalse(budget.withdraw(NOW))

    def test_time_earns_ten_a_second_and_no_more_than_a_burst(self):
        budget = self.drained()
        self.assertFalse(budget.withdraw(NOW + 0.09))
        self.assertTrue(budget.withdraw(NOW + 0.11))
        for _ in range(RETRY_BURST_MAX):
            self.assertTrue(budget.withdraw(NOW + 10**6))
        self.assertFalse(budget.withdraw(NOW + 10**6))

    def test_a_clock_that_went_back_earns_nothing(self):
        self.assertFalse(self.drained().withdraw(NOW - 5.0))


class Connecting(unittest.TestCase):
    def rests(self, count, pauses=None, **fields):
        pauses = pauses or Pauses()
        given = {"is_refused": False, "stood": 0.0, "random": 1.0, **fields}
        return [pauses.next(**given) for _ in range(count)]

    def test_whoever_does_not_answer_is_tried_several_times_a_second(self):
        self.assertEqual(self.rests(20)[-1], LINK_RETRY_MAX)
        self.assertEqual(self.rests(2), [LINK_RETRY_FIRST, 2 * LINK_RETRY_FIRST])

    def test_whoever_refuses_is_asked_ever_less_often(self):
        self.assertEqual(self.rests(20, is_refused=True)[-1], LINK_REFUSED_RETRY_MAX)

    def test_who_no_longer_refuses_is_tried_several_times_a_second_again(self):
        pauses = Pauses()
        self.rests(20, pauses, is_refused=True)
        self.assertEqual(self.rests(2, pauses), [LINK_RETRY_MAX] * 2)

    def test_whoever_lets_us_in_and_throws_us_out_is_not_hammered(self):
        self.assertEqual(self.rests(20, stood=LINK_STANDS / 2)[-1], LINK_RETRY_MAX)
        pauses = Pauses()
        self.rests(20, pauses)
        self.assertEqual(self.rests(1, pauses, stood=LINK_STANDS), [LINK_RETRY_FIRST])

    def test_rests_stay_between_half_and_whole(self):
        self.assertEqual(self.rests(1, random=0.0), [LINK_RETRY_FIRST / 2])


if __name__ == "__main__":
    unittest.main()

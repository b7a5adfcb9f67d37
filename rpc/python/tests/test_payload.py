"""What is refused before it is sent."""

import unittest

from sealmoot_rpc.limits import Limits
from sealmoot_rpc.payload import decode_failure, decode_metadata, encode_failure, encode_hello, encode_metadata
from sealmoot_rpc.status import Code, Execution, RpcError


class Metadata(unittest.TestCase):
    def test_entries_leave_in_ascending_order(self):
        encoded = encode_metadata({"b": b"2", "a": b"1"})
        self.assertEqual(list(decode_metadata(encoded).items()), [("a", b"1"), ("b", b"2")])

    def test_keys_that_cannot_be_sent_are_refused(self):
        for key in ("", "A", "a b", "ä", "a\n", "k" * 65, "\ud800"):
            with self.subTest(key), self.assertRaises(ValueError):
                encode_metadata({key: b""})

    def test_too_much_of_it_is_refused(self):
        with self.assertRaises(ValueError):
            encode_metadata({})
        with self.assertRaises(ValueError):
            encode_metadata({f"k{i}": b"" for i in range(33)})
        encode_metadata({"k": bytes(4096 - 4)})
        with self.assertRaises(ValueError):
            encode_metadata({"k": bytes(4096 - 3)})
        with self.assertRaises(ValueError):
            encode_metadata({"k": bytes(70_000)})


class Failures(unittest.TestCase):
    def test_a_long_failure_is_cut_to_fit(self):
        error = RpcError(Code.INTERNAL, Execution.EXECUTED, "x" + "ä" * 1000, bytes(8193))
        decoded = decode_failure(12, encode_failure(error))
        self.assertEqual(decoded.message, "x" + "ä" * 511)
        self.assertEqual(decoded.details, b"")

    def test_a_peer_cannot_claim_not_sent(self):
        for number in (0, 4, 255):
            payload = bytes([number, 0, 0, 0, 0, 0, 0])
            self.assertEqual(decode_failure(1, payload).execution, Execution.MAYBE_EXECUTED)
        error = RpcError(Code.INTERNAL, Execution.NOT_SENT, "")
        self.assertEqual(decode_failure(1, encode_failure(error)).execution, Execution.NOT_STARTED)

    def test_a_failure_is_never_ok(self):
        self.assertEqual(RpcError(Code.OK, Execution.EXECUTED, "").code, Code.INTERNAL)

    def test_control_characters_are_escaped_when_displayed(self):
        error = RpcError(Code.NOT_FOUND, Execution.EXECUTED, "a\x1b[31m\n")
        self.assertEqual(str(error), "not found: a\\x1b[31m\\n (executed)")

    def test_only_what_did_not_run_is_safe_to_retry(self):
        safe = {execution for execution in Execution if execution.is_safe_to_retry}
        self.assertEqual(safe, {Execution.NOT_SENT, Execution.NOT_STARTED})


class Settings(unittest.TestCase):
    def test_statements_that_are_too_long_are_refused(self):
        encode_hello(bytes(65536))
        with self.assertRaises(ValueError):
            encode_hello(bytes(65537))

    def test_limits_with_which_nothing_works_are_refused(self):
        for fields in (
            {"handshake": 0.0},
            {"handshake": float("nan")},
            {"linger": float("inf")},
            {"keepalive_idle": -1.0},
            {"calls_in_flight_max": 0},
        ):
            with self.subTest(fields), self.assertRaises(ValueError):
                Limits(**fields)

"""Typed details of a failure."""

import unittest
from types import SimpleNamespace

from sealmoot_rpc import Code, Execution, RpcError, limits

# As rpc/src/details.rs has it.
RETRY_AFTER = b"\x0a\x21\x0a\x1asealmoot.rpc.v1.RetryAfter\x12\x03\x08\xac\x02"


class Wanted:
    """What generated classes have."""

    DESCRIPTOR = SimpleNamespace(full_name="sealmoot.rpc.v1.RetryAfter")

    def __init__(self, encoded):
        self.encoded = encoded

    @classmethod
    def FromString(cls, s):
        return cls(s)


class Other(Wanted):
    DESCRIPTOR = SimpleNamespace(full_name="sealmoot.rpc.v1.BadRequest")


def failure(details):
    return RpcError(Code.UNAVAILABLE, Execution.NOT_STARTED, "busy", details)


class Details(unittest.TestCase):
    def test_a_detail_is_found_by_its_type(self):
        found = failure(RETRY_AFTER).detail(Wanted)
        self.assertEqual(found.encoded, b"\x08\xac\x02")
        self.assertIsNone(failure(RETRY_AFTER).detail(Other))
        self.assertIsNone(failure(b"").detail(Wanted))

    def test_one_of_several_is_found(self):
        other = RETRY_AFTER.replace(b"RetryAfter", b"RetryOther")
        found = failure(other + RETRY_AFTER).detail(Wanted)
        self.assertIsNotNone(found)
        later = failure(b"\x1a\x01x" + RETRY_AFTER)
        self.assertIsNotNone(later.detail(Wanted), "a field of a later version")

    def test_details_of_another_form_hold_none(self):
        for details in [b"why", b"\xff", b"\x08\x01", b"\x0a\x05abc", b"\x0a\x03\x0a\x01\xff", b"\xff" * 11]:
            self.assertIsNone(failure(details + RETRY_AFTER).detail(Wanted), details)
        for length in range(len(RETRY_AFTER)):
            self.assertIsNone(failure(RETRY_AFTER[:length]).detail(Wanted), length)

    def test_too_many_or_too_long_hold_none(self):
        empty = b"\x0a\x00"
        fits = empty * (limits.STATUS_DETAILS_MAX - 1) + RETRY_AFTER
        self.assertIsNotNone(failure(fits).detail(Wanted))
        self.assertIsNone(failure(empty + fits).detail(Wanted))
        padding = b"\x1a\x80\x40" + bytes(limits.STATUS_DETAILS_BYTES_MAX)
        self.assertIsNone(failure(RETRY_AFTER + padding).detail(Wanted))


if __name__ == "__main__":
    unittest.main()

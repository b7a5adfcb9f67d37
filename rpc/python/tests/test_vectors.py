"""The golden frames of rpc/vectors, which the Rust tests read too."""

import json
import pathlib
import unittest

from sealmoot_rpc.frame import Flag, Frame, Input, Kind, Violation
from sealmoot_rpc.once import is_unknown_incarnation
from sealmoot_rpc.payload import (
    CallHead,
    OnceId,
    decode_call,
    decode_credit,
    decode_failure,
    decode_hello,
    decode_token,
    encode_credit,
    encode_failure,
    encode_hello,
)
from sealmoot_rpc.status import Code

VECTORS = json.loads(
    (pathlib.Path(__file__).parents[2] / "vectors" / "frames.json").read_text(encoding="ascii")
)
VALID = [vector for vector in VECTORS if "frame" in vector]
REFUSED = [vector for vector in VECTORS if "refused" in vector]


def data_of(vector):
    return bytes.fromhex(vector["hex"]) + b"a" * vector.get("pad", 0)


def field_of(vector, name):
    fields = vector["frame"]
    pad = vector.get("pad", 0) if fields.get("pad_in") == name else 0
    return bytes.fromhex(fields[name]) + b"a" * pad


def decode(data):
    """The first frame, and what an endpoint makes of its payload whatever came
    before."""
    source = Input()
    source.feed(data)
    frame = source.next()
    if frame is None:
        raise AssertionError("the frame is not whole")
    failed = frame.code != 0 or frame.kind == Kind.GOAWAY
    match frame.kind:
        case Kind.HELLO if not frame.flags:
            return frame, decode_hello(frame.payload)
        case Kind.CALL:
            return frame, decode_call(frame.flags, frame.payload)
        case Kind.REPLY | Kind.GOAWAY if failed:
            return frame, decode_failure(frame.code, frame.payload)
        case Kind.CREDIT:
            return frame, decode_credit(frame.payload)
        case Kind.PING:
            return frame, decode_token(frame.payload)
    return frame, frame.payload


def encode(vector):
    """The frame made anew from its fields."""
    fields = vector["frame"]
    kind, flags = Kind[fields["kind"].upper()], Flag(fields["flags"])
    payload = b""
    match kind:
        case Kind.HELLO if not flags:
            payload = encode_hello(field_of(vector, "statements"))
        case Kind.CALL:
            once = fields["once"]
            if once:
                incarnation = bytes.fromhex(once["incarnation"])
                once = OnceId(incarnation, once["sequence"], once["floor"])
            metadata = {key: bytes.fromhex(value) for key, value in fields["metadata"]}
            head = CallHead(fields["timeout_ms"], fields["method"], once, metadata or None)
            blocks = Flag.ONCE | Flag.METADATA
            assert head.flags == flags & blocks, "the head knows its flags"
            payload = head.encode() + field_of(vector, "body")
        case _ if "failure" in fields:
            failure = decode(data_of(vector))[1]
            payload = encode_failure(failure)
            # A number that this version does not know has no way back.
            payload = data_of(vector)[12:13] + payload[1:]
        case Kind.CREDIT:
            payload = encode_credit(fields["amount"])
        case Kind.PING | Kind.PONG:
            payload = bytes.fromhex(fields["token"])
        case _ if "body" in fields:
            payload = field_of(vector, "body")
    return Frame(kind, flags, fields["code"], fields["call"], payload).encode()


class Vectors(unittest.TestCase):
    def test_there_are_enough_of_them(self):
        self.assertGreaterEqual(len(VALID), 25)
        self.assertGreaterEqual(len(REFUSED), 40)

    def test_valid_frames_decode_as_drawn(self):
        for vector in VALID:
            with self.subTest(vector["name"]):
                frame, payload = decode(data_of(vector))
                fields = vector["frame"]
                self.assertEqual(frame.kind.name.lower(), fields["kind"])
                self.assertEqual(
                    (frame.flags, frame.code, frame.call),
                    (fields["flags"], fields["code"], fields["call"]),
                )
                self.check_payload(vector, frame, payload)

    def check_payload(self, vector, frame, payload):
        fields = vector["frame"]
        if "failure" in fields:
            failure = fields["failure"]
            self.assertEqual(payload.code, Code.from_number(fields["code"]))
            self.assertEqual(payload.execution.name.lower(), failure["execution"])
            self.assertEqual(payload.message, failure["message"])
            self.assertEqual(payload.details.hex(), failure["details"])
        elif frame.kind == Kind.CALL:
            head, body = payload
            self.assertEqual(head.timeout_ms, fields["timeout_ms"])
            self.assertEqual(head.method, fields["method"])
            self.assertEqual(body, field_of(vector, "body"))
            metadata = [[key, value.hex()] for key, value in (head.metadata or {}).items()]
            self.assertEqual(metadata, fields["metadata"])
            once = head.once and {
                "incarnation": head.once.incarnation.hex(),
                "sequence": head.once.sequence,
                "floor": head.once.floor,
            }
            self.assertEqual(once, fields["once"])
        elif frame.kind == Kind.CREDIT:
            self.assertEqual(payload, fields["amount"])
        else:
            for name in ("statements", "body", "token"):
                if name in fields:
                    self.assertEqual(payload, field_of(vector, name))

    def test_an_unknown_incarnation_is_told_from_other_failures(self):
        unknown = [
            vector["name"]
            for vector in VALID
            if "failure" in vector["frame"] and is_unknown_incarnation(decode(data_of(vector))[1])
        ]
        self.assertEqual(unknown, ["reply_failure_unknown_incarnation"])

    def test_valid_frames_encode_to_the_same_bytes(self):
        for vector in VALID:
            with self.subTest(vector["name"]):
                self.assertEqual(encode(vector), data_of(vector))

    def test_valid_frames_wait_until_they_are_whole(self):
        for vector in VALID:
            with self.subTest(vector["name"]):
                data = data_of(vector)
                source = Input()
                for index in {0, 1, 11, 12, len(data) - 1} & set(range(len(data))):
                    source = Input()
                    source.feed(data[:index])
                    self.assertIsNone(source.next())
                    source.feed(data[index:])
                    self.assertEqual(source.next(), decode(data)[0])

    def test_refused_frames_are_refused_by_the_rule_that_they_break(self):
        for vector in REFUSED:
            with self.subTest(vector["name"]):
                with self.assertRaises(Violation) as refused:
                    decode(data_of(vector))
                self.assertEqual(refused.exception.rule.value, vector["refused"])

    def test_what_the_header_shows_is_refused_before_the_payload_comes(self):
        for vector in REFUSED:
            if vector["refused"] in ("unknown_kind", "unknown_flags", "payload_too_long"):
                with self.subTest(vector["name"]):
                    self.assertEqual(len(data_of(vector)), 12)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Writes frames.json: frames byte by byte, and what every implementation makes of
them. Made from the drawings in rpc/DESIGN.md with `struct` alone, so that it
shares no code with what it checks.

    python3 rpc/vectors/make.py > rpc/vectors/frames.json

A vector is `name`, `what`, `hex`, and either `frame` with the frame's fields or
`refused` with the rule that it breaks. Where `pad` stands, so many bytes 0x61
follow the `hex`. Integers are as they are, bytes are hexadecimal.
"""

import json
import struct

VECTORS = []
MORE, WELCOME, STREAM, REPLIES, METADATA, ONCE, LAST = 1, 2, 4, 8, 16, 32, 64
KINDS = "hello call reply chunk end cancel credit ping pong goaway".split()
INCARNATION = bytes(range(16))
UNKNOWN_INCARNATION = b"sealmoot once: unknown incarnation"
METHOD = 0x0123456789ABCDEF


def header(length, kind, flags=0, code=0, call=0):
    return struct.pack("<IBBHI", length, kind, flags, code, call)


def frame(kind, payload=b"", flags=0, code=0, call=0):
    return header(len(payload), kind, flags, code, call) + payload


def valid(name, what, kind, payload=b"", flags=0, code=0, call=0, pad=0, **fields):
    data = header(len(payload) + pad, kind, flags, code, call) + payload
    vector = {"name": name, "what": what, "hex": data.hex()}
    if pad:
        vector["pad"] = pad
    vector["frame"] = {"kind": KINDS[kind - 1], "flags": flags, "code": code, "call": call, **fields}
    VECTORS.append(vector)


def refused(name, rule, what, data, pad=0):
    vector = {"name": name, "what": what, "hex": data.hex()}
    if pad:
        vector["pad"] = pad
    vector["refused"] = rule
    VECTORS.append(vector)


def hello(statements, version=1, length=None):
    return struct.pack("<HI", version, len(statements) if length is None else length) + statements


def prefix(timeout_ms=1500, method=METHOD):
    return struct.pack("<IQ", timeout_ms, method)


def once(sequence, floor):
    return INCARNATION + struct.pack("<QQ", sequence, floor)


def entry(key, value):
    return struct.pack("<B", len(key)) + key + struct.pack("<H", len(value)) + value


def block(*entries):
    data = b"".join(entries)
    return struct.pack("<H", len(data)) + data


def failure(execution, message, details=b"", message_length=None, details_length=None):
    return (
        struct.pack("<BH", execution, len(message) if message_length is None else message_length)
        + message
        + struct.pack("<I", len(details) if details_length is None else details_length)
        + details
    )


def failed(execution, message, details=b""):
    return {"failure": {"execution": execution, "message": message, "details": details.hex()}}


def named(sequence, floor):
    return {"incarnation": INCARNATION.hex(), "sequence": sequence, "floor": floor}


def called(body=b"", timeout_ms=1500, method=METHOD, once=None, metadata=None):
    return {
        "timeout_ms": timeout_ms,
        "method": method,
        "once": once,
        "metadata": [[key, value.hex()] for key, value in metadata or []],
        "body": body.hex(),
    }


# --- What every implementation takes.

valid("hello_empty", "the shortest hello", 1, hello(b""), statements="")
valid("hello_statements", "a hello with statements", 1, hello(b"who I am"), statements=b"who I am".hex())
valid("hello_longest", "64 KiB of statements", 1, hello(b"", length=65536), pad=65536, pad_in="statements", statements="")
valid("welcome", "the server admits its client", 1, flags=WELCOME)
valid("call", "a unary call", 2, prefix() + b"body", call=1, **called(b"body"))
valid("call_empty_body", "a message without fields", 2, prefix(), call=7, **called())
valid("call_no_timeout", "the timeout is left to the server", 2, prefix(0), call=1, **called(timeout_ms=0))
valid("call_largest_numbers", "every field at its largest", 2, prefix(2**32 - 1, 2**64 - 1), call=2**32 - 1,
      **called(timeout_ms=2**32 - 1, method=2**64 - 1))
valid("call_more", "the beginning of a bulk request", 2, prefix(), flags=MORE, call=2, pad=16384, pad_in="body", **called())
valid("call_client_stream", "the client streams", 2, prefix(), flags=STREAM, call=3, **called())
valid("call_server_stream", "the server streams", 2, prefix() + b"body", flags=REPLIES, call=4, **called(b"body"))
valid("call_server_stream_more", "a bulk request for a stream", 2, prefix(), flags=REPLIES | MORE, call=4, pad=16384,
      pad_in="body", **called())
valid("call_duplex", "both stream", 2, prefix(), flags=STREAM | REPLIES, call=5, **called())
META = [("a", b"\x00\xff"), ("traceparent", b"00-1-2-01")]
valid("call_metadata", "a call with metadata", 2, prefix() + block(*(entry(k.encode(), v) for k, v in META)) + b"body",
      flags=METADATA, call=6, **called(b"body", metadata=META))
valid("call_metadata_empty_value", "a value may be empty", 2, prefix() + block(entry(b"z", b"")), flags=METADATA, call=6,
      **called(metadata=[("z", b"")]))
KEYS = [(bytes([97 + i // 26, 97 + i % 26]).decode(), b"") for i in range(32)]
valid("call_metadata_most", "32 entries", 2, prefix() + block(*(entry(k.encode(), v) for k, v in KEYS)), flags=METADATA,
      call=6, **called(metadata=KEYS))
LONG = "abcdefghijklmnopqrstuvwxyz0123456789._-" + "k" * 25
valid("call_metadata_longest", "4096 bytes of entries, and the longest key",
      2, prefix() + block(entry(LONG.encode(), b"v" * (4096 - 67))), flags=METADATA, call=6,
      **called(metadata=[(LONG, b"v" * (4096 - 67))]))
valid("call_stream_metadata", "a stream with metadata", 2, prefix() + block(entry(b"k", b"v")),
      flags=STREAM | REPLIES | METADATA, call=6, **called(metadata=[("k", b"v")]))
valid("call_once", "an at-most-once call", 2, prefix() + once(9, 4) + b"body", flags=ONCE, call=8,
      **called(b"body", once=named(9, 4)))
valid("call_once_floor_is_sequence", "everything before it is settled", 2, prefix() + once(9, 9), flags=ONCE, call=8,
      **called(once=named(9, 9)))
valid("call_once_open", "an incarnation is opened", 2, prefix(method=0) + once(0, 0), flags=ONCE, call=8,
      **called(method=0, once=named(0, 0)))
valid("call_once_metadata", "both blocks, in their order", 2, prefix() + once(1, 0) + block(entry(b"k", b"v")) + b"body",
      flags=ONCE | METADATA, call=8, **called(b"body", once=named(1, 0), metadata=[("k", b"v")]))
valid("call_longest", "all that one call frame can carry",
      2, prefix() + once(1, 0) + block(entry(LONG.encode(), b"v" * (4096 - 67))), flags=ONCE | METADATA | MORE, call=8,
      pad=16384, pad_in="body", **called(once=named(1, 0), metadata=[(LONG, b"v" * (4096 - 67))]))
valid("reply", "an answer", 3, b"answer", call=1, body=b"answer".hex())
valid("reply_empty", "an answer without fields", 3, call=1, body="")
valid("reply_more", "the beginning of a bulk answer", 3, flags=MORE, call=2, pad=16384, pad_in="body", body="")
valid("reply_stream", "a stream of answers begins", 3, flags=STREAM, call=4, body="")
valid("reply_failure", "a failure with details", 3, failure(3, "völlig".encode(), b"\x01\x02"), code=10, call=1,
      **failed("executed", "völlig", b"\x01\x02"))
valid("reply_failure_unknown_code", "a code of a later version reads as internal", 3, failure(1, b"new"), code=999, call=1,
      **failed("not_started", "new"))
valid("reply_failure_unknown_execution", "what is not known reads as maybe executed", 3, failure(77, b""), code=13, call=1,
      **failed("maybe_executed", ""))
valid("reply_failure_unknown_incarnation", "an at-most-once call in an incarnation that the server does not know", 3,
      failure(1, b"unknown incarnation", UNKNOWN_INCARNATION), code=9, call=8,
      **failed("not_started", "unknown incarnation", UNKNOWN_INCARNATION))
valid("reply_failure_longest", "1 KiB of message, 8 KiB of details", 3, failure(2, b"m" * 1024, b"d" * 8192), code=12,
      call=1, **failed("maybe_executed", "m" * 1024, b"d" * 8192))
valid("chunk", "more of a body", 4, b"more", call=2, body=b"more".hex())
valid("chunk_last", "a message ends", 4, b"message", flags=LAST, call=3, body=b"message".hex())
valid("chunk_last_empty", "an empty message", 4, flags=LAST, call=3, body="")
valid("chunk_longest", "a full chunk", 4, call=2, pad=16384, pad_in="body", body="")
valid("end", "the rest of a body", 5, b"rest", call=2, body=b"rest".hex())
valid("end_of_stream", "no further message", 5, call=3, body="")
valid("cancel", "the caller no longer wants the answer", 6, call=9)
valid("credit_least", "one byte of credit", 7, struct.pack("<I", 1), call=3, amount=1)
valid("credit", "half a window", 7, struct.pack("<I", 32768), call=3, amount=32768)
valid("ping", "are you there?", 8, b"12345678", token=b"12345678".hex())
valid("pong", "I am", 9, b"12345678", token=b"12345678".hex())
valid("goaway", "no further calls, and why", 10, failure(1, b"draining"), code=13, **failed("not_started", "draining"))
valid("goaway_longest", "as long as a reason can be", 10, failure(1, b"m" * 1024, b"d" * 8192), code=8,
      **failed("not_started", "m" * 1024, b"d" * 8192))

# --- What ends the connection, by the header alone.

for kind in (0, 11, 128, 255):
    refused(f"kind_{kind}", "unknown_kind", "a kind that nobody defined", header(0, kind))
MAXIMA = {1: 6 + 65536, 2: 12 + 32 + 2 + 4096 + 16384, 3: 16384, 4: 16384, 5: 16384, 6: 0, 7: 4, 8: 8, 9: 8, 10: 7 + 1024 + 8192}
for kind, most in MAXIMA.items():
    call = 1 if 2 <= kind <= 7 else 0
    refused(f"{KINDS[kind - 1]}_too_long", "payload_too_long", "one byte above the maximum, which the header shows",
            header(most + 1, kind, call=call))
refused("length_largest", "payload_too_long", "four gigabytes announced", header(2**32 - 1, 4, call=1))
ALLOWED = {1: WELCOME, 2: MORE | STREAM | REPLIES | METADATA | ONCE, 3: MORE | STREAM, 4: LAST}
for kind in range(1, 11):
    for flag in (MORE, WELCOME, STREAM, REPLIES, METADATA, ONCE, LAST, 0x80):
        if not flag & ALLOWED.get(kind, 0):
            call = 1 if 2 <= kind <= 7 else 0
            refused(f"{KINDS[kind - 1]}_flag_{flag:02x}", "unknown_flags", "a flag that the kind does not have",
                    header(0, kind, flag, call=call))
for kind in (1, 2, 4, 5, 6, 7, 8, 9):
    call = 1 if 2 <= kind <= 7 else 0
    refused(f"{KINDS[kind - 1]}_with_code", "malformed", "a code where there is none", header(0, kind, 0, 13, call))
for kind in (2, 3, 4, 5, 6, 7):
    refused(f"{KINDS[kind - 1]}_without_call", "malformed", "the number of no call", header(0, kind))
for kind in (1, 8, 9, 10):
    refused(f"{KINDS[kind - 1]}_with_call", "malformed", "a call's number on a frame of the connection", header(0, kind, call=1))

# --- What ends it by its payload.

refused("hello_short", "malformed", "five bytes of hello", frame(1, hello(b"")[:5]))
refused("hello_version", "unsupported_version", "another version", frame(1, hello(b"", version=2)))
refused("hello_length_above", "malformed", "fewer statements than said", frame(1, hello(b"abc", length=4)))
refused("hello_length_below", "malformed", "more statements than said", frame(1, hello(b"abc", length=2)))
refused("call_short", "malformed", "eleven bytes of call", frame(2, prefix()[:11], call=1))
refused("call_body_too_long", "malformed", "room for blocks is no room for a body", header(12 + 16385, 2, call=1) + prefix(), pad=16385)
refused("call_stream_more", "malformed", "a stream that is a body too", frame(2, prefix(), STREAM | MORE, call=1))
refused("call_stream_body", "malformed", "a body beside a stream", frame(2, prefix() + b"b", STREAM, call=1))
refused("call_duplex_body", "malformed", "a body beside two streams", frame(2, prefix() + b"b", STREAM | REPLIES, call=1))


def metadata(name, what, data):
    refused(f"metadata_{name}", "malformed", what, frame(2, prefix() + data, METADATA, call=1))


metadata("missing", "a flag without its block", b"")
metadata("length_short", "half a length", b"\x01")
metadata("empty", "an empty block", block())
metadata("cut", "a block that is longer than the frame", struct.pack("<H", 9) + entry(b"k", b"v"))
metadata("key_empty", "a key of no bytes", block(entry(b"", b"v")))
metadata("key_long", "a key of 65 bytes", block(entry(b"k" * 65, b"v")))
metadata("key_capital", "a capital letter", block(entry(b"Key", b"v")))
metadata("key_space", "a space", block(entry(b"a b", b"v")))
metadata("key_not_ascii", "a letter of another alphabet", block(entry("ä".encode(), b"v")))
metadata("key_colon", "a colon", block(entry(b"a:b", b"v")))
metadata("key_nul", "a zero byte", block(entry(b"a\x00", b"v")))
metadata("key_twice", "one key twice", block(entry(b"k", b"1"), entry(b"k", b"1")))
metadata("keys_descend", "keys that do not ascend", block(entry(b"b", b""), entry(b"a", b"")))
metadata("key_cut", "a key longer than the block", block(b"\x05ab"))
metadata("value_length_cut", "half a value's length", block(b"\x01k\x01"))
metadata("value_cut", "a value longer than the block", block(b"\x01k\x02\x00v"))
metadata("behind_entries", "a byte behind the entries", block(entry(b"k", b"v"), b"\x01"))
metadata("too_many", "33 entries", block(*(entry(bytes([97 + i // 26, 97 + i % 26]), b"") for i in range(33))))
metadata("too_long", "4097 bytes of entries", block(entry(b"k", b"v" * (4097 - 4))))


def at_most_once(name, what, data, flags=0, method=METHOD):
    refused(f"once_{name}", "malformed", what, frame(2, prefix(method=method) + data, ONCE | flags, call=1))


at_most_once("missing", "a flag without its block", b"")
at_most_once("cut", "31 bytes of block", once(1, 0)[:31])
at_most_once("sequence_zero", "the number of no call", once(0, 0) + b"body")
at_most_once("floor_above", "a call that is settled already", once(4, 5))
at_most_once("open_with_body", "an opening with a body", once(0, 0) + b"b", method=0)
at_most_once("open_with_floor", "an opening that has settled calls", once(0, 1), method=0)
at_most_once("stream", "a client's stream at most once", once(1, 0), STREAM)
at_most_once("replies", "a server's stream at most once", once(1, 0), REPLIES)
at_most_once("metadata_missing", "the block behind it is missing", once(1, 0), METADATA)

refused("credit_zero", "credit_refused", "no credit given", frame(7, struct.pack("<I", 0), call=1))
for length in range(4):
    refused(f"credit_of_{length}_bytes", "malformed", "less than a number", frame(7, bytes([1] * length), call=1))
for length in (0, 7):
    refused(f"ping_of_{length}_bytes", "malformed", "less than a token", frame(8, bytes(length)))


def failures(name, what, payload):
    for kind, label, call in ((3, "reply", 1), (10, "goaway", 0)):
        refused(f"{label}_failure_{name}", "malformed", what, frame(kind, payload, code=13, call=call))


failures("missing", "a code without a failure", b"")
failures("cut_in_length", "half a length", b"\x01\x00")
failures("cut_in_message", "a message longer than the frame", failure(1, b"abc", message_length=9)[:6])
failures("cut_before_details", "no length of details", failure(1, b"abc")[:-1])
failures("details_above", "fewer details than said", failure(1, b"", b"d", details_length=2))
failures("details_below", "more details than said", failure(1, b"", b"dd", details_length=1))
failures("message_not_utf8", "a message that is no text", failure(1, b"\xff\xfe"))
failures("message_surrogate", "half a pair of surrogates", failure(1, b"\xed\xa0\x80"))
failures("message_long", "a message of 1025 bytes", failure(1, b"m" * 1025))
refused("reply_failure_details_long", "malformed", "details of 8193 bytes",
        frame(3, failure(1, b"", b"d" * 8193), code=13, call=1))

assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
print("[")
print(",\n".join(json.dumps(vector, ensure_ascii=True) for vector in VECTORS))
print("]")

"""Calls to a Sealmoot server over TLS 1.3 with pinned keys, for asyncio.

`sealmoot_rpc.blocking` has the same for plain code. `rpc/python/README.md` goes
from a `.proto` file to a running call; `rpc/DESIGN.md` draws the wire format.

| Module | Holds |
|---|---|
| `client`, `caller`, `calls` | connections and the four kinds of calls |
| `retrying`, `link` | calls that are sent again, over connections that are made again |
| `blocking` | all of it for plain code |
| `retry`, `once` | what may be sent again, and when; at-most-once calls. Decided without I/O |
| `schema` | whether a server means the same by its bytes |
| `connection` | the shell: TLS, hellos, keepalive, deadlines |
| `multiplexer`, `outgoing`, `streams` | calls in flight, decided without I/O |
| `frame`, `payload` | the wire format |
| `codec`, `wire` | messages as bytes |
| `tls`, `keys` | who the server is |
| `status`, `details` | how a call failed, and whether it may have run |
| `limits` | every bound |

A `Connection` never sends anything again: whether that may be is the caller's
knowledge, and `Execution` is what it needs for it. `Retrying` sends again what the
schema says cannot act twice by it.
"""

from .caller import Caller
from .calls import DuplexStream, ReplyStream, RequestStream
from .client import Connection, connect
from .connection import ConnectError, Refused, ServerViolation, Unreachable, WrongServer
from .frame import Rule, Violation
from .keys import KeyId, KeyRejected, PublicKey
from .limits import Limits
from .payload import Metadata
from .retry import Guard, RetryPolicy
from .retrying import Retrying, connect_retrying
from .schema import (
    MalformedServices,
    OtherSchema,
    ReflectionAbsent,
    SchemaError,
    ServiceMissing,
    check_schema,
)
from .status import Code, Execution, RpcError
from .tls import Identity

__all__ = [
    "Caller",
    "Code",
    "ConnectError",
    "Connection",
    "DuplexStream",
    "Execution",
    "Guard",
    "Identity",
    "KeyId",
    "KeyRejected",
    "Limits",
    "MalformedServices",
    "Metadata",
    "OtherSchema",
    "PublicKey",
    "ReflectionAbsent",
    "Refused",
    "ReplyStream",
    "RequestStream",
    "RetryPolicy",
    "Retrying",
    "RpcError",
    "Rule",
    "SchemaError",
    "ServerViolation",
    "ServiceMissing",
    "Unreachable",
    "Violation",
    "WrongServer",
    "check_schema",
    "connect",
    "connect_retrying",
]

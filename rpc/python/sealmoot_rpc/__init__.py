"""Calls to a Sealmoot server over TLS 1.3 with pinned keys, for asyncio.

`sealmoot_rpc.blocking` has the same for plain code. `rpc/python/README.md` goes
from a `.proto` file to a running call; `rpc/DESIGN.md` draws the wire format.

| Module | Holds |
|---|---|
| `client`, `blocking` | connections and the four kinds of calls |
| `connection` | the shell: TLS, hellos, keepalive, deadlines |
| `multiplexer`, `outgoing`, `streams` | calls in flight, decided without I/O |
| `frame`, `payload` | the wire format |
| `tls`, `keys` | who the server is |
| `status` | how a call failed, and whether it may have run |
| `limits` | every bound |

It never retries: whether a call may be sent again is the caller's knowledge, and
`Execution` is what it needs for it.
"""

from .client import Connection, DuplexStream, ReplyStream, RequestStream, connect
from .connection import ConnectError, Refused, ServerViolation, Unreachable, WrongServer
from .frame import Rule, Violation
from .keys import KeyId, KeyRejected, PublicKey
from .limits import Limits
from .payload import Metadata
from .status import Code, Execution, RpcError
from .tls import Identity

__all__ = [
    "Code",
    "ConnectError",
    "Connection",
    "DuplexStream",
    "Execution",
    "Identity",
    "KeyId",
    "KeyRejected",
    "Limits",
    "Metadata",
    "PublicKey",
    "Refused",
    "ReplyStream",
    "RequestStream",
    "RpcError",
    "Rule",
    "ServerViolation",
    "Unreachable",
    "Violation",
    "WrongServer",
    "connect",
]

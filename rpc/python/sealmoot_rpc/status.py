"""How a call failed, and whether it may have had an effect."""

from __future__ import annotations

import enum
from typing import Any, Protocol, TypeVar

from .details import details


class Message(Protocol):
    """A class of generated messages."""

    DESCRIPTOR: Any

    @classmethod
    def FromString(cls, s: bytes) -> Any: ...


M = TypeVar("M", bound=Message)


class Code(enum.IntEnum):
    """What went wrong, coarsely: the number that travels."""

    OK = 0
    CANCELLED = 1
    DEADLINE_EXCEEDED = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 4
    ALREADY_EXISTS = 5
    PERMISSION_DENIED = 6
    UNAUTHENTICATED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 11
    INTERNAL = 12
    UNAVAILABLE = 13
    DATA_LOSS = 14
    OUTCOME_UNKNOWN = 15

    @classmethod
    def from_number(cls, number: int) -> Code:
        """The code with this number; one that this version does not know is
        `INTERNAL`, so that a newer server's finer distinctions stay errors."""
        try:
            return cls(number)
        except ValueError:
            return cls.INTERNAL

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


class Execution(enum.Enum):
    """Whether a failed call can have had an effect. Never a guess in the
    optimistic direction: what is not known not to have run is `MAYBE_EXECUTED`."""

    NOT_SENT = 0
    """No byte of the call left this process."""
    NOT_STARTED = 1
    """The server refused the call before its handler ran."""
    MAYBE_EXECUTED = 2
    """Bytes of it may have left, and nothing tells what became of them."""
    EXECUTED = 3
    """The handler ran to its end and answered with this error."""

    @property
    def is_safe_to_retry(self) -> bool:
        """Whether the same request may be sent again without acting twice,
        whatever the method does."""
        return self in (Execution.NOT_SENT, Execution.NOT_STARTED)

    @classmethod
    def from_wire(cls, number: int) -> Execution:
        """A peer has evidently received the call, so `NOT_SENT` has no number."""
        return {1: cls.NOT_STARTED, 3: cls.EXECUTED}.get(number, cls.MAYBE_EXECUTED)

    @property
    def wire(self) -> int:
        return max(self.value, 1)

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


class RpcError(Exception):
    """A failed call: what went wrong, and whether it may have had an effect.

    `message` is for people and `details` are for programs. Both may come from
    the server.
    """

    def __init__(self, code: Code, execution: Execution, message: str, details: bytes = b"") -> None:
        # A failure that calls itself a success would be taken for one.
        self.code = Code.INTERNAL if code == Code.OK else code
        self.execution = execution
        self.message = message
        self.details = details
        super().__init__(self.code, execution, message, details)

    def with_execution(self, execution: Execution) -> RpcError:
        """The same failure of another call."""
        return RpcError(self.code, execution, self.message, self.details)

    def detail(self, message: type[M]) -> M | None:
        """The message of this class that came with the failure, when its details
        are typed: `rpc/proto/sealmoot/rpc/v1/details.proto`. None where there is
        none; an error of the protobuf runtime where it does not decode."""
        name = message.DESCRIPTOR.full_name
        for found, value in details(self.details):
            if found == name:
                return message.FromString(value)
        return None

    def __str__(self) -> str:
        # Escaped: a terminal must not obey what a peer sent.
        text = self.message.encode("unicode_escape").decode("ascii")
        return f"{self.code}: {text} ({self.execution})"

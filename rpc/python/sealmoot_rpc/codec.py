"""Messages as bodies."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from .status import Code, Execution, RpcError

Reply = TypeVar("Reply", bound=Message)


def encode(message: Message) -> bytes:
    """A message as a body: the same bytes each time."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def decode(
    reply_class: type[Reply], body: bytes, execution: Execution = Execution.EXECUTED
) -> Reply:
    """A body as a message. A handler that has answered has run."""
    try:
        return reply_class.FromString(body)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, execution, "reply does not decode") from error

"""Whether a server means the same by its bytes.

A server with reflection tells the fingerprints of its services' schemas. A
generated client has the fingerprint of its own, and `check_schema` compares the two
before the first call. The answer is read by hand, field by field, with every bound
looked at before anything is kept.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import re
from typing import Protocol

from .caller import Caller
from .limits import (
    REFLECTION_EARLIER_MAX,
    REFLECTION_SERVICES_BYTES_MAX,
    REFLECTION_SERVICES_MAX,
    SERVICE_NAME_BYTES_MAX,
)
from .retry import Guard
from .status import Code, RpcError
from .wire import Undecodable, fields

FINGERPRINT_BYTES = 32

_PATH = b"sealmoot.rpc.v1.Reflection/Services"
SERVICES_METHOD = int.from_bytes(hashlib.sha256(_PATH).digest()[:8], "little")

_SERVICE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


class SchemaError(Exception):
    """It is not so that both mean the same, or nobody knows."""


class ReflectionAbsent(SchemaError):
    """The server does not tell: whether to call it all the same is the caller's
    choice."""

    def __init__(self) -> None:
        super().__init__("the server does not tell what it serves")


class Malformation(enum.Enum):
    """What is wrong with a list of services."""

    TOO_LONG = "it is longer than any list"
    UNDECODABLE = "it does not decode"
    TOO_MANY_SERVICES = "it has too many services"
    SERVICE_NAME = "the name of a service is malformed"
    TOO_MANY_EARLIER = "a service has too many earlier schemas"
    FINGERPRINT_LENGTH = "a fingerprint has not 32 bytes"
    SERVICE_TWICE = "a service is there twice"


class MalformedServices(SchemaError):
    """The server tells what it serves, and it makes no sense: `malformation`."""

    def __init__(self, malformation: Malformation) -> None:
        super().__init__(malformation.value)
        self.malformation = malformation


class ServiceMissing(SchemaError):
    """The service is not served, or without a schema."""

    def __init__(self, service: str) -> None:
        super().__init__(f"{service} is not served there")
        self.service = service


class OtherSchema(SchemaError):
    """The service is served with a schema, `found`, of which nobody has compared
    the two."""

    def __init__(self, service: str, found: bytes) -> None:
        super().__init__(f"{service} is served there with another schema, {found.hex()}")
        self.service = service
        self.found = found


@dataclasses.dataclass(frozen=True)
class ServedSchema:
    """The schemas of one service: the present one, and former ones whose clients
    the server takes."""

    fingerprint: bytes
    earlier: tuple[bytes, ...] = ()


class Client(Protocol):
    """What generated clients have."""

    SERVICE: str
    FINGERPRINT: bytes

    @property
    def connection(self) -> Caller: ...


async def check_schema(client: Client, timeout: float) -> None:
    """Asks the server that `client` calls whether it serves the schema from which
    the client was generated, or takes clients of it. Raises `SchemaError`, or
    `RpcError` when asking fails."""
    check(await served_schemas(client.connection, timeout), client.SERVICE, client.FINGERPRINT)


async def served_schemas(caller: Caller, timeout: float) -> dict[str, ServedSchema]:
    """What the server serves, by full name. Raises `ReflectionAbsent`,
    `MalformedServices`, or `RpcError` when asking fails."""
    try:
        reply = await caller.call(
            SERVICES_METHOD, b"", guard=Guard.NO_SIDE_EFFECTS, timeout=timeout
        )
    except RpcError as error:
        if error.code == Code.UNIMPLEMENTED:
            raise ReflectionAbsent from error
        raise
    return decode_services(reply)


def check(served: dict[str, ServedSchema], service: str, fingerprint: bytes) -> None:
    """Whether a client with this fingerprint gets along. Raises `ServiceMissing`
    and `OtherSchema`."""
    schema = served.get(service)
    if schema is None:
        raise ServiceMissing(service)
    if fingerprint != schema.fingerprint and fingerprint not in schema.earlier:
        raise OtherSchema(service, schema.fingerprint)


def decode_services(encoded: bytes) -> dict[str, ServedSchema]:
    """A `sealmoot.rpc.v1.ServicesReply`. Raises `MalformedServices`."""
    if len(encoded) > REFLECTION_SERVICES_BYTES_MAX:
        raise MalformedServices(Malformation.TOO_LONG)
    served: dict[str, ServedSchema] = {}
    count = 0
    try:
        for number, summary in fields(encoded):
            if number != 1:
                continue
            count += 1
            if count > REFLECTION_SERVICES_MAX:
                raise MalformedServices(Malformation.TOO_MANY_SERVICES)
            service, schema = _summary(_bytes(summary))
            if service in served:
                # Nobody can tell which counts.
                raise MalformedServices(Malformation.SERVICE_TWICE)
            served[service] = schema
    except (Undecodable, UnicodeDecodeError):
        raise MalformedServices(Malformation.UNDECODABLE) from None
    return served


def _summary(encoded: bytes) -> tuple[str, ServedSchema]:
    name, fingerprint, earlier = b"", b"", []
    for number, value in fields(encoded):
        if number == 1:
            name = _bytes(value)
        elif number == 2:
            fingerprint = _bytes(value)
        elif number == 3:
            earlier.append(_bytes(value))
            if len(earlier) > REFLECTION_EARLIER_MAX:
                raise MalformedServices(Malformation.TOO_MANY_EARLIER)
    service = name.decode("utf-8")
    if len(name) > SERVICE_NAME_BYTES_MAX or not _SERVICE_NAME.fullmatch(service):
        raise MalformedServices(Malformation.SERVICE_NAME)
    if any(len(one) != FINGERPRINT_BYTES for one in [fingerprint, *earlier]):
        raise MalformedServices(Malformation.FINGERPRINT_LENGTH)
    return service, ServedSchema(fingerprint, tuple(earlier))


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise Undecodable("a field of another form")
    return value

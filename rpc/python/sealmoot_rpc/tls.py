"""TLS 1.3 between pinned keys, with nothing but the stock `ssl` module.

That module has no raw public keys (RFC 7250), so both sides show their key
inside a self-signed certificate. Of it nothing but the key is believed: no
authority, name or date has a part in who somebody is.

What is protected, and by what:

- OpenSSL checks the handshake's own signature (CertificateVerify), so the server
  holds the key of the certificate that it shows.
- `server_key_of` reads that key, and a connection compares it with the pinned
  one before the first byte of the application is sent.
- The module has no hook inside the handshake: a wrong server has by then been
  shown this side's certificate, which is public, and nothing else.

What is not: the module has no exporter, so nothing above can be bound to this
channel. Before OpenSSL 3.5 the key agreement is X25519 alone: who records the
connection today can read it with a quantum computer later. The private key lies
in a PEM file, and `ssl` does not wipe its copies.
"""

from __future__ import annotations

import dataclasses
import os
import ssl

from .keys import KeyId, KeyRejected, PublicKey
from .limits import CERTIFICATE_BYTES_MAX

ALPN = "sealmoot/1"

_SEQUENCE = 0x30
_INTEGER = 0x02
_BIT_STRING = 0x03
_VERSION = 0xA0
_VERSION_3 = bytes([_INTEGER, 1, 2])


@dataclasses.dataclass(frozen=True)
class Identity:
    """This side's key and its certificate, as PEM files that
    `cargo run -p sealmoot-rpc --example python_identity` writes."""

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]


class CertificateRejected(ValueError):
    """A server's certificate that does not read as one."""


def client_context(identity: Identity) -> ssl.SSLContext:
    """Shows `identity`, and checks nothing of the server but that it holds the
    key of its certificate: `server_key_of` does the rest."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    # There are no names and no authorities. The pinned key takes their place.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(identity.certificate, identity.key, password=_no_password)
    return context


def server_key_of(session: ssl.SSLObject) -> PublicKey:
    """The key that the server of a finished handshake has proved. Raises
    `CertificateRejected` or `KeyRejected`."""
    if session.version() != "TLSv1.3":
        raise CertificateRejected("not TLS 1.3")
    if session.selected_alpn_protocol() != ALPN:
        raise CertificateRejected("the server speaks another protocol")
    certificate = session.getpeercert(binary_form=True)
    if certificate is None:
        raise CertificateRejected("the server shows no certificate")
    return PublicKey.from_spki(public_key_information(certificate))


def is_pinned(key: PublicKey, pinned: KeyId | PublicKey) -> bool:
    """Whether a proved key is the expected one."""
    return key == pinned if isinstance(pinned, PublicKey) else key.key_id == pinned


def public_key_information(certificate: bytes) -> bytes:
    """The `SubjectPublicKeyInfo` of one X.509 version 3 certificate (RFC 5280,
    section 4.1), whole, from strict DER. Raises `CertificateRejected`."""
    if len(certificate) > CERTIFICATE_BYTES_MAX:
        raise CertificateRejected("the certificate is too long")
    outer, behind = _element(certificate, _SEQUENCE)
    if behind:
        raise CertificateRejected("bytes stand behind the certificate")
    signed, rest = _element(_content(outer), _SEQUENCE)
    _, rest = _element(rest, _SEQUENCE)
    _, rest = _element(rest, _BIT_STRING)
    if rest:
        raise CertificateRejected("bytes stand behind the signature")
    version, rest = _element(_content(signed), _VERSION)
    if _content(version) != _VERSION_3:
        raise CertificateRejected("the certificate is not of version 3")
    _serial, rest = _element(rest, _INTEGER)
    # Signature algorithm, issuer, validity, subject: not believed.
    for _ in range(4):
        _, rest = _element(rest, _SEQUENCE)
    information, _ = _element(rest, _SEQUENCE)
    return information


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The first element, with its tag and length, and what stands behind it."""
    if len(data) < 2 or data[0] != tag:
        raise CertificateRejected("the certificate is malformed")
    start = _content_start(data)
    size = data[1] if data[1] < 0x80 else int.from_bytes(data[2:start], "big")
    end = start + size
    if len(data) < end:
        raise CertificateRejected("the certificate is cut short")
    return data[:end], data[end:]


def _content(element: bytes) -> bytes:
    return element[_content_start(element) :]


def _content_start(data: bytes) -> int:
    """Where the content begins. A length has one form: the shortest."""
    if data[1] < 0x80:
        return 2
    count = data[1] & 0x7F
    start = 2 + count
    if count not in (1, 2) or len(data) < start:
        raise CertificateRejected("the certificate is malformed")
    size = int.from_bytes(data[2:start], "big")
    if size < 0x80 or (count == 2 and size < 0x100):
        raise CertificateRejected("a length is not in its shortest form")
    return start


def _no_password() -> str:
    # Else OpenSSL would ask on the terminal.
    raise KeyRejected("the private key's file is encrypted")

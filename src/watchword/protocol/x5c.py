"""Certificates in the header of a JWS: ``x5c``, plain base64 of DER, the one that signed first. RFC 7515 §4.1.6, §4.1.8."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from watchword.protocol.base64url import b64url_encode


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain as it is sent, the ``x5t#S256`` of its first certificate, and the public key in that."""

    x5c: tuple[str, ...]
    thumbprint: str
    key: object = field(repr=False)


def read_chain(pem: bytes) -> Chain:
    """Return the certificates of a PEM file, in their order.

    Raises:
        ValueError: there is none, or one of them is malformed.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding  # it loads all of X.509

    certificates = x509.load_pem_x509_certificates(pem)
    ders = [one.public_bytes(Encoding.DER) for one in certificates]
    x5c = tuple(base64.b64encode(der).decode("ascii") for der in ders)
    return Chain(x5c, thumbprint_of(ders[0]), certificates[0].public_key())


def parse_x5c(values: Sequence[str]) -> tuple[bytes, ...]:
    """Return the DER of each certificate.

    Raises:
        ValueError: one is not canonical base64.
    """
    return tuple(map(_decode, values))


def thumbprint_of(der: bytes) -> str:
    """Return the ``x5t#S256`` of a certificate: base64url of the SHA-256 of its DER. RFC 8705 §3.1."""
    return b64url_encode(hashlib.sha256(der).digest()).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        der = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64") from None
    if binascii.b2a_base64(der, newline=False).decode("ascii") != text:
        raise ValueError("not canonical base64")
    return der

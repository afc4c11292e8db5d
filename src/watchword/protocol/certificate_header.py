"""The client's certificate in a header of a proxy that ended its TLS: three dialects, one of which is configured.

RFC 9440; nginx's ``$ssl_client_escaped_cert``; Envoy's ``x-forwarded-client-cert``. Whether the proxy may be believed is for the
caller to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from watchword.errors import WatchwordError
from watchword.protocol.base64url import b64url_decode

MAX_VALUE: Final = 65_536
MAX_CERTIFICATES: Final = 7
"""The client's, and those beside it."""

CLIENT_CERT: Final = b"client-cert"
CLIENT_CERT_CHAIN: Final = b"client-cert-chain"
X_SSL_CLIENT_CERT: Final = b"x-ssl-client-cert"
X_FORWARDED_CLIENT_CERT: Final = b"x-forwarded-client-cert"


class Dialect(StrEnum):
    """How a proxy writes it."""

    RFC9440 = "rfc9440"
    NGINX = "nginx"
    ENVOY = "envoy"


HEADERS: Final[Mapping[Dialect, frozenset[bytes]]] = MappingProxyType(
    {
        Dialect.RFC9440: frozenset({CLIENT_CERT, CLIENT_CERT_CHAIN}),
        Dialect.NGINX: frozenset({X_SSL_CLIENT_CERT}),
        Dialect.ENVOY: frozenset({X_FORWARDED_CLIENT_CERT}),
    }
)
_KNOWN: Final = frozenset().union(*HEADERS.values()) | {
    b"ssl-client-cert",
    b"x-client-cert",
    b"x-ssl-cert",
    b"x-amzn-mtls-clientcert",
    b"x-amzn-mtls-clientcert-leaf",
    b"x-arr-clientcert",
}
"""Headers in which somebody's proxy names the client's certificate, whether we read them or not."""


class InvalidCertificateHeader(WatchwordError):
    """What a proxy says of the certificate cannot be meant in one way only.

    Reasons: certificate_header.repeated, certificate_header.syntax, certificate_header.chain_alone, certificate_header.size.
    """


def has_certificate_header(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether anything among the headers of a request, names in lower case, is meant to name a client's certificate.

    Some servers read an underscore in a name as a hyphen, so both are looked for.
    """
    return any(name.replace(b"_", b"-") in _KNOWN for name, _ in headers if b"cert" in name)


def read_certificates(headers: Iterable[tuple[bytes, bytes]], dialect: Dialect) -> tuple[bytes, ...]:
    """Return what a proxy says the client has shown: DER, leaf first; nothing if it says nothing.

    Raises:
        InvalidCertificateHeader
    """
    names = HEADERS[dialect]
    found = [(name.replace(b"_", b"-"), value) for name, value in headers if name.replace(b"_", b"-") in names]
    values = dict(found)
    if len(values) != len(found):
        raise InvalidCertificateHeader("certificate_header.repeated")
    if any(len(value) > MAX_VALUE for value in values.values()):
        raise InvalidCertificateHeader("certificate_header.size")
    if not values:
        return ()
    certificates = _READ[dialect](values)
    if len(certificates) > MAX_CERTIFICATES:
        raise InvalidCertificateHeader("certificate_header.size")
    return certificates


def _read_rfc9440(values: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    """RFC 9440 §2.2, §2.3: a Byte Sequence, and a List of them without the first."""
    if CLIENT_CERT not in values:
        raise InvalidCertificateHeader("certificate_header.chain_alone")
    chain = values.get(CLIENT_CERT_CHAIN, b"")
    others = chain.split(b",") if chain.strip(b" \t") else []
    return tuple(_byte_sequence(one) for one in (values[CLIENT_CERT], *others))


def _byte_sequence(text: bytes) -> bytes:
    """RFC 8941 §3.3.5, without parameters."""
    text = text.strip(b" \t")
    if len(text) < 3 or text[:1] != b":" or text[-1:] != b":":
        raise InvalidCertificateHeader("certificate_header.syntax")
    return _base64(text[1:-1])


def _read_nginx(values: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    certificates = _pem(_percent_decoded(values[X_SSL_CLIENT_CERT].strip(b" \t")))
    if len(certificates) != 1:
        raise InvalidCertificateHeader("certificate_header.syntax")
    return certificates


_PAIR: Final = re.compile(rb'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;]*)')


def _read_envoy(values: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    """One element: with more of them, not only the last hop has spoken, and others may have been spoken for."""
    text = values[X_FORWARDED_CLIENT_CERT].strip(b" \t")
    pairs, at = [], 0
    while at <= len(text):
        match = _PAIR.match(text, at)
        if match is None:
            raise InvalidCertificateHeader("certificate_header.syntax")
        pairs.append((match[1].lower(), match[2].strip(b'"')))
        at = match.end() + 1
        if text[match.end() : at] == b",":
            raise InvalidCertificateHeader("certificate_header.repeated")
        if text[match.end() : at] not in (b"", b";"):
            raise InvalidCertificateHeader("certificate_header.syntax")
    return _certificates_of(pairs)


def _certificates_of(pairs: list[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    leaves, chains = ([value for key, value in pairs if key == name] for name in (b"cert", b"chain"))
    if len(leaves) > 1 or len(chains) > 1:
        raise InvalidCertificateHeader("certificate_header.repeated")
    if not leaves:
        if chains:
            raise InvalidCertificateHeader("certificate_header.chain_alone")
        return ()
    leaf = _pem(_percent_decoded(leaves[0]))
    chain = _pem(_percent_decoded(chains[0])) if chains else leaf
    if len(leaf) != 1 or chain[:1] != leaf:
        raise InvalidCertificateHeader("certificate_header.syntax")
    return chain


_ESCAPED: Final = re.compile(rb"(?:[A-Za-z0-9 +/=._~\r\n-]|%[0-9A-Fa-f]{2})*")


def _percent_decoded(text: bytes) -> bytes:
    if not _ESCAPED.fullmatch(text):
        raise InvalidCertificateHeader("certificate_header.syntax")
    return unquote_to_bytes(text)


_PEM: Final = re.compile(rb"\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END CERTIFICATE-----\s*")


def _pem(text: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while match := _PEM.match(text, at):
        found.append(_base64(b"".join(match[1].split())))
        at = match.end()
    if not found or at != len(text):
        raise InvalidCertificateHeader("certificate_header.syntax")
    return tuple(found)


_TO_URL: Final = bytes.maketrans(b"+/-_", b"-_!!")


def _base64(text: bytes) -> bytes:
    """RFC 4648 §4, with padding, in its one canonical spelling."""
    bare = text.rstrip(b"=")
    if len(text) % 4 or len(text) - len(bare) > 2:
        raise InvalidCertificateHeader("certificate_header.syntax")
    try:
        return b64url_decode(bare.translate(_TO_URL))
    except ValueError:
        raise InvalidCertificateHeader("certificate_header.syntax") from None


_READ: Final = MappingProxyType(
    {Dialect.RFC9440: _read_rfc9440, Dialect.NGINX: _read_nginx, Dialect.ENVOY: _read_envoy}
)

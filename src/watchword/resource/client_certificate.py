"""The certificate of the caller's connection at a protected resource, from where its owner says. RFC 8705 §3, RFC 9440.

Two places: the connection itself, where this process ends its TLS, or a header of the proxy that does.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from watchword.errors import BadSettings, InvalidRequest, InvalidToken
from watchword.protocol.certificate_header import (
    HEADERS,
    Dialect,
    InvalidCertificateHeader,
    read_certificates,
)
from watchword.protocol.confirmation import x5t_s256
from watchword.resource.credentials import IncomingRequest, header_values

_OWN: Final = "watchword.tls"
_STANDARD: Final = "tls"


class ClientCertificate(Protocol):
    """Where the certificate of a request's caller is found."""

    def find(self, request: IncomingRequest) -> bytes:
        """Return it, DER; empty where none was shown.

        Raises:
            InvalidRequest: somebody says which it is who is not to be believed.
        """
        ...


class FromConnection:
    """From the TLS connection: the extension ``tls`` of ASGI (``client_cert_chain``), or the listeners of ``watchword.asgi``."""

    def find(self, request: IncomingRequest) -> bytes:
        """Return what was shown in the handshake, leaf first, if the server tells it."""
        extensions = _surroundings(request).get("extensions")
        if not isinstance(extensions, Mapping):
            return b""
        shown = getattr(extensions.get(_OWN), "certificates", None)
        if shown:
            return bytes(shown[0])
        told = extensions.get(_STANDARD)
        chain = list(told.get("client_cert_chain") or ()) if isinstance(told, Mapping) else []
        return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else b""


@dataclass(frozen=True, slots=True, init=False)
class FromProxy:
    """From the header of a proxy: ``rfc9440``, ``nginx`` or ``envoy``, and only from peers in the networks of ``trusted``.

    Raises:
        BadSettings: verifier.client_certificate
    """

    dialect: Dialect
    trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def __init__(self, dialect: str, *, trusted: Iterable[str]) -> None:
        try:
            networks = tuple(map(ipaddress.ip_network, () if isinstance(trusted, str) else trusted))
            object.__setattr__(self, "dialect", Dialect(dialect))
        except ValueError as error:
            raise BadSettings("verifier.client_certificate", detail=str(error)) from None
        if not networks:
            raise BadSettings("verifier.client_certificate", detail="name the networks of the proxies")
        object.__setattr__(self, "trusted", networks)

    def find(self, request: IncomingRequest) -> bytes:
        """Return what a trusted proxy passes on.

        Raises:
            InvalidRequest: certificate_header.*
        """
        headers = [(name, value) for name in sorted(HEADERS[self.dialect]) for value in header_values(request, name)]
        if not headers:
            return b""
        if not self._is_trusted(_peer_of(request)):
            raise InvalidRequest("certificate_header.untrusted")
        try:
            found = read_certificates(headers, self.dialect)
        except InvalidCertificateHeader as error:
            raise InvalidRequest(error.reason) from None
        return found[0] if found else b""

    def _is_trusted(self, peer: object) -> bool:
        try:
            address = ipaddress.ip_address(str(peer))
        except ValueError:
            return False
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self.trusted)


def check_certificate(source: ClientCertificate, request: IncomingRequest, thumbprint: str) -> None:
    """Return if the caller has shown the very certificate that its token is bound to.

    Raises:
        InvalidToken: token.no_certificate, token.other_certificate
        InvalidRequest: certificate_header.*
    """
    shown = source.find(request)
    if not shown:
        raise InvalidToken("token.no_certificate")
    if x5t_s256(shown) != thumbprint:
        raise InvalidToken("token.other_certificate")


def _surroundings(request: IncomingRequest) -> Mapping[str, object]:
    """Return the ASGI scope or WSGI environment of a request, wherever a framework keeps it."""
    if isinstance(request, Mapping):
        return request
    for name in ("scope", "environ"):
        inner = getattr(request, name, None)
        if isinstance(inner, Mapping):
            return inner
    return {}


def _peer_of(request: IncomingRequest) -> object:
    around = _surroundings(request)
    client = around.get("client")
    if isinstance(client, (tuple, list)) and client:
        return client[0]
    return around.get("REMOTE_ADDR")

"""Who is at the other end of the connection, whom a proxy may speak for, and which certificate was shown."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from watchword.asgi.messages import Scope
from watchword.protocol.certificate_header import (
    Dialect,
    InvalidCertificateHeader,
    has_certificate_header,
    read_certificates,
)
from watchword.server.entry import Peer

SHOWN: Final = "watchword.tls"
"""Where in ``scope["extensions"]`` a ``Shown`` stands, on a connection whose TLS asks for a certificate."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the client has shown in the handshake: DER, leaf first, empty if nothing; and the name it asked for."""

    certificates: tuple[bytes, ...] = field(repr=False)
    server_name: str


@dataclass(frozen=True, slots=True)
class Proxies:
    """Whose word is taken on the caller's address and, where there is a dialect, on its certificate."""

    trusted: tuple[Network, ...] = ()
    dialect: Dialect | None = None


def read_peer(scope: Scope, headers: Headers, proxies: Proxies) -> Peer:
    """Return the other end as the connection and a trusted proxy show it.

    A header with a certificate that must not be believed does not go unnoticed: ``certificate_problem`` says why.
    """
    tcp_peer = (scope.get("client") or ("", 0))[0]
    shown = scope.get("extensions", {}).get(SHOWN)
    certificates, problem = () if shown is None else shown.certificates, ""
    if has_certificate_header(headers):
        certificates, problem = _weigh(certificates, headers, tcp_peer, proxies)
    forwarded = [value for name, value in headers if name == b"x-forwarded-for"] if proxies.trusted else ()
    return Peer(
        peer_address(tcp_peer, forwarded, proxies.trusted),
        certificates[0] if certificates else b"",
        tuple(certificates[1:]),
        problem,
        "" if shown is None else shown.server_name,
    )


def _weigh(
    shown: tuple[bytes, ...], headers: Headers, tcp_peer: str, proxies: Proxies
) -> tuple[tuple[bytes, ...], str]:
    """Return the one certificate that was shown, with its chain, or why there is none to be believed."""
    if not is_trusted(tcp_peer, proxies.trusted):
        return (), "certificate_header.untrusted"
    if proxies.dialect is None:
        return shown, ""
    try:
        passed_on = read_certificates(headers, proxies.dialect)
    except InvalidCertificateHeader as error:
        return (), error.reason
    if shown and passed_on:
        return (), "certificate_header.two_certificates"
    return shown or passed_on, ""


def peer_address(tcp_peer: str, forwarded_for: Iterable[bytes], trusted: tuple[Network, ...]) -> str:
    """Return the address of the peer: the TCP peer's, or, if that is a trusted proxy, the nearest address in
    ``X-Forwarded-For`` that is not one. A header from anyone else is not looked at."""
    if not trusted or not is_trusted(tcp_peer, trusted):
        return tcp_peer
    hops = [hop.strip() for value in forwarded_for for hop in value.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not _is_address(hop):
            return tcp_peer
        if not is_trusted(hop, trusted):
            return hop
    return tcp_peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Tell whether an address is of one of these networks."""
    if not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in trusted)

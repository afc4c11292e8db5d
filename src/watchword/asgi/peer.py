"""Who is at the other end of the connection, and whom a proxy may speak for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def peer_address(tcp_peer: str, forwarded_for: Iterable[bytes], trusted: tuple[Network, ...]) -> str:
    """Return the address of the peer: the TCP peer's, or, if that is a trusted proxy, the nearest address in
    ``X-Forwarded-For`` that is not one. A header from anyone else is not looked at."""
    if not trusted or not _is_trusted(tcp_peer, trusted):
        return tcp_peer
    hops = [hop.strip() for value in forwarded_for for hop in value.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not _is_address(hop):
            return tcp_peer
        if not _is_trusted(hop, trusted):
            return hop
    return tcp_peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    if not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in trusted)

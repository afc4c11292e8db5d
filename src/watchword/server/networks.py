"""The network an address belongs to: as coarse as a record should be, and as coarse as a limit has to be."""

from __future__ import annotations

import functools
import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address is in the last 32 bits (RFC 6052 §2.1)."""


@functools.lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the /24 of an IPv4 and the /48 of an IPv6 address as CIDR, or nothing for what is not an address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


@functools.lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """Return what counts as one peer: an IPv4 address, or the /64 of an IPv6 address, any of which one machine may take.

    An IPv4 address in IPv6 clothes is that IPv4 address. What is no address is itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed in _NAT64:
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))

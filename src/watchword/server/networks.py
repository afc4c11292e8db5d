"""The network an address belongs to, as coarse as a record should be."""

from __future__ import annotations

import ipaddress


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

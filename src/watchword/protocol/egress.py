"""Where a server may be led by an address that others wrote down: the rules against server-side request forgery.

Judged are the addresses that are connected to, never the names: a name means whatever its owner says at that moment.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from watchword.errors import WatchwordError
from watchword.protocol.url import Url, check_secure_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HTTPS_PORT: Final = 443

_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out for the whole Internet: what lies outside is private, local, or stands for an IPv4 address."""

_SPECIAL: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the platform's own host inside Azure, though the address is a public one
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo among them, which stands for an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, likewise
        "3fff::/20",
    )
)
"""RFC 6890 and IANA's registries of special addresses: not everybody's, or not what they seem."""


class ForbiddenDestination(WatchwordError):
    """Not a place to connect to: egress.address, egress.port."""


@dataclass(frozen=True, slots=True)
class EgressRules:
    """``networks`` are those of special addresses that may be connected to all the same, ``ports`` those besides 443."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset()

    def check_url(self, text: str) -> Url:
        """Return the URL if it may be fetched as far as it can be judged without asking who its host is: https, and the port.

        Raises:
            InvalidUrl: url.syntax, url.fragment, url.insecure.
            ForbiddenDestination
        """
        url = check_secure_url(text, allow_loopback_http=False)
        if port_of(url) not in {HTTPS_PORT, *self.ports}:
            raise ForbiddenDestination("egress.port", detail=f"port {port_of(url)}")
        try:
            literal = ipaddress.ip_address(url.host)
        except ValueError:
            return url
        self.check_address(literal)
        return url

    def check_address(self, address: Address) -> None:
        """Return if this address is everybody's, or one of the named networks.

        Raises:
            ForbiddenDestination: egress.address.
        """
        if _is_everybodys(address) or any(_is_in(address, network) for network in self.networks):
            return
        raise ForbiddenDestination("egress.address", detail=f"{address} is not a public address")


def port_of(url: Url) -> int:
    """Return the port that an https URL leads to."""
    return urlsplit(url.text).port or HTTPS_PORT


def _is_everybodys(address: Address) -> bool:
    if address.version == 6 and (address not in _GLOBAL_V6 or address.scope_id is not None):
        return False
    return not any(_is_in(address, network) for network in _SPECIAL)


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network

"""Where a server listens, as people write it: ``127.0.0.1:8020``, ``[::1]:8020``, ``localhost:8020``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from watchword.errors import BadSettings

DEFAULT_PORT = 8020

HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one. Printed as ``host:port``, IPv6 in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Reachable from this machine only."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine and no other."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> Address:
    """Return the address written as ``127.0.0.1:8020``, ``[::1]:8020`` or ``localhost:8020``.

    Raises:
        BadSettings: settings.listen.
    """
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})", text.strip())
    if match is None:
        raise BadSettings("settings.listen", detail=f"{text!r} is not an address; {_listen_hint(text.strip())}.")
    in_brackets, bare, port = match[1], match[2], int(match[3])
    if port > 65_535:
        raise BadSettings("settings.listen", detail=f"{text!r}: a port is at most 65535.")
    try:
        ipaddress.IPv6Address(in_brackets) if in_brackets else None
    except ValueError as error:
        raise BadSettings("settings.listen", detail=f"{text!r}: what stands in brackets is no IPv6 address.") from error
    if bare and not HOST_NAME.match(bare):
        raise BadSettings("settings.listen", detail=f"{text!r}: {bare!r} is neither an address nor a host name.")
    return Address(in_brackets or bare, port)


def _listen_hint(text: str) -> str:
    if text.isdecimal():
        return f"write 127.0.0.1:{text}"
    if re.fullmatch(r":[0-9]+", text):
        return f"write 127.0.0.1{text} for this machine only, or 0.0.0.0{text} for every network"
    if text.count(":") > 1:
        return "write an IPv6 address in brackets, as in [::1]:8020"
    return "write host:port, as in 127.0.0.1:8020"


def default_listen(issuer: str) -> Address:
    """Return where to listen when nobody said so: at the issuer's own port if that is this machine over plain HTTP."""
    parts = urlsplit(issuer)
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return Address(parts.hostname, parts.port if parts.port is not None else 80)
    return Address("127.0.0.1", DEFAULT_PORT)


def _to_address(value: object) -> object:
    return parse_listen(value) if isinstance(value, str) else value


ListenAddress = Annotated[Address, BeforeValidator(_to_address)]
"""As it stands in the settings."""

"""One strict reading of absolute URLs, so that no two parts of watchword see different hosts in the same text.

Only what RFC 3986 allows, in the spelling every library leaves alone: ASCII, lower-case scheme and host, no user
information, no default port, no dot segments, no empty segments.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from watchword.errors import WatchwordError

MAX_URL: Final = 2048
"""Characters."""

_DEFAULT_PORTS = {"https": "443", "http": "80"}
_PATH_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    rf"(?P<path>(?:/{_PATH_CHARACTER}+)*/?)"
    rf"(?P<query>\?(?:{_PATH_CHARACTER}|[/?])*)?"
)


class InvalidUrl(WatchwordError):
    """Not a URL we use: url.syntax, url.fragment, url.insecure."""


@dataclass(frozen=True, slots=True)
class Url:
    """A checked URL. ``host`` is without the brackets of an IPv6 address; ``query`` is without the question mark."""

    text: str
    scheme: str
    host: str
    authority: str
    path: str
    query: str | None

    @property
    def is_loopback(self) -> bool:
        """``localhost`` itself, or a loopback address: what never leaves this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_url(text: str) -> Url:
    """Return the parts of an absolute http or https URL.

    Raises:
        InvalidUrl: url.syntax, url.fragment.
    """
    if "#" in text:
        raise InvalidUrl("url.fragment")
    match = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if match is None:
        raise InvalidUrl("url.syntax")
    scheme, host, port, path, query = match.group("scheme", "host", "port", "path", "query")
    if port == _DEFAULT_PORTS[scheme] or int(port or 0) > 65_535 or not _is_host(host):
        raise InvalidUrl("url.syntax")
    if not {".", ".."}.isdisjoint(path.lower().replace("%2e", ".").split("/")):
        raise InvalidUrl("url.syntax")
    authority = f"{host}:{port}" if port else host
    return Url(text, scheme, host.strip("[]"), authority, path, None if query is None else query[1:])


def check_secure_url(text: str, *, allow_loopback_http: bool) -> Url:
    """Return the URL if it is https, or plain http to this very machine where that is allowed.

    Raises:
        InvalidUrl: url.syntax, url.fragment, url.insecure.
    """
    url = parse_url(text)
    if url.scheme != "https" and not (allow_loopback_http and url.is_loopback):
        raise InvalidUrl("url.insecure")
    return url


def _is_host(host: str) -> bool:
    """Refuse empty labels, and what some library might read as an address in another notation (``127.1``, ``0x7f``)."""
    is_literal = host.startswith("[")
    last_label = host.rpartition(".")[2]
    if not is_literal and not last_label.isdigit() and not last_label.startswith("0x"):
        return "" not in host.split(".")
    try:
        return is_literal == (ipaddress.ip_address(host.strip("[]")).version == 6)
    except ValueError:
        return False

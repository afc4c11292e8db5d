"""How a Redis or Valkey is named: one URL, which is never shown with its password."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from watchword.errors import BadSettings

DEFAULT_PORT: Final = 6379
_LARGEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where it is. ``path`` instead of host and port is a socket of this machine. Printed without the password."""

    host: str
    port: int
    path: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    is_tls: bool = False

    def __str__(self) -> str:
        hidden = ":***" if self.password else ""
        user = f"{self.username}{hidden}@" if self.username or hidden else ""
        if self.path:
            return f"unix://{user}{self.path}" + (f"?db={self.database}" if self.database else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.is_tls else ''}://{user}{host}:{self.port}/{self.database}"

    @property
    def is_near(self) -> bool:
        """It is on this machine, so that nothing said to it can be overheard on the way."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_redis_url(text: str) -> RedisUrl:
    """Return where ``redis://``, ``rediss://`` (TLS) or ``unix:///path?db=0`` leads.

    Raises:
        BadSettings: settings.cache; its words never hold the text, which may have a password.
    """
    try:
        return _read(urlsplit(text.strip()))
    except ValueError:
        detail = (
            "cache is not the URL of a Redis or Valkey; write redis://HOST:PORT/DATABASE, rediss:// for TLS, or "
            "unix:///PATH?db=DATABASE; a name and a password as in redis://NAME:PASSWORD@HOST, percent-encoded."
        )
        raise BadSettings("settings.cache", detail=detail) from None


def _read(parts: SplitResult) -> RedisUrl:
    name, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.hostname or parts.fragment:
            raise ValueError(parts.scheme)
        number = _number(parts.query.removeprefix("db=")) if parts.query else 0
        return RedisUrl("", 0, unquote(parts.path), number, name, password)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(parts.scheme)
    port = parts.port if parts.port is not None else DEFAULT_PORT
    if not 0 < port <= _LARGEST_PORT:
        raise ValueError(port)
    number = _number(parts.path.removeprefix("/")) if parts.path not in {"", "/"} else 0
    return RedisUrl(parts.hostname, port, "", number, name, password, is_tls=parts.scheme == "rediss")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)

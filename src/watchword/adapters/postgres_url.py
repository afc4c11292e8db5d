"""How a PostgreSQL database is named: one URL, which is shown without its password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from watchword.errors import BadSettings

SCHEMES: Final = ("postgresql", "postgres")
HIDDEN: Final = "***"
_LOOPBACK: Final = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?", re.IGNORECASE)


def check_url(url: str) -> str:
    """Return the URL if it names a PostgreSQL database.

    Raises:
        BadSettings: settings.database; the sentence never holds the URL.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in SCHEMES and "://" in url and len(parts.path) > 1
    except ValueError:
        is_one = False
    if not is_one:
        detail = "database is not the URL of a PostgreSQL database; write postgresql://user@host:5432/name."
        raise BadSettings("settings.database", detail=detail)
    return url


def options_of(url: str) -> dict[str, str]:
    """Return what stands behind its question mark."""
    return dict(parse_qsl(urlsplit(url).query))


def per_host(url: str) -> list[str]:
    """Return one URL for each of its hosts."""
    parts, options = urlsplit(url), options_of(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if hosts:
        return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]
    names, ports = options.get("host", "").split(","), options.get("port", "").split(",")
    if len(names) == 1:
        return [url]
    pairs = zip(names, ports if len(ports) == len(names) else ports * len(names), strict=False)
    each = [options | {"host": name} | ({"port": port} if port else {}) for name, port in pairs]
    return [f"{url.partition('?')[0]}?{urlencode(one)}" for one in each]


def masked(url: str) -> str:
    """Return the URL without its password, wherever it stands."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    shown = f"{name}{colon}{HIDDEN if password else ''}{at}{hosts}"
    options = {key: HIDDEN if "password" in key else value for key, value in options_of(url).items()}
    return urlunsplit(parts._replace(netloc=shown, query=urlencode(options, safe="/*,")))


def has_password(url: str) -> bool:
    """Tell whether a password stands in it."""
    user = urlsplit(url).netloc.rpartition("@")[0]
    return bool(user.partition(":")[2]) or any("password" in name for name in options_of(url))


def is_on_the_wire(url: str) -> bool:
    """Tell whether what is said would leave this machine without TLS that is asked for and checked."""
    parts = urlsplit(url)
    options = options_of(url)
    hosts = [host for host in (options.get("host") or parts.netloc.rpartition("@")[2]).split(",") if host]
    is_near = all(_LOOPBACK.fullmatch(host) or host.startswith(("/", quote("/", safe=""))) for host in hosts)
    return not is_near and options.get("sslmode") not in {"verify-ca", "verify-full"}

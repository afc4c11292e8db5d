"""The one spelling of a request's URL by which two of them are compared. RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3.

As much is folded as means the same to every server, and nothing more: case of scheme and host, the default port, the case
of percent-encodings, needless encodings, dot segments, the empty path. A path's case, its encoded slash and the slash at its
end are its own.
"""

from __future__ import annotations

import re
import string
from typing import Final

MAX_HTU: Final = 4096
"""Characters."""

_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}
_CHARACTER: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_HTU: Final = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{0,5}))?"
    rf"(?P<path>(?:/{_CHARACTER}*)?)"
    rf"(?:\?(?:{_CHARACTER}|\?)*)?(?:#(?:{_CHARACTER}|\?)*)?"
)
_ENCODED: Final = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")


class InvalidHtu(ValueError):
    """Not an absolute http or https URL that we would compare."""


def canonical_htu(url: str) -> str:
    """Return the URL in its one spelling, without query and fragment.

    A user name in it, characters that no URL has, and other schemes are refused.

    Raises:
        InvalidHtu: it cannot be compared.
    """
    match = _HTU.fullmatch(url) if len(url) <= MAX_HTU else None
    if match is None:
        raise InvalidHtu("not the URL of a request")
    scheme, host, port, path = match.group("scheme", "host", "port", "path")
    scheme = scheme.lower()
    port = (port or "").lstrip("0")
    shown = "" if port in ("", _DEFAULT_PORTS[scheme]) else f":{port}"
    return f"{scheme}://{host.lower()}{shown}{_canonical_path(path)}"


def _canonical_path(path: str) -> str:
    if "%" in path:
        path = _ENCODED.sub(_decode_unreserved, path)
    if "/." in path:
        path = _without_dots(path)
    return path or "/"


def _decode_unreserved(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4, of a path that begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)

"""The path a decision is made on: the raw one, in the one spelling that every router reads alike.

A guard that reads a path otherwise than the application behind it guards nothing. What could be read in two ways is
refused: encoded slashes, dots, backslashes and percent signs, needless encodings, empty and dot segments, ``;``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from watchword.errors import InvalidRequest

_RAW_PATH: Final = re.compile(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*")
_ENCODED: Final = re.compile(rb"%(..)")
_NEVER_ENCODED: Final = frozenset(
    [*range(0x20), 0x7F, *(string.ascii_letters + string.digits + "-._~" + "/\\%;?#").encode()]
)
"""Octets that are the same when not encoded, or that split a path for some reader and not for another."""
_REFUSED: Final = re.compile(r"[\x00-\x1f\x7f%;\\?#]")
_DOTS: Final = frozenset({".", ".."})


def read_path(scope: Mapping[str, object]) -> str:
    """Return the path of an ASGI request below its ``root_path``, decoded; never one rebuilt from ``Host``.

    The server's raw path and its decoded one must be the same path; where a server gives no raw path, the decoded one is
    all that anybody behind it can see.

    Raises:
        InvalidRequest: guard.path.
    """
    path, raw, root = scope.get("path"), scope.get("raw_path"), scope.get("root_path")
    if not isinstance(path, str) or not _is_plain(path) or (isinstance(raw, bytes) and _decode(raw) != path):
        raise InvalidRequest("guard.path")
    if isinstance(root, str) and root and (path == root or path.startswith(root + "/")):
        return path[len(root) :] or "/"
    return path


def _decode(raw: bytes) -> str | None:
    if _RAW_PATH.fullmatch(raw) is None:
        return None
    if b"%" not in raw:
        return raw.decode("ascii")
    if any(int(octet, 16) in _NEVER_ENCODED for octet in _ENCODED.findall(raw)):
        return None
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_plain(path: str) -> bool:
    """Say whether no segment is empty (but the last may be) or made of dots, and no character splits a segment."""
    segments = path.split("/")
    return (
        len(segments) > 1
        and not segments[0]
        and all(segments[1:-1])
        and _DOTS.isdisjoint(segments)
        and _REFUSED.search(path) is None
    )

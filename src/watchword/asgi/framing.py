"""Requests whose end two readers could see in different places, or whose host or target they could. RFC 9112 §3, §6, §11.2.

The parser refuses most of them by itself. What it lets through is refused here: whoever stands in front of this server and
reads such a request in another way would send one client's bytes as another's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_HOST: Final = b"host"
_LENGTH: Final = b"content-length"
_CODING: Final = b"transfer-encoding"
_NEARLY: Final = frozenset({b"content_length", b"transfer_encoding"})
_DECIDING: Final = frozenset({_HOST, _LENGTH, _CODING, b"connection", *_NEARLY})
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")

Headers = Sequence[tuple[bytes, bytes]]


def is_plain(version: str, target: bytes, headers: Headers) -> bool:
    """Tell whether every reader sees the same request. Names are lower case, in the order they came.

    The target is in origin form: no other says which of its two hosts is meant. There is one ``Host`` (before HTTP/1.1
    there may be none), and one length, or one coding ``chunked``, or neither.
    """
    if version not in ("1.0", "1.1") or not target.startswith(b"/") or b"#" in target:
        return False
    deciding = [header for header in headers if header[0] in _DECIDING]
    hosts = [value for name, value in deciding if name == _HOST]
    if len(hosts) > 1 or (not hosts and version == "1.1") or _hides_framing(deciding):
        return False
    return _has_one_end(
        version,
        [value for name, value in deciding if name == _LENGTH],
        [value for name, value in deciding if name == _CODING],
    )


def _hides_framing(deciding: Headers) -> bool:
    """A name that some readers take for another, or a framing header that a proxy is told to drop."""
    for name, value in deciding:
        if name in _NEARLY:
            return True
        if name == b"connection" and not _DECIDING.isdisjoint(token.strip().lower() for token in value.split(b",")):
            return True
    return False


def _has_one_end(version: str, lengths: Sequence[bytes], codings: Sequence[bytes]) -> bool:
    if codings:
        return version == "1.1" and not lengths and len(codings) == 1 and codings[0].lower() == b"chunked"
    return len(lengths) <= 1 and all(_DIGITS.fullmatch(value) for value in lengths)

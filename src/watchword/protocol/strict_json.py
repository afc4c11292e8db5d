"""JSON objects from others, read strictly: what two parsers could read differently is refused. RFC 8259 §4, RFC 7515 §4."""

from __future__ import annotations

import json
import math
from typing import Final

MAX_DEPTH: Final = 64
"""Levels of nesting, the outermost object being the first."""


def parse_object(data: bytes) -> dict[str, object]:
    """Return the JSON object that ``data`` spells in UTF-8.

    Refused: other encodings and the byte order mark, lone surrogates, repeated members, ``NaN`` and infinities (``1e400``
    is one), more than ``MAX_DEPTH`` levels, anything after the object, and what is not an object.

    Raises:
        ValueError: refused; ``RepeatedMember`` where that was the reason.
    """
    text = data.decode("utf-8").strip(" \t\r\n")
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end != len(text):
        raise ValueError("something follows")
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- wrong input, not a wrong type of argument
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if b"\\u" in data:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError, a ValueError: a lone surrogate
    return value


class RepeatedMember(ValueError):
    """An object has two members of one name."""


def _unique(members: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(members)
    if len(value) != len(members):
        raise RepeatedMember
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number without a value")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not of JSON")


def _is_deeper(value: object, levels: int) -> bool:
    """Say whether ``value`` nests deeper than ``levels``, without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _members(parent) if isinstance(child, dict | list)]
    return bool(layer)


def _members(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)

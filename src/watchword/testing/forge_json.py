"""JSON that two parsers could read differently, or that is none: for headers, claims and documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

BAD_DATES: Final[Mapping[str, str]] = {
    "string": '"1700000000"',
    "empty": '""',
    "null": "null",
    "true": "true",
    "array": "[1700000000]",
    "object": "{}",
    "negative": "-1",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus infinity": "-Infinity",
    "1e400": "1e400",
    "2**63": "9223372036854775808",
    "year 10000": "253402300800",
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
}
"""Values of a date, as JSON would spell them, that are no NumericDate. RFC 7519 §2."""


def to_json(members: Mapping[str, object]) -> bytes:
    """Return JSON without spaces, members in their order."""
    return json.dumps(members, separators=(",", ":")).encode()


def with_raw_member(members: Mapping[str, object], name: str, text: str) -> bytes:
    """Return the JSON of ``members`` with one member set to this very text."""
    others = to_json({key: value for key, value in members.items() if key != name})
    return b"{" + json.dumps(name).encode() + b":" + text.encode() + b"," + others[1:]


def not_objects(good: bytes) -> dict[str, bytes]:
    """Return, by name, what a strict reader refuses; ``good`` is an object that it takes."""
    return {
        "array": b"[" + good + b"]",
        "string": json.dumps(good.decode()).encode(),
        "number": b"1",
        "null": b"null",
        "two objects": good + good,
        "a comma behind": good[:-1] + b",}",
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32-le"),
        "not UTF-8": good[:-1] + b',"x":"\xff"}',
        "overlong UTF-8": good[:-1] + b',"x":"\xc0\xaf"}',
        "surrogate in UTF-8": good[:-1] + b',"x":"\xed\xa0\x80"}',
        "escaped lone surrogate": good[:-1] + b',"x":"\\ud800"}',
        "escaped lone surrogate in a name": good[:-1] + b',"\\udfff":1}',
        "control character": good[:-1] + b',"x":"\n"}',
        "NaN": good[:-1] + b',"x":NaN}',
        "Infinity": good[:-1] + b',"x":-Infinity}',
        "1e400": good[:-1] + b',"x":1e400}',
        "5000 digits": good[:-1] + b',"x":' + b"9" * 5000 + b"}",
        "single quotes": good.replace(b'"', b"'"),
        "65 levels": good[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
        "1000 levels": good[:-1] + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}",
        "2500 levels": good[:-1] + b',"x":' + b"[" * 2500 + b"]" * 2500 + b"}",
        "unclosed": good[:-1],
        "nothing but spaces": b"   ",
    }


def with_repeated_members(value: Mapping[str, object]) -> dict[str, bytes]:
    """Return, by name, spellings of an object in which some name stands twice."""
    good = to_json(value)
    name, first = next(iter(value.items()))
    escaped = "".join(f"\\u{ord(character):04x}" for character in name)
    return {
        f"{name} twice": good[:-1] + f",{json.dumps(name)}:{json.dumps(first)}}}".encode(),
        f"{name} twice, the second null": good[:-1] + f",{json.dumps(name)}:null}}".encode(),
        f"{name} twice, once escaped": good[:-1] + f',"{escaped}":{json.dumps(first)}}}'.encode(),
        "a member twice, deeper down": good[:-1] + b',"x":{"y":[{"z":1,"z":1}]}}',
    }

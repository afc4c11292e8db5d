"""Names of X.500, compared as names: sequences of sets of attributes, not text. RFC 4514, RFC 5280 §7.1, RFC 4518.

Case, spaces, the type of a string and the order within a set do not count; the order of the sets does. What is invisible in a
name is refused, not left out as RFC 4518 §2.2 would: two names that look the same are not to be told apart by a machine only.
"""

from __future__ import annotations

import re
import stringprep
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from cryptography import x509

from watchword.errors import WatchwordError

MAX_LENGTH: Final = 2048

Attribute = tuple[str, str]
"""A type as a dotted OID, and a value as it is compared."""

DistinguishedName = tuple[frozenset[Attribute], ...]
"""The outermost set first, as it is encoded; the text of RFC 4514 begins with the innermost."""

_TYPES: Final = {
    "CN": "2.5.4.3",
    "SN": "2.5.4.4",
    "SERIALNUMBER": "2.5.4.5",
    "C": "2.5.4.6",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "S": "2.5.4.8",
    "STREET": "2.5.4.9",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "TITLE": "2.5.4.12",
    "T": "2.5.4.12",
    "POSTALCODE": "2.5.4.17",
    "GN": "2.5.4.42",
    "GIVENNAME": "2.5.4.42",
    "DNQUALIFIER": "2.5.4.46",
    "ORGANIZATIONIDENTIFIER": "2.5.4.97",
    "UID": "0.9.2342.19200300.100.1.1",
    "DC": "0.9.2342.19200300.100.1.25",
    "EMAILADDRESS": "1.2.840.113549.1.9.1",
    "E": "1.2.840.113549.1.9.1",
}
"""RFC 4514 §3, and what OpenSSL and Microsoft write besides. All of them are compared without regard to case."""

_KNOWN: Final = frozenset(_TYPES.values())
_DOTTED: Final = re.compile(r"(?:OID\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)", re.IGNORECASE)
_SPECIAL: Final = frozenset('"+,;<>\\')
_ESCAPABLE: Final = _SPECIAL | frozenset(" #=")
_ENCODINGS: Final = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
"""The kinds of string of ASN.1 by tag."""


class InvalidName(WatchwordError):
    """A name that cannot be read, or not be compared.

    Reasons: name.syntax, name.type (an attribute nobody knows the short name of), name.value (control or invisible characters,
    or not a string), name.empty, name.length.
    """


def parse_name(text: str) -> DistinguishedName:
    """Return the name written as RFC 4514 says: ``CN=reader,OU=agents,O=Example``. Spaces around separators do not count.

    Raises:
        InvalidName
    """
    if len(text) > MAX_LENGTH:
        raise InvalidName("name.length")
    sets = [frozenset(map(_parse_attribute, _split(one, "+"))) for one in _split(text, ",")]
    return tuple(reversed(sets))


def name_of(name: x509.Name) -> DistinguishedName:
    """Return the name that stands in a certificate.

    Raises:
        InvalidName: name.value, name.empty, name.length
    """
    sets = tuple(frozenset(_attribute(one.oid.dotted_string, one.value) for one in each) for each in name.rdns)
    if not sets:
        raise InvalidName("name.empty")
    if sum(len(value) for one in sets for _, value in one) > MAX_LENGTH:
        raise InvalidName("name.length")
    return sets


def _attribute(oid: str, value: str | bytes) -> Attribute:
    if isinstance(value, bytes):
        return oid, "#" + value.hex()
    return oid, prepare(value) if oid in _KNOWN else _check_visible(value)


def prepare(text: str) -> str:
    """Return the text as it is compared. RFC 4518 §2, without what would leave characters out.

    Raises:
        InvalidName: name.value
    """
    folded = "".join(map(stringprep.map_table_b2, _check_visible(text)))
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _check_visible(text: str) -> str:
    if any(_is_refused(character) for character in text) or not text.strip():
        raise InvalidName("name.value")
    return text


def _is_refused(character: str) -> bool:
    """Controls, invisible ones, private, unassigned, and those that change how others are shown: RFC 3454 tables A.1, B.1, C."""
    if " " <= character <= "~":
        return False
    return character == "\N{REPLACEMENT CHARACTER}" or any(
        is_in(character)
        for is_in in (
            stringprep.in_table_a1,
            stringprep.in_table_b1,
            stringprep.in_table_c21_c22,
            stringprep.in_table_c3,
            stringprep.in_table_c4,
            stringprep.in_table_c5,
            stringprep.in_table_c8,
        )
    )


def _split(text: str, separator: str) -> Iterator[str]:
    """Cut at separators that are not escaped."""
    start, at = 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def _parse_attribute(text: str) -> Attribute:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidName("name.syntax" if text.strip() else "name.empty")
    name = name.strip()
    dotted = _DOTTED.fullmatch(name)
    oid = dotted[1] if dotted else _TYPES.get(name.upper())
    if oid is None:
        raise InvalidName("name.type", detail=name[:64])
    value = value.lstrip(" ")
    return _attribute(oid, _decode_hex(value[1:].rstrip(" ")) if value.startswith("#") else _unescape(value))


def _unescape(text: str) -> str:
    try:
        return b"".join(_octets(_trim(text))).decode()
    except UnicodeError:
        raise InvalidName("name.value") from None


def _trim(text: str) -> str:
    """Drop the spaces at the end, but not one that is escaped."""
    bare = text.rstrip(" ")
    escapes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if escapes % 2 and len(bare) < len(text) else bare


def _octets(text: str) -> Iterable[bytes]:
    at = 0
    while at < len(text):
        character = text[at]
        if character != "\\":
            if character in _SPECIAL:
                raise InvalidName("name.syntax")
            yield character.encode()
            at += 1
        elif text[at + 1 : at + 2] in _ESCAPABLE and at + 1 < len(text):
            yield text[at + 1].encode()
            at += 2
        else:
            yield _from_hex(text[at + 1 : at + 3], size=1)
            at += 3


def _from_hex(text: str, *, size: int | None = None) -> bytes:
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text) or (size is not None and len(text) != 2 * size):
        raise InvalidName("name.syntax")
    return bytes.fromhex(text)


def _decode_hex(text: str) -> str:
    """Return the string of a value that is written as its encoding, RFC 4514 §2.4: tag, short or one-octet length, octets."""
    encoded = _from_hex(text)
    tag, long_form = encoded[0], encoded[1:2] == b"\x81"
    start = 3 if long_form else 2
    if len(encoded) <= start or encoded[start - 1] != len(encoded) - start or (not long_form and encoded[1] > 0x7F):
        raise InvalidName("name.syntax")
    try:
        return encoded[start:].decode(_ENCODINGS[tag])
    except (KeyError, UnicodeError):
        raise InvalidName("name.value") from None

"""Secrets that machines hold: how they look, how they are kept, how they are compared, how they travel.

The form is for scanners: ``wws_`` (client secret), ``wwk_`` (API key) or ``wwo_`` (operator's credential), 43 characters
of base62 drawn from 256 random bits, and 6 of the CRC-32 of all before them. Stored is only a keyed hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from watchword.errors import BadSettings, InvalidClient, InvalidRequest
from watchword.protocol.form import decode_component, encode_component

SECRET_PATTERN: Final = re.compile(r"(?<![0-9A-Za-z_])ww[sko]_[0-9A-Za-z]{49}(?![0-9A-Za-z_])")
"""Finds candidates in any text; ``looks_like_secret`` then tells by the checksum."""

MAX_BASIC: Final = 4096
"""Bytes of an ``Authorization`` header with the scheme ``Basic``."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASIC = re.compile(rb"(?i:basic) +([A-Za-z0-9+/]+={0,2})")
_BODY_LENGTH = 43  # 62**43 is just above 2**256
_CHECK_LENGTH = 6
_MINIMUM_PEPPER = 32
_NOTHING_STORED = bytes(hashlib.sha256().digest_size)
_REDACTED = "[redacted]"
_SECRET_LIKE = re.compile(r"ww[sko]_[0-9a-z]{12,}", re.IGNORECASE)  # in other letters it is as good as known
_TOKEN_CHARACTERS = re.compile(r"[0-9A-Za-z_.\-]+")
_JSON_OBJECT_START = "eyJ"  # base64url of {"


class SecretKind(StrEnum):
    """What a secret opens; the value is its prefix."""

    CLIENT = "wws"
    API_KEY = "wwk"
    OPERATOR = "wwo"


def generate_secret(kind: SecretKind) -> str:
    """Return a new secret of 256 random bits. It is in our hands only now: show it once, keep its hash."""
    body = _base62(secrets.randbelow(62**_BODY_LENGTH), _BODY_LENGTH)
    unchecked = f"{kind}_{body}"
    return unchecked + _checksum(unchecked)


def looks_like_secret(text: str) -> bool:
    """Whether this is, character by character, a secret we may have made: the form fits and the checksum is right."""
    if SECRET_PATTERN.fullmatch(text) is None:
        return False
    unchecked, checksum = text[:-_CHECK_LENGTH], text[-_CHECK_LENGTH:]
    return checksum == _checksum(unchecked)


def hash_secret(secret: str, *, pepper: bytes) -> bytes:
    """Return what is stored of a secret: HMAC-SHA-256 under a key that is not in the store. 32 bytes.

    Raises:
        BadSettings: pepper.short, below 32 bytes.
    """
    if len(pepper) < _MINIMUM_PEPPER:
        raise BadSettings("pepper.short", detail=f"at least {_MINIMUM_PEPPER} bytes are needed")
    return hmac.digest(pepper, secret.encode("utf-8", "surrogatepass"), "sha256")


def find_match(presented: bytes, stored: Sequence[bytes]) -> int | None:
    """Return where the presented hash stands among the stored ones, or nothing.

    Takes the same time whether and where it matches: it is compared with every entry, and with a dummy where there is none.
    """
    found: int | None = None
    for index, candidate in enumerate(stored or (_NOTHING_STORED,)):
        if hmac.compare_digest(presented, candidate) and found is None:
            found = index
    return found if stored else None


def parse_basic(value: bytes) -> tuple[str, str]:
    """Return client identifier and secret from the whole value of an ``Authorization`` header with the scheme ``Basic``.

    RFC 6749 §2.3.1 and appendix B, RFC 7617. Split at the first colon, then each half form-decoded: ``+`` is a space, a
    plus sign arrives as ``%2B``.

    Raises:
        InvalidClient: basic.syntax.
    """
    match = _BASIC.fullmatch(value) if len(value) <= MAX_BASIC else None
    if match is None:
        raise InvalidClient("basic.syntax", detail="not Basic and base64")
    try:
        decoded = binascii.a2b_base64(match[1])
        client_id, colon, secret = (decode_component(part) for part in decoded.partition(b":"))
    except (binascii.Error, InvalidRequest):
        raise InvalidClient("basic.syntax") from None
    if binascii.b2a_base64(decoded, newline=False) != match[1] or not decoded.isascii():
        raise InvalidClient("basic.syntax", detail="not canonical base64 of ASCII")
    if not (client_id and colon and secret):
        raise InvalidClient("basic.syntax", detail="identifier or secret is missing")
    return client_id, secret


def build_basic(client_id: str, secret: str) -> str:
    """Return the whole value of an ``Authorization`` header: ``Basic`` and the credentials (RFC 6749 §2.3.1)."""
    pair = f"{encode_component(client_id)}:{encode_component(secret)}"
    return "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")


def redact(text: str) -> str:
    """Return ``text`` with everything that looks like one of our secrets, or like a signed token, taken out."""
    if _JSON_OBJECT_START not in text and "ww" not in text.lower():  # nearly every text there is
        return text
    return _SECRET_LIKE.sub(_REDACTED, _TOKEN_CHARACTERS.sub(_redact_token, text))


def _redact_token(run: re.Match[str]) -> str:
    text = run.group()
    start = text.find(_JSON_OBJECT_START)
    is_token = start >= 0 and "." in text[start:]
    return text[:start] + _REDACTED if is_token else text


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))

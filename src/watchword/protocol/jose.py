"""The one door to signed tokens: compact JWS, parsed strictly, verified once, read only afterwards. RFC 7515, 7519, 8725.

A token has one way through: ``parse_compact`` judges its form and header, ``verify`` its signature, and only ``verify``
gives its claims, from the very bytes that were signed. There is no JSON serialization, no encryption, no compression,
no detached payload, no unsecured token and no key taken from a header.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.algorithms import ALGORITHMS, LEGACY_EDDSA, Algorithm, WrongSignature
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.private_keys import PrivateKey, generate_private_key
from watchword.protocol.public_keys import PRIVATE_MEMBERS, InvalidKey, PublicKey, import_public_jwk, thumbprint
from watchword.protocol.strict_json import RepeatedMember, parse_object

__all__ = [
    "ALGORITHMS",
    "LEGACY_EDDSA",
    "MAX_TOKEN_SIZE",
    "PRIVATE_MEMBERS",
    "Algorithm",
    "InvalidJws",
    "InvalidKey",
    "PrivateKey",
    "PublicKey",
    "UnverifiedToken",
    "assemble",
    "b64url_decode",
    "b64url_encode",
    "build_compact",
    "check_typ",
    "generate_private_key",
    "import_public_jwk",
    "numeric_date",
    "parse_compact",
    "signing_input",
    "thumbprint",
    "unverified_claims",
    "verify",
]

MAX_TOKEN_SIZE: Final = 8192
"""Characters of a compact token, unless the caller says otherwise. Checked before anything is decoded."""

KEY_MEMBERS: Final = frozenset({"jwk", "jku", "x5u", "x5c"})
"""Header members by which a token would bring its own key. RFC 7515 §4.1.2 to §4.1.6."""

LATEST_DATE: Final = 253402300799
"""The last second that a ``datetime`` can hold, 9999-12-31T23:59:59Z."""


class InvalidJws(WatchwordError):
    """A token is refused: its form, its header, its signature or its claims."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token of the right form, by nobody yet. Made by ``parse_compact`` only."""

    header: Mapping[str, object]
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_compact(
    token: str,
    *,
    typ: frozenset[str] | str,
    max_size: int = MAX_TOKEN_SIZE,
    key_members: frozenset[str] = frozenset(),
) -> UnverifiedToken:
    """Return the token, if it is one compact JWS with a header that we understand and that claims to be of type ``typ``.

    RFC 7515 §5.2 and §7.1, RFC 8725 §3. ``typ`` names media types without ``application/``, in lower case, and ``""`` for
    a header without ``typ``. ``max_size`` is in characters. ``key_members`` are members that may bring a key after all:
    a DPoP proof's ``jwk``, and nothing else.

    Raises:
        InvalidJws: jws.size, jws.form, jws.base64, jws.duplicate, jws.header, jws.algorithm, jws.b64, jws.crit,
            jws.key_in_header, jws.encrypted, jws.nested, jws.typ.
    """
    if len(token) > max_size:
        raise InvalidJws("jws.size")
    if not token.isascii() or token.count(".") != 2:
        raise InvalidJws("jws.form")
    signed, _, signature = token.encode("ascii").rpartition(b".")
    header, _, payload = signed.partition(b".")
    if not (header and payload and signature):
        raise InvalidJws("jws.form")
    members = _parse_header(header, key_members)
    check_typ(members, typ)
    return UnverifiedToken(members, _decode(payload), signed, _decode(signature))


def check_typ(header: Mapping[str, object], typ: frozenset[str] | str) -> None:
    """Return if the header's ``typ`` is one of ``typ``; compared as media types are. RFC 7515 §4.1.9, RFC 8725 §3.11.

    Raises:
        InvalidJws: jws.typ.
    """
    value = header.get(names.TYP, "")
    if value and value == typ:  # as we spell it, and nearly everybody
        return
    if not isinstance(value, str) or (names.TYP in header and not value):
        raise InvalidJws("jws.typ")
    if value.lower().removeprefix("application/") not in ({typ} if isinstance(typ, str) else typ):
        raise InvalidJws("jws.typ")


def verify(token: UnverifiedToken, key: PublicKey, *, algorithms: frozenset[str]) -> dict[str, object]:
    """Return the claims of a token that ``key`` has signed with one of ``algorithms``: a dictionary that nobody else has.

    RFC 7515 §5.2, RFC 7519 §7.2. The algorithm must be in ``algorithms``, be the one that the key is bound to, and be
    the header's; ``EdDSA`` in ``algorithms`` admits that header from an Ed25519 key (RFC 9864). Dates, issuer and audience
    are the caller's to judge.

    Raises:
        InvalidJws: jws.algorithm, jws.signature, jws.claims, jws.duplicate.
        InvalidKey: key.type: ``key`` is no ``PublicKey``.
        TypeError: ``algorithms`` is not a frozenset.
    """
    if not isinstance(key, PublicKey):
        raise InvalidKey("key.type")
    if not isinstance(algorithms, frozenset):
        raise TypeError("algorithms")
    algorithm = token.header[names.ALG]
    meant = names.ED25519 if algorithm == LEGACY_EDDSA else algorithm
    if algorithm not in algorithms or meant != key.algorithm:
        raise InvalidJws("jws.algorithm")
    try:
        key.verify(token.signature, token.signing_input)
    except WrongSignature:
        raise InvalidJws("jws.signature") from None
    return unverified_claims(token)


def unverified_claims(token: UnverifiedToken) -> dict[str, object]:
    """Return what a token claims, for finding the key that may prove it. Decide nothing else by it.

    Raises:
        InvalidJws: jws.claims: not one strict JSON object; jws.duplicate.
    """
    try:
        return parse_object(token.payload)
    except RepeatedMember:
        raise InvalidJws("jws.duplicate") from None
    except ValueError:
        raise InvalidJws("jws.claims") from None


def numeric_date(value: object) -> float:
    """Return the seconds since 1970 of a NumericDate; fractions are kept. RFC 7519 §2.

    Raises:
        InvalidJws: jws.claims: not a number, a boolean, NaN, infinite, negative, or after the year 9999.
    """
    if not (type(value) is int or type(value) is float) or not 0 <= value <= LATEST_DATE:
        raise InvalidJws("jws.claims")
    return float(value)


def build_compact(header: Mapping[str, str], claims: Mapping[str, object], sign: Callable[[bytes], bytes]) -> str:
    """Return the signed token. ``header`` must name the algorithm that ``sign`` uses, and the ``typ``."""
    message = signing_input(header, claims)
    return assemble(message, sign(message))


def signing_input(header: Mapping[str, str], claims: Mapping[str, object]) -> bytes:
    """Return the bytes to sign. RFC 7515 §5.1.

    Raises:
        InvalidJws: jws.header: one that we would not accept ourselves; jws.claims: not expressible in JSON.
    """
    return _header_segment(tuple(header.items())) + b"." + b64url_encode(_to_json(claims))


def assemble(signing_input: bytes, signature: bytes) -> str:
    """Return the token of a signing input and its signature."""
    return (signing_input + b"." + b64url_encode(signature)).decode("ascii")


@lru_cache(maxsize=128)
def _parse_header(segment: bytes, key_members: frozenset[str]) -> Mapping[str, object]:
    try:
        header = parse_object(_decode(segment))
    except RepeatedMember:
        raise InvalidJws("jws.duplicate") from None
    except ValueError:
        raise InvalidJws("jws.header") from None
    _check_header(header, key_members)
    return MappingProxyType(header)


def _check_header(header: Mapping[str, object], key_members: frozenset[str]) -> None:
    """RFC 7515 §4.1 and RFC 7797 §6: refuse what changes the meaning of a token; ignore the rest."""
    algorithm = header.get(names.ALG)
    if not isinstance(algorithm, str) or (algorithm not in ALGORITHMS and algorithm != LEGACY_EDDSA):
        raise InvalidJws("jws.algorithm")
    if "b64" in header:
        raise InvalidJws("jws.b64")
    if "crit" in header:
        raise InvalidJws("jws.crit")
    if not (KEY_MEMBERS - key_members).isdisjoint(header):
        raise InvalidJws("jws.key_in_header")
    if "enc" in header or "zip" in header:
        raise InvalidJws("jws.encrypted")
    if not isinstance(header.get(names.KID, ""), str):
        raise InvalidJws("jws.header")
    content = header.get("cty", "")
    if not isinstance(content, str) or content.lower().endswith("jwt"):
        raise InvalidJws("jws.nested")


def _decode(segment: bytes) -> bytes:
    try:
        return b64url_decode(segment)
    except ValueError:
        raise InvalidJws("jws.base64") from None


@lru_cache(maxsize=64)
def _header_segment(members: tuple[tuple[str, str], ...]) -> bytes:
    """A server signs millions of tokens under one header."""
    header = dict(members)
    if not header.get(names.TYP):
        raise InvalidJws("jws.typ")
    _check_header(header, frozenset())
    return b64url_encode(_to_json(header))


def _to_json(value: Mapping[str, object]) -> bytes:
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidJws("jws.claims") from error


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)

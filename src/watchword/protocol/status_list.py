"""Token Status List, the wire format, both halves: draft-ietf-oauth-status-list-21. Until it is an RFC, it is known here alone.

One bit for a token: 0 is valid, 1 is revoked. Foreign lists of 2, 4 or 8 bits are read too.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import jose, names
from watchword.protocol.base64url import b64url_decode, b64url_encode

LIST_SIZE: Final = 1_048_576
"""Tokens in one list of ours: 128 KiB before compression."""

MAX_BYTES: Final = 1_048_576
"""Bytes of a list that is read, once decompressed."""

MAX_SIZE: Final = 1_572_864
"""Characters of a status list token that is read."""

_BITS: Final = (1, 2, 4, 8)
_STATUS_LIST: Final = "status_list"


class InvalidStatusList(WatchwordError):
    """A list is not believed, or a token's reference to one makes no sense: nobody knows the token's status."""


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where a token's status stands: claim ``status``, member ``status_list``. §6.2."""

    uri: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """A list that was found good: until ``expires_at``, and best asked for anew after ``ttl``."""

    uri: str
    issued_at: datetime
    expires_at: datetime | None
    ttl: timedelta | None
    bits: int
    statuses: bytes = field(repr=False)

    def status(self, index: int) -> int:
        """Return the status at a place: 0 is valid. The lowest bits of a byte come first. §4.1.

        Raises:
            InvalidStatusList: status.index: there is no such place.
        """
        per_byte = 8 // self.bits
        if not 0 <= index < len(self.statuses) * per_byte:
            raise InvalidStatusList("status.index")
        return self.statuses[index // per_byte] >> (index % per_byte) * self.bits & (1 << self.bits) - 1


def build_status(uri: str, index: int) -> dict[str, object]:
    """Return the claim ``status`` of a token."""
    return {_STATUS_LIST: {"idx": index, "uri": uri}}


def parse_status(value: object) -> StatusReference | None:
    """Return what the claim ``status`` refers to; nothing where it has no member that we know.

    Raises:
        InvalidStatusList: status.reference
    """
    if not isinstance(value, Mapping):
        raise InvalidStatusList("status.reference")
    reference = value.get(_STATUS_LIST)
    if reference is None:
        return None
    if not isinstance(reference, Mapping):
        raise InvalidStatusList("status.reference")
    index, uri = reference.get("idx"), reference.get("uri")
    if type(index) is not int or index < 0 or not isinstance(uri, str) or not uri:
        raise InvalidStatusList("status.reference")
    return StatusReference(uri, index)


def build_header(*, algorithm: str, kid: str) -> dict[str, str]:
    """Return the header of a status list token. §5.1."""
    return {names.ALG: algorithm, names.KID: kid, names.TYP: names.TYP_STATUS_LIST}


def build_status_list(
    *, issuer: str, uri: str, revoked: Iterable[int], issued_at: datetime, lifetime: timedelta, ttl: timedelta
) -> dict[str, object]:
    """Return the claims of a status list token in which these places, and no others, are revoked. §5.1."""
    statuses = bytearray(LIST_SIZE // 8)
    for index in revoked:
        statuses[index >> 3] |= 1 << (index & 7)
    packed = zlib.compress(bytes(statuses), 9)
    return {
        names.ISS: issuer,
        names.SUB: uri,
        names.IAT: int(issued_at.timestamp()),
        names.EXP: int((issued_at + lifetime).timestamp()),
        "ttl": int(ttl.total_seconds()),
        _STATUS_LIST: {"bits": 1, "lst": b64url_encode(packed).decode()},
    }


def parse_status_list(token: str) -> jose.UnverifiedToken:
    """Return the token if it is of the form and type of a status list token, and names a key.

    Raises:
        InvalidStatusList: what ``jose.parse_compact`` refuses; status.kid.
    """
    try:
        unverified = jose.parse_compact(token, typ=names.TYP_STATUS_LIST, max_size=MAX_SIZE)
    except jose.InvalidJws as error:
        raise InvalidStatusList(error.reason) from error
    if not unverified.header.get(names.KID):
        raise InvalidStatusList("status.kid")
    return unverified


def check_status_list(
    token: jose.UnverifiedToken,
    *,
    key: jose.PublicKey,
    issuer: str,
    uri: str,
    algorithms: frozenset[str],
    now: datetime,
    leeway: timedelta,
) -> StatusList:
    """Return the list, if ``issuer`` signed it with ``key`` to stand at ``uri``, and it has not expired. §8.3.

    Raises:
        InvalidStatusList: what ``jose.verify`` refuses; status.kid, status.issuer, status.subject, status.claims,
            status.expired, status.not_yet_valid, status.size.
    """
    try:
        jose.check_typ(token.header, names.TYP_STATUS_LIST)
        claims = jose.verify(token, key, algorithms=algorithms)
    except (jose.InvalidJws, jose.InvalidKey) as error:
        raise InvalidStatusList(error.reason) from error
    if token.header.get(names.KID) != key.kid:
        raise InvalidStatusList("status.kid")
    if claims.get(names.ISS, issuer) != issuer:
        raise InvalidStatusList("status.issuer")
    if claims.get(names.SUB) != uri:
        raise InvalidStatusList("status.subject")
    found = _read(claims, uri)
    if found.expires_at is not None and now - leeway >= found.expires_at:
        raise InvalidStatusList("status.expired")
    if found.issued_at > now + leeway:
        raise InvalidStatusList("status.not_yet_valid")
    return found


def _read(claims: Mapping[str, object], uri: str) -> StatusList:
    listed = claims.get(_STATUS_LIST)
    if not isinstance(listed, Mapping):
        raise InvalidStatusList("status.claims", detail=_STATUS_LIST)
    bits, packed, ttl = listed.get("bits"), listed.get("lst"), claims.get("ttl")
    if type(bits) is not int or bits not in _BITS or not isinstance(packed, str):
        raise InvalidStatusList("status.claims", detail=_STATUS_LIST)
    if ttl is not None and (type(ttl) is not int or ttl <= 0):
        raise InvalidStatusList("status.claims", detail="ttl")
    return StatusList(
        uri=uri,
        issued_at=_date(claims, names.IAT),
        expires_at=_date(claims, names.EXP) if names.EXP in claims else None,
        ttl=None if ttl is None else timedelta(seconds=min(ttl, 86_400)),
        bits=bits,
        statuses=_unpack(packed),
    )


def _unpack(packed: str) -> bytes:
    """Return the bytes of a list; one that unfolds to more than ``MAX_BYTES`` is no list."""
    unpacking = zlib.decompressobj()
    try:
        statuses = unpacking.decompress(b64url_decode(packed.encode()), MAX_BYTES)
    except (ValueError, zlib.error):
        raise InvalidStatusList("status.claims", detail="lst") from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise InvalidStatusList("status.size")
    return statuses


def _date(claims: Mapping[str, object], name: str) -> datetime:
    try:
        return datetime.fromtimestamp(jose.numeric_date(claims.get(name)), UTC)
    except jose.InvalidJws:
        raise InvalidStatusList("status.claims", detail=name) from None

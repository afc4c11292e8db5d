"""Revocations as signed events, both halves: what the feed says, and what an API demands before it believes it. RFC 8417.

A security event token (SET) brings who holds everything up to ``after`` to ``sequence``. What a CAEP event type can say is said
with it, for whoever knows no more than that; our own members stand beside it, and are all that we read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import jose, names
from watchword.protocol.revocation import Revocation, RevocationKind

EVENT_REVOCATIONS: Final = "urn:watchword:event:revocations"
"""Our own type: any number of revocations, of any kind; none in a heartbeat."""

EVENT_SESSION_REVOKED: Final = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
EVENT_CREDENTIAL_CHANGE: Final = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
_TYPES: Final = (EVENT_REVOCATIONS, EVENT_SESSION_REVOKED, EVENT_CREDENTIAL_CHANGE)

PAGE: Final = 1_000
"""Revocations in one event, at most."""

MAX_SIZE: Final = 2_097_152
"""Characters of an event, at most: a page of the longest targets."""

_CREDENTIAL_TYPE: Final = "app"  # whichever kind it was: CAEP 1.0 §3.3 has no word of its own for a client's secret


class InvalidSecurityEvent(WatchwordError):
    """An event is not believed: its form, its signature, whose it is, or what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """What one event says. Who holds everything up to ``after`` holds, with ``revocations``, everything up to ``sequence``.

    ``generation`` is the life of the store in which these sequences count. A snapshot begins at 0; its last page is complete.
    Read from the wire, times are in whole seconds and a revocation was ``created_at`` when the event was made.
    """

    generation: int
    after: int
    sequence: int
    issued_at: datetime
    revocations: tuple[Revocation, ...] = ()
    is_snapshot: bool = False
    is_complete: bool = False


def build_header(*, algorithm: str, kid: str) -> dict[str, str]:
    """Return the header. RFC 8417 §2.3."""
    return {names.ALG: algorithm, names.KID: kid, names.TYP: names.TYP_SECURITY_EVENT}


def build_security_event(event: FeedEvent, *, issuer: str, audience: str, jti: str, txn: str) -> dict[str, object]:
    """Return the claims: one event, neither ``sub`` nor ``exp``. RFC 8417 §2.2, SSF 1.0 §4.

    ``txn`` is the same for the events of one cause. Cut-offs and ends are rounded up to whole seconds.
    """
    kind, subject, members = _caep(event, issuer)
    members |= {
        "generation": event.generation,
        "after": event.after,
        "sequence": event.sequence,
        "revocations": [_build(one) for one in event.revocations],
    }
    if event.is_snapshot:
        members["snapshot"] = True
    if event.is_complete:
        members["complete"] = True
    claims: dict[str, object] = {
        names.ISS: issuer,
        names.AUD: audience,
        names.IAT: int(event.issued_at.timestamp()),
        names.JTI: jti,
        names.TXN: txn,
    }
    if subject:
        claims[names.SUB_ID] = subject
    return {**claims, names.EVENTS: {kind: members}}


def _caep(event: FeedEvent, issuer: str) -> tuple[str, dict[str, str], dict[str, object]]:
    """Return the type that says it, the subject (RFC 9493 §3), and the members of that type. CAEP 1.0 §3.1, §3.3."""
    if len(event.revocations) != 1 or event.is_snapshot:
        return EVENT_REVOCATIONS, {}, {}
    (one,) = event.revocations
    when: dict[str, object] = {"event_timestamp": int(one.created_at.timestamp())}
    match one.kind:
        case RevocationKind.AGENT:
            subject = {"format": "iss_sub", names.ISS: issuer, names.SUB: one.target}
            return EVENT_SESSION_REVOKED, subject, when
        case RevocationKind.TOKEN:
            subject = {"format": "jwt_id", names.ISS: issuer, names.JTI: one.target}
            return EVENT_SESSION_REVOKED, subject, when
        case RevocationKind.CREDENTIAL:
            change = {"credential_type": _CREDENTIAL_TYPE, "change_type": "revoke"}
            return EVENT_CREDENTIAL_CHANGE, {"format": "opaque", "id": one.target}, when | change
        case _:
            return EVENT_REVOCATIONS, {}, {}


def _build(one: Revocation) -> dict[str, object]:
    members: dict[str, object] = {
        "kind": one.kind.value,
        "target": one.target,
        "cutoff": math.ceil(one.cutoff.timestamp()),
        "expires_at": math.ceil(one.expires_at.timestamp()),
        "sequence": one.sequence,
    }
    return members if one.status is None else {**members, "status": one.status}


def parse_security_event(token: str) -> jose.UnverifiedToken:
    """Return the event if it is of the form and type of one, and names a key.

    Raises:
        InvalidSecurityEvent: what ``jose.parse_compact`` refuses; secevent.kid.
    """
    try:
        unverified = jose.parse_compact(token, typ=names.TYP_SECURITY_EVENT, max_size=MAX_SIZE)
    except jose.InvalidJws as error:
        raise InvalidSecurityEvent(error.reason) from error
    if not unverified.header.get(names.KID):
        raise InvalidSecurityEvent("secevent.kid")
    return unverified


def check_security_event(
    token: jose.UnverifiedToken, *, key: jose.PublicKey, issuer: str, audience: str, algorithms: frozenset[str]
) -> FeedEvent:
    """Return what the event says, if ``issuer`` signed it with ``key`` for ``audience``.

    Whether it is new, and continues what is held, the holder judges by its position.

    Raises:
        InvalidSecurityEvent: what ``jose.verify`` refuses; secevent.kid, secevent.issuer, secevent.audience, and those of
            ``read_security_event``.
    """
    try:
        jose.check_typ(token.header, names.TYP_SECURITY_EVENT)
        claims = jose.verify(token, key, algorithms=algorithms)
    except (jose.InvalidJws, jose.InvalidKey) as error:
        raise InvalidSecurityEvent(error.reason) from error
    if token.header.get(names.KID) != key.kid:
        raise InvalidSecurityEvent("secevent.kid")
    if claims.get(names.ISS) != issuer:
        raise InvalidSecurityEvent("secevent.issuer")
    named = claims.get(names.AUD)
    if named != audience and not (isinstance(named, list) and audience in named):
        raise InvalidSecurityEvent("secevent.audience")
    return read_security_event(claims)


def read_security_event(claims: Mapping[str, object]) -> FeedEvent:
    """Return what verified claims say. Members that are not known are ignored; kinds that are not known are not.

    Raises:
        InvalidSecurityEvent: secevent.event: not one event of a known type; secevent.claims: a member of the wrong kind;
            secevent.order: sequences that do not rise from ``after`` to ``sequence``; secevent.kind: a revocation of a kind
            that this program does not know, and so could not honour.
    """
    events = claims.get(names.EVENTS)
    if not isinstance(events, Mapping) or len(events) != 1:
        raise InvalidSecurityEvent("secevent.event")
    ((kind, members),) = events.items()
    if kind not in _TYPES or not isinstance(members, Mapping):
        raise InvalidSecurityEvent("secevent.event")
    issued_at = _date(claims, names.IAT)
    listed = members.get("revocations")
    if not isinstance(listed, list) or len(listed) > PAGE:
        raise InvalidSecurityEvent("secevent.claims", detail="revocations")
    event = FeedEvent(
        generation=_number(members, "generation"),
        after=_number(members, "after"),
        sequence=_number(members, "sequence"),
        issued_at=issued_at,
        revocations=tuple(_read(one, issued_at) for one in listed),
        is_snapshot=_flag(members, "snapshot"),
        is_complete=_flag(members, "complete"),
    )
    positions = [event.after, *(one.sequence for one in event.revocations)]
    is_rising = all(one < other for one, other in pairwise(positions))
    if not is_rising or positions[-1] > event.sequence:
        raise InvalidSecurityEvent("secevent.order")
    return event


def _read(value: object, issued_at: datetime) -> Revocation:
    if not isinstance(value, Mapping):
        raise InvalidSecurityEvent("secevent.claims", detail="revocations")
    target = value.get("target")
    if not isinstance(target, str):
        raise InvalidSecurityEvent("secevent.claims", detail="target")
    try:
        kind = RevocationKind(str(value.get("kind")))
    except ValueError:
        raise InvalidSecurityEvent("secevent.kind", detail=str(value.get("kind"))) from None
    return Revocation(
        kind=kind,
        target=target,
        cutoff=_date(value, "cutoff"),
        created_at=issued_at,
        expires_at=_date(value, "expires_at"),
        status=_number(value, "status") if "status" in value else None,
        sequence=_number(value, "sequence"),
    )


def _number(members: Mapping[str, object], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or value < 0:
        raise InvalidSecurityEvent("secevent.claims", detail=name)
    return value


def _flag(members: Mapping[str, object], name: str) -> bool:
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise InvalidSecurityEvent("secevent.claims", detail=name)
    return value


def _date(members: Mapping[str, object], name: str) -> datetime:
    try:
        return datetime.fromtimestamp(jose.numeric_date(members.get(name)), UTC)
    except jose.InvalidJws:
        raise InvalidSecurityEvent("secevent.claims", detail=name) from None

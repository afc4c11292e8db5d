"""Client assertions, both halves: a client's own short-lived JWT instead of a secret. RFC 7521 §4.2, RFC 7523 §3, RFC 10070.

What a server refuses before the signature is found right, it refuses with the reason of the door (``jws.*``); everything
behind it has a reason of its own, whose sentence may be told: whoever holds the key may know what to mend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.errors import InvalidClient
from watchword.protocol import jose, names
from watchword.protocol.access_token import DEFAULT_LEEWAY, MAX_LEEWAY
from watchword.protocol.held_key import HeldKey, kid_of

TYPES: Final = frozenset({"", "jwt", names.TYP_CLIENT_ASSERTION})
"""What the header may say of the type. RFC 10070 §3 asks for the last; many deployed clients say one of the others."""

ALGORITHMS: Final = frozenset(names.SIGNING_ALGORITHMS)

OWN_LIFETIME: Final = timedelta(seconds=60)
"""How long the assertions live that we make."""

LONGEST_LIFETIME: Final = timedelta(minutes=5)
"""How long those may live that we accept."""

MAX_JTI: Final = 256
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedAssertion:
    """An assertion of the right form, by nobody yet. ``client_id`` is whose it claims to be: for finding the key."""

    client_id: str
    kid: str
    algorithm: str
    token: jose.UnverifiedToken = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAssertion:
    """An assertion that was found good. Whether it was shown before is not judged here: claim ``jti`` in the client's name.

    ``since`` and ``until`` are the first and the last moment at which it is accepted. ``algorithm`` is the header's word
    and ``audience`` the one that was named, for who admits others than the usual. ``is_typed``: the header said that it is
    a client assertion; ``is_listed``: the audience came as an array of one.
    """

    client_id: str
    jti: str
    since: datetime
    until: datetime
    audience: str
    algorithm: str
    is_typed: bool
    is_listed: bool


def build_client_assertion(
    *,
    client_id: str,
    audience: str,
    jti: str,
    issued_at: datetime,
    key: HeldKey,
    kid: str | None = None,
    lifetime: timedelta = OWN_LIFETIME,
) -> str:
    """Return a new assertion for one request: typed, addressed to the issuer alone, good for ``lifetime``.

    RFC 7523 §3, RFC 10070 §3. ``audience`` is the server's issuer, never an endpoint. There is no ``nbf``: clocks differ.
    ``kid`` is the name under which the server knows the key, else its own.
    """
    begins = int(issued_at.timestamp())
    claims: dict[str, object] = {
        names.ISS: client_id,
        names.SUB: client_id,
        names.AUD: audience,
        names.JTI: jti,
        names.IAT: begins,
        names.EXP: begins + int(lifetime.total_seconds()),
    }
    header = {names.TYP: names.TYP_CLIENT_ASSERTION, names.ALG: key.algorithm, names.KID: kid or kid_of(key)}
    return jose.build_compact(header, claims, key.sign)


def parse_client_assertion(assertion: str) -> UnverifiedAssertion:
    """Return the assertion if it is of the form and type of one, and says whose it is.

    Raises:
        InvalidClient: what ``jose.parse_compact`` refuses; assertion.subject.
    """
    try:
        token = jose.parse_compact(assertion, typ=TYPES)
        claims = jose.unverified_claims(token)
    except jose.InvalidJws as error:
        raise InvalidClient(error.reason) from error
    subject = claims.get(names.SUB)
    if not isinstance(subject, str) or not subject:
        raise InvalidClient("assertion.subject")
    kid, algorithm = token.header.get(names.KID, ""), token.header[names.ALG]
    return UnverifiedAssertion(client_id=subject, kid=str(kid), algorithm=str(algorithm), token=token)


def check_client_assertion(
    assertion: UnverifiedAssertion,
    *,
    key: jose.PublicKey,
    audiences: frozenset[str],
    algorithms: frozenset[str],
    now: datetime,
    leeway: timedelta = DEFAULT_LEEWAY,
    longest: timedelta = LONGEST_LIFETIME,
) -> ClientAssertion:
    """Return the assertion, if its client made it with ``key``, lately, for one of ``audiences`` and nobody else.

    RFC 7523 §3, RFC 10070 §3. ``key`` must be registered for ``assertion.client_id``. ``leeway`` is at most ``MAX_LEEWAY``:
    that far a clock may be off. ``longest`` is how long an assertion may live.

    Raises:
        InvalidClient: what ``jose.verify`` refuses; assertion.subject, assertion.issuer, assertion.audience,
            assertion.dates, assertion.lifetime, assertion.expired, assertion.not_yet_valid, assertion.jti.
        ValueError: no audience is named, or ``leeway`` is out of bounds.
    """
    if not audiences or "" in audiences:
        raise ValueError("an audience must be named")
    if not timedelta(0) <= leeway <= MAX_LEEWAY:
        raise ValueError("leeway")
    claims = _verified_claims(assertion, key, algorithms)
    _check_names(claims, assertion.client_id)
    audience = _check_audience(claims.get(names.AUD), audiences)
    since, until = _check_dates(claims, now, leeway, longest)
    return ClientAssertion(
        client_id=assertion.client_id,
        jti=_jti(claims),
        since=since,
        until=until,
        audience=audience,
        algorithm=assertion.algorithm,
        is_typed=_is_typed(assertion.token.header),
        is_listed=isinstance(claims[names.AUD], list),
    )


def _verified_claims(
    assertion: UnverifiedAssertion, key: jose.PublicKey, algorithms: frozenset[str]
) -> dict[str, object]:
    """The type is judged again here: the token may have been parsed for another purpose (RFC 8725 §3.12)."""
    try:
        jose.check_typ(assertion.token.header, TYPES)
        return jose.verify(assertion.token, key, algorithms=algorithms)
    except (jose.InvalidJws, jose.InvalidKey) as error:
        raise InvalidClient(error.reason) from error


def _check_names(claims: Mapping[str, object], client_id: str) -> None:
    if claims.get(names.SUB) != client_id:
        raise InvalidClient("assertion.subject")
    if claims.get(names.ISS) != client_id:
        raise InvalidClient("assertion.issuer")


def _check_audience(value: object, audiences: frozenset[str]) -> str:
    """RFC 10070 §3: one audience, compared character by character; as an array of one it is still one."""
    only = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(only, str) or only not in audiences:
        raise InvalidClient("assertion.audience")
    return only


def _check_dates(
    claims: Mapping[str, object], now: datetime, leeway: timedelta, longest: timedelta
) -> tuple[datetime, datetime]:
    """Return from when to when it is accepted: RFC 7523 §3, numbers 4 to 6.

    Without ``iat`` it counts as made as long before its end as it may live.
    """
    issued_at, expires_at = _date(claims, names.IAT), _date(claims, names.EXP)
    if expires_at is None:
        raise InvalidClient("assertion.dates", detail=names.EXP)
    made_at = issued_at or expires_at - longest
    begins_at = max(made_at, _date(claims, names.NBF) or made_at)
    if begins_at >= expires_at:
        raise InvalidClient("assertion.dates")
    if expires_at - made_at > longest or (issued_at is None and now + leeway < made_at):
        raise InvalidClient("assertion.lifetime", facts={"limit": _seconds(longest)})
    if now - leeway >= expires_at:
        raise InvalidClient("assertion.expired", facts={"skew": _seconds(now - expires_at)})
    if now + leeway < begins_at:
        raise InvalidClient("assertion.not_yet_valid", facts={"skew": _seconds(begins_at - now)})
    return begins_at - leeway, expires_at + leeway


def _date(claims: Mapping[str, object], name: str) -> datetime | None:
    if name not in claims:
        return None
    try:
        return datetime.fromtimestamp(jose.numeric_date(claims[name]), UTC)
    except jose.InvalidJws as error:
        raise InvalidClient("assertion.dates", detail=name) from error


def _seconds(span: timedelta) -> str:
    return str(math.ceil(span.total_seconds()))


def _jti(claims: Mapping[str, object]) -> str:
    value = claims.get(names.JTI)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_JTI:
        raise InvalidClient("assertion.jti")
    return value


def _is_typed(header: Mapping[str, object]) -> bool:
    try:
        jose.check_typ(header, names.TYP_CLIENT_ASSERTION)
    except jose.InvalidJws:
        return False
    return True

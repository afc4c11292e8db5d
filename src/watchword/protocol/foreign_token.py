"""A token that an outside issuer has given its workload: parsed, and judged once the issuer's key is at hand.

RFC 7523 §3, OpenID Connect Core §2, SPIFFE JWT-SVID §3. Whom it logs in, the claim rules say (``claim_rules.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.jose import (
    InvalidJws,
    PublicKey,
    UnverifiedToken,
    numeric_date,
    parse_compact,
    unverified_claims,
    verify,
)
from watchword.protocol.spiffe_id import InvalidSpiffeId, trust_domain_of

LEEWAY: Final = timedelta(seconds=30)
TYPES: Final = frozenset({"", "jwt", "jose"})
"""Issuers write no ``typ``, or this. Whatever has a type of its own is something else."""
MAX_ISSUER: Final = 512
MAX_JTI: Final = 256


class InvalidForeignToken(WatchwordError):
    """Refused: jws.*, federated.form, federated.audience, federated.expired, federated.not_yet_valid, federated.too_old,
    federated.dates, federated.jti. ``skew`` is in whole seconds, of those that are about time."""

    def __init__(self, reason: str, *, detail: str = "", skew: int = 0) -> None:
        super().__init__(reason, detail=detail)
        self.skew = skew


@dataclass(frozen=True, slots=True)
class UnverifiedForeignToken:
    """A token that says who issued it: in ``iss``, which may be missing, or by the trust domain of a SPIFFE id in ``sub``."""

    token: UnverifiedToken = field(repr=False)
    issuer: str
    trust_domain: str
    subject: str
    kid: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token that its issuer has signed for this server, and that is still good. ``until`` is when it stops being so."""

    claims: Mapping[str, object] = field(repr=False)
    issued_at: datetime | None
    until: datetime

    @property
    def jti(self) -> str:
        """The token's own id; empty where it has none."""
        jti = self.claims.get(names.JTI)
        return jti if isinstance(jti, str) and len(jti) <= MAX_JTI else ""


def parse_foreign_token(text: str) -> UnverifiedForeignToken:
    """Return the token of an outside issuer. Nothing in it is proved.

    Raises:
        InvalidForeignToken: jws.*, federated.form.
    """
    try:
        token = parse_compact(text, typ=TYPES)
        claims = unverified_claims(token)
    except InvalidJws as error:
        raise InvalidForeignToken(error.reason) from None
    issuer, subject = claims.get(names.ISS, ""), claims.get(names.SUB)
    if not isinstance(issuer, str) or len(issuer) > MAX_ISSUER or not isinstance(subject, str) or not subject:
        raise InvalidForeignToken("federated.form")
    kid, algorithm = str(token.header.get(names.KID, "")), str(token.header[names.ALG])
    return UnverifiedForeignToken(token, issuer, _trust_domain(subject), subject, kid, algorithm)


def comes_from_outside(text: str) -> bool:
    """Say whether the issuer that an assertion names is a URL: what clients sign for themselves names their ``client_id``."""
    try:
        issuer = unverified_claims(parse_compact(text, typ=TYPES)).get(names.ISS)
    except InvalidJws:
        return False
    return isinstance(issuer, str) and "://" in issuer


def check_foreign_token(
    unverified: UnverifiedForeignToken, *, key: PublicKey, audience: str, algorithms: frozenset[str], now: datetime
) -> ForeignToken:
    """Return the token if this key has signed it, for this server and nobody else, and it is still good.

    ``aud`` is the audience alone, as a string or as the one element of an array.

    Raises:
        InvalidForeignToken
    """
    return judge_claims(verify_foreign_token(unverified, key=key, algorithms=algorithms), audience=audience, now=now)


def verify_foreign_token(
    unverified: UnverifiedForeignToken, *, key: PublicKey, algorithms: frozenset[str]
) -> dict[str, object]:
    """Return the claims that this key has signed, whatever they are.

    Raises:
        InvalidForeignToken: jws.*
    """
    try:
        return verify(unverified.token, key, algorithms=algorithms)
    except InvalidJws as error:
        raise InvalidForeignToken(error.reason) from None


def judge_claims(claims: Mapping[str, object], *, audience: str, now: datetime) -> ForeignToken:
    """Return the token of these signed claims, if it is for this audience alone, and still good.

    Raises:
        InvalidForeignToken: federated.*
    """
    try:
        expiry = _date(claims, names.EXP, now)
        issued = _date(claims, names.IAT, now)
        begin = _date(claims, names.NBF, now)
    except InvalidJws:
        raise InvalidForeignToken("federated.dates") from None
    if claims.get(names.AUD) not in (audience, [audience]):
        raise InvalidForeignToken("federated.audience")
    if expiry is None:
        raise InvalidForeignToken("federated.dates", detail="no exp")
    if expiry <= now - LEEWAY:
        raise InvalidForeignToken("federated.expired", skew=_seconds(now - expiry))
    for moment in (issued, begin):
        if moment is not None and moment > now + LEEWAY:
            raise InvalidForeignToken("federated.not_yet_valid", skew=_seconds(moment - now))
    return ForeignToken(claims, issued, expiry + LEEWAY)


def check_age(token: ForeignToken, *, max_age: timedelta, now: datetime) -> datetime:
    """Return until when the token is good, if it is not older than that; without ``iat``, it must not live longer from now.

    Raises:
        InvalidForeignToken: federated.too_old.
    """
    if token.issued_at is None:
        if token.until > now + max_age + 2 * LEEWAY:
            raise InvalidForeignToken("federated.too_old", detail="no iat, and it lives longer than that")
        return token.until
    until = token.issued_at + max_age + LEEWAY
    if until <= now:
        raise InvalidForeignToken("federated.too_old", skew=_seconds(now - token.issued_at))
    return min(until, token.until)


def _trust_domain(subject: str) -> str:
    try:
        return trust_domain_of(subject)
    except InvalidSpiffeId:
        return ""


def _date(claims: Mapping[str, object], name: str, now: datetime) -> datetime | None:
    if name not in claims:
        return None
    return datetime.fromtimestamp(numeric_date(claims[name]), tz=now.tzinfo)


def _seconds(period: timedelta) -> int:
    return int(period.total_seconds())

"""JWT access tokens, both halves: what a server puts in, what a resource demands. RFC 9068.

The signature is checked first; only then is anything believed. Every failure is one ``invalid_token`` outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from watchword.errors import InvalidScope, InvalidToken
from watchword.protocol import jose, names
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation, build_cnf, parse_cnf
from watchword.protocol.scope import build_scope, parse_scope

DEFAULT_LEEWAY: Final = timedelta(seconds=30)
MAX_LEEWAY: Final = timedelta(seconds=60)
"""How far two clocks may differ. More would revive expired tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that was found good. ``claims`` is all of it, the members below included; it cannot be changed."""

    issuer: str
    subject: str
    client_id: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    jti: str
    confirmation: Confirmation
    claims: Mapping[str, object] = field(repr=False)


def build_header(*, algorithm: str, kid: str) -> dict[str, str]:
    """Return the header. RFC 9068 §2.1."""
    return {names.ALG: algorithm, names.KID: kid, names.TYP: names.TYP_ACCESS_TOKEN}


def build_claims(
    *,
    issuer: str,
    client_id: str,
    audience: str,
    scopes: Sequence[str],
    issued_at: datetime,
    expires_at: datetime,
    jti: str,
    confirmation: Confirmation = NO_CONFIRMATION,
    credential_id: str = "",
) -> dict[str, object]:
    """Return the claims of a client's own token: it is the subject too. RFC 9068 §2.2, §2.2.3.

    Dates become whole seconds. Without scopes there is no ``scope``, without a bound key no ``cnf``. ``credential_id`` names the
    credential that it was obtained with: everything obtained with one that was stolen can be told by it, wherever it is checked.
    """
    claims: dict[str, object] = {
        names.ISS: issuer,
        names.SUB: client_id,
        names.CLIENT_ID: client_id,
        names.AUD: audience,
        names.IAT: int(issued_at.timestamp()),
        names.EXP: int(expires_at.timestamp()),
        names.JTI: jti,
    }
    if scopes:
        claims[names.SCOPE] = build_scope(scopes)
    if confirmation.is_bound:
        claims[names.CNF] = build_cnf(confirmation)
    if credential_id:
        claims[names.CREDENTIAL_ID] = credential_id
    return claims


def parse_access_token(token: str) -> jose.UnverifiedToken:
    """Return the token if it is of the form and type of an access token, and names a key. RFC 9068 §4.

    Raises:
        InvalidToken: what ``jose.parse_compact`` refuses; token.kid.
    """
    try:
        unverified = jose.parse_compact(token, typ=names.TYP_ACCESS_TOKEN)
    except jose.InvalidJws as error:
        raise InvalidToken(error.reason) from error
    if not unverified.header.get(names.KID):
        raise InvalidToken("token.kid")
    return unverified


def check_access_token(
    token: jose.UnverifiedToken,
    *,
    key: jose.PublicKey,
    issuer: str,
    audience: str,
    algorithms: frozenset[str],
    now: datetime,
    leeway: timedelta = DEFAULT_LEEWAY,
) -> AccessToken:
    """Return the access token, if ``issuer`` made it with ``key`` for ``audience`` and it is valid now. RFC 9068 §4.

    ``key`` must be one that ``issuer`` publishes, under the ``kid`` the token names. ``issuer`` and ``audience`` are
    compared exactly. ``leeway`` is at most ``MAX_LEEWAY``. Who may use a bound token (``confirmation``), and for what
    (``scopes``), is judged elsewhere.

    Raises:
        InvalidToken: what ``jose.verify`` refuses; token.kid, token.claims, token.issuer, token.audience, token.scope,
            token.confirmation, token.expired, token.not_yet_valid.
        ValueError: ``issuer`` or ``audience`` is empty, or ``leeway`` out of bounds: a setting is missing.
    """
    if not issuer or not audience:
        raise ValueError("issuer and audience must be named")
    found = read_own_token(token, key=key, issuer=issuer, algorithms=algorithms)
    if audience not in found.audience:
        raise InvalidToken("token.audience")
    check_expiry(found, now=now, leeway=leeway)
    return found


def read_own_token(
    token: jose.UnverifiedToken, *, key: jose.PublicKey, issuer: str, algorithms: frozenset[str]
) -> AccessToken:
    """Return the access token if ``issuer`` made it with ``key``: for the issuer itself. For whom it is and when is not judged.

    Raises:
        InvalidToken: as ``check_access_token``.
    """
    claims = _verified_claims(token, key, algorithms)
    if claims.get(names.ISS) != issuer:
        raise InvalidToken("token.issuer")
    return _read(claims)


def check_expiry(token: AccessToken, *, now: datetime, leeway: timedelta = DEFAULT_LEEWAY) -> None:
    """Return if the token is valid at this moment: for caches, at every use. RFC 7519 §4.1.4 and §4.1.5.

    Raises:
        InvalidToken: token.expired; token.not_yet_valid: ``nbf`` or ``iat`` lies ahead.
        ValueError: ``leeway`` is negative or over ``MAX_LEEWAY``.
    """
    if not timedelta(0) <= leeway <= MAX_LEEWAY:
        raise ValueError("leeway")
    if now - leeway >= token.expires_at:
        raise InvalidToken("token.expired")
    begins = _date(token.claims, names.NBF) if names.NBF in token.claims else token.issued_at
    if now + leeway < max(begins, token.issued_at):
        raise InvalidToken("token.not_yet_valid")


def validity(token: AccessToken, *, leeway: timedelta) -> tuple[datetime, datetime]:
    """Return the first moment at which ``check_expiry`` accepts the token and the first at which it does so no longer.

    For caches that ask at every use. A moment that no ``datetime`` can hold counts as the last or first that one can.
    """
    begins = _date(token.claims, names.NBF) if names.NBF in token.claims else token.issued_at
    return _shifted(max(begins, token.issued_at), -leeway), _shifted(token.expires_at, leeway)


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta(0) else datetime.min.replace(tzinfo=UTC)


def _verified_claims(token: jose.UnverifiedToken, key: jose.PublicKey, algorithms: frozenset[str]) -> dict[str, object]:
    """The type is judged again here: the token may have been parsed for another purpose (RFC 8725 §3.12)."""
    try:
        jose.check_typ(token.header, names.TYP_ACCESS_TOKEN)
        claims = jose.verify(token, key, algorithms=algorithms)
    except (jose.InvalidJws, jose.InvalidKey) as error:
        raise InvalidToken(error.reason) from error
    if token.header.get(names.KID) != key.kid:
        raise InvalidToken("token.kid")
    return claims


def _read(claims: dict[str, object]) -> AccessToken:
    return AccessToken(
        issuer=_text(claims, names.ISS),
        subject=_text(claims, names.SUB),
        client_id=_text(claims, names.CLIENT_ID),
        audience=_audience(claims.get(names.AUD)),
        scopes=_scopes(claims),
        issued_at=_date(claims, names.IAT),
        expires_at=_date(claims, names.EXP),
        jti=_text(claims, names.JTI),
        confirmation=parse_cnf(claims[names.CNF]) if names.CNF in claims else NO_CONFIRMATION,
        claims=MappingProxyType(claims),
    )


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidToken("token.claims", detail=name)
    return value


def _date(claims: Mapping[str, object], name: str) -> datetime:
    try:
        return datetime.fromtimestamp(jose.numeric_date(claims.get(name)), UTC)
    except jose.InvalidJws as error:
        raise InvalidToken("token.claims", detail=name) from error


def _audience(value: object) -> tuple[str, ...]:
    """RFC 7519 §4.1.3: one string, or an array of them. One that is not a string makes the whole array worthless."""
    if isinstance(value, str) and value:
        return (value,)
    values = value if isinstance(value, list) else [value]
    audience = tuple(one for one in values if isinstance(one, str) and one)
    if not audience or len(audience) != len(values):
        raise InvalidToken("token.audience")
    return audience


def _scopes(claims: Mapping[str, object]) -> tuple[str, ...]:
    """RFC 9068 §2.2.3: a string as in a request; without the claim, no scopes."""
    if names.SCOPE not in claims:
        return ()
    value = claims[names.SCOPE]
    if not isinstance(value, str):
        raise InvalidToken("token.scope")
    try:
        return parse_scope(value)
    except InvalidScope as error:
        raise InvalidToken("token.scope") from error

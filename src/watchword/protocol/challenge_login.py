"""The challenge-response login, both halves: the server names a moment, the agent signs for it and for nothing else.

A challenge is a text that nobody has to remember: random, bound to one agent, one key, one purpose and one server, under a key
that only this server's nodes have. The answer is a typed JWT (``watchword-challenge+jwt``) that repeats it. No clock but the
server's is asked: the answer ends when the challenge says so.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.errors import InvalidClient
from watchword.protocol import jose, names
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.client_secret import find_match
from watchword.protocol.held_key import HeldKey

LIFETIME: Final = timedelta(seconds=60)
"""How long a challenge may be answered."""

PURPOSE_TOKEN: Final = "token"  # noqa: S105 -- a purpose's name
PURPOSES: Final = frozenset({PURPOSE_TOKEN})

MAX_ANSWER: Final = 16_384
"""Characters of an answer: a chain of certificates may be in its header."""

THUMBPRINT_SIZE: Final = 43
"""Characters of a SHA-256 in base64url."""

_VERSION: Final = b"\x01"
_TIME_BYTES: Final = 8
_RANDOM_BYTES: Final = 16
_MAC_BYTES: Final = 32
_BODY: Final = len(_VERSION) + _TIME_BYTES + _RANDOM_BYTES
_DOMAIN: Final = b"watchword-challenge-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a challenge is for. ``thumbprint`` is that of the key that will answer (RFC 7638), or of its certificate
    (``x5t#S256``)."""

    issuer: str
    client_id: str
    thumbprint: str
    purpose: str = PURPOSE_TOKEN


@dataclass(frozen=True, slots=True)
class Challenge:
    """A text to repeat, and the whole second at which it ends."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedAnswer:
    """An answer of the right form, by nobody yet. It names its key by ``kid``, or brings its certificate in ``x5c``."""

    client_id: str
    kid: str
    x5c: tuple[str, ...] = field(repr=False)
    algorithm: str
    token: jose.UnverifiedToken = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was found good. Whether it was given before is not judged here: claim ``challenge`` until it ends."""

    challenge: str
    expires_at: datetime


def make_challenge(key: bytes, terms: Terms, now: datetime) -> Challenge:
    """Return a new challenge. ``key`` is secret, of 32 octets; 128 random bits keep any two apart."""
    expires_at = (now + LIFETIME).replace(microsecond=0)
    seconds = int(expires_at.timestamp()).to_bytes(_TIME_BYTES, "big")
    body = _VERSION + seconds + secrets.token_bytes(_RANDOM_BYTES)
    return Challenge(b64url_encode(body + _mac(key, body, terms)).decode("ascii"), expires_at)


def read_challenge(key: bytes, text: str, terms: Terms, now: datetime) -> Challenge:
    """Return the challenge if this server gave it on these very terms and it has not ended.

    Raises:
        InvalidClient: challenge.unknown (not one of ours, or given to another agent, key or purpose), challenge.expired.
    """
    try:
        raw = b64url_decode(text.encode("ascii"))
    except ValueError:
        raw = b""
    body, mac = raw[:_BODY], raw[_BODY:]
    if len(mac) != _MAC_BYTES or find_match(mac, [_mac(key, body, terms)]) is None:
        raise InvalidClient("challenge.unknown")
    expires_at = datetime.fromtimestamp(int.from_bytes(body[1 : 1 + _TIME_BYTES], "big"), UTC)
    if now >= expires_at:
        raise InvalidClient("challenge.expired")
    return Challenge(text, expires_at)


def build_answer(
    challenge: str, terms: Terms, *, expires_at: datetime, key: HeldKey, named_by: Mapping[str, object]
) -> str:
    """Return the answer to a challenge. ``named_by`` says which key it is: ``kid``, or ``x5c``, the certificate first."""
    header: dict[str, object] = {names.TYP: names.TYP_CHALLENGE_ANSWER, names.ALG: key.algorithm, **named_by}
    claims: dict[str, object] = {
        names.ISS: terms.client_id,
        names.SUB: terms.client_id,
        names.AUD: terms.issuer,
        names.PURPOSE: terms.purpose,
        names.CHALLENGE: challenge,
        names.EXP: int(expires_at.timestamp()),
    }
    message = b".".join(b64url_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return jose.assemble(message, key.sign(message))


def parse_answer(text: str) -> UnverifiedAnswer:
    """Return the answer if it is of the form and type of one, says whose it is, and names its key in one way.

    Raises:
        InvalidClient: what ``jose.parse_compact`` refuses; assertion.subject, challenge.key.
    """
    try:
        token = jose.parse_compact(
            text, typ=names.TYP_CHALLENGE_ANSWER, max_size=MAX_ANSWER, key_members=frozenset({names.X5C})
        )
        claims = jose.unverified_claims(token)
    except jose.InvalidJws as error:
        raise InvalidClient(error.reason) from error
    subject = claims.get(names.SUB)
    if not isinstance(subject, str) or not subject:
        raise InvalidClient("assertion.subject")
    kid, x5c = str(token.header.get(names.KID, "")), token.header.get(names.X5C)
    if (names.X5C in token.header) == bool(kid) or not _is_chain(x5c):
        raise InvalidClient("challenge.key")
    chain = tuple(x5c) if isinstance(x5c, list) else ()
    return UnverifiedAnswer(client_id=subject, kid=kid, x5c=chain, algorithm=str(token.header[names.ALG]), token=token)


def check_answer(
    answer: UnverifiedAnswer,
    *,
    key: jose.PublicKey,
    thumbprint: str,
    secret: bytes,
    issuer: str,
    purpose: str,
    algorithms: frozenset[str],
    now: datetime,
) -> Answer:
    """Return the answer, if it was signed with ``key`` for a challenge that this server gave to this agent for this key.

    ``thumbprint`` is that of the key, or of the certificate it came in. ``secret`` is what challenges are made with.

    Raises:
        InvalidClient: what ``jose.verify`` refuses; assertion.subject, assertion.issuer, challenge.audience,
            challenge.purpose, challenge.unknown, challenge.expired, challenge.end.
    """
    try:
        jose.check_typ(answer.token.header, names.TYP_CHALLENGE_ANSWER)
        claims = jose.verify(answer.token, key, algorithms=algorithms)
    except (jose.InvalidJws, jose.InvalidKey) as error:
        raise InvalidClient(error.reason) from error
    expected = {
        names.SUB: (answer.client_id, "assertion.subject"),
        names.ISS: (answer.client_id, "assertion.issuer"),
        names.AUD: (issuer, "challenge.audience"),
        names.PURPOSE: (purpose, "challenge.purpose"),
    }
    for name, (value, reason) in expected.items():
        if claims.get(name) != value:
            raise InvalidClient(reason)
    text = claims.get(names.CHALLENGE)
    terms = Terms(issuer=issuer, client_id=answer.client_id, thumbprint=thumbprint, purpose=purpose)
    challenge = read_challenge(secret, text if isinstance(text, str) else "", terms, now)
    if not _is_number(claims.get(names.EXP), int(challenge.expires_at.timestamp())):
        raise InvalidClient("challenge.end")
    return Answer(challenge.text, challenge.expires_at)


def _mac(key: bytes, body: bytes, terms: Terms) -> bytes:
    """HMAC-SHA-256 over every part with its length before it: no two terms spell the same octets."""
    parts = [value.encode("utf-8", "surrogatepass") for value in (terms.issuer, terms.purpose, terms.client_id)]
    message = b"".join(
        len(part).to_bytes(4, "big") + part for part in (_DOMAIN, *parts, terms.thumbprint.encode(), body)
    )
    return hmac.digest(key, message, "sha256")


def _is_chain(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and 0 < len(value) <= _LONGEST_CHAIN and all(isinstance(one, str) for one in value)


def _is_number(value: object, expected: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value == expected


_LONGEST_CHAIN: Final = 4

"""DPoP proofs, both halves: what a client signs for one request, what a server demands of it. RFC 9449 §4.

A proof brings its own key: that shows who made it, and nothing else. What the key is worth, its ``jkt`` says when it is
compared with the one a token is bound to. Replay is not judged here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from watchword.errors import InvalidDpopProof
from watchword.protocol import jose, names
from watchword.protocol.held_key import HeldKey
from watchword.protocol.htu import InvalidHtu, canonical_htu
from watchword.protocol.strict_json import parse_object

PROOF_ALGORITHMS: Final = frozenset({names.ES256, names.ES384, names.ED25519, names.PS256})
"""What a proof may be signed with. RS256 is not among them."""

DEFAULT_MAX_AGE: Final = timedelta(seconds=60)
DEFAULT_LEEWAY: Final = timedelta(seconds=30)
LONGEST_WINDOW: Final = timedelta(minutes=5)
"""How old, and how far ahead of our clock, a proof may be at most, whatever the settings."""

MAX_JTI: Final = 256
"""Characters. RFC 9449 §11.1."""
MAX_NONCE: Final = 256
"""Characters of a nonce that a client repeats or a server reads."""

_SHA256: Final = hashlib.sha256().copy
"""A new hash: a copy costs a quarter of making one."""
_KEY_MEMBERS: Final = frozenset({names.JWK})
_CERTIFICATE_MEMBERS: Final = frozenset({"x5c", "x5u"})
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_REASONS: Final[Mapping[str, str]] = {
    "jws.size": "dpop.size",
    "jws.typ": "dpop.typ",
    "jws.algorithm": "dpop.algorithm",
    "jws.signature": "dpop.signature",
    "jws.claims": "dpop.claims",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof that was made for this very request by the key with the thumbprint ``jkt``.

    ``since`` and ``until`` are the first and the last moment at which it is accepted by anybody: they follow from the proof
    alone. ``nonce`` is what it says, and is judged by who made nonces.
    """

    jkt: str
    jti: str
    issued_at: datetime
    since: datetime
    until: datetime
    nonce: str | None = field(repr=False)


def build_proof(
    key: HeldKey,
    *,
    method: str,
    url: str,
    jti: str,
    issued_at: datetime,
    token: str | None = None,
    nonce: str | None = None,
) -> str:
    """Return a proof for one request. RFC 9449 §4.2.

    ``url`` may have a query and a fragment: they are left out. ``token`` is the access token that goes with the request, if
    one does; ``nonce`` the last one that this server gave.
    """
    jwk = {name: text for name, text in key.public_jwk.items() if name not in (names.KID, "use", names.ALG)}
    header = {names.TYP: names.TYP_DPOP_PROOF, names.ALG: key.algorithm, names.JWK: jwk}
    claims: dict[str, object] = {
        names.JTI: jti,
        names.HTM: method,
        names.HTU: url.partition("#")[0].partition("?")[0],
        names.IAT: int(issued_at.timestamp()),
    }
    if token is not None:
        claims[names.ATH] = token_hash(token)
    if nonce is not None:
        claims[names.NONCE] = nonce
    message = b".".join(jose.b64url_encode(_ENCODER.encode(part).encode()) for part in (header, claims))
    return jose.assemble(message, key.sign(message))


def token_hash(token: str) -> str:
    """Return the ``ath`` of an access token: the SHA-256 of its very characters, base64url. RFC 9449 §4.2."""
    hasher = _SHA256()
    hasher.update(token.encode("ascii"))
    return jose.b64url_encode(hasher.digest()).decode("ascii")


def check_proof(
    proof: str,
    *,
    method: str,
    urls: tuple[str, ...],
    now: datetime,
    max_age: timedelta = DEFAULT_MAX_AGE,
    leeway: timedelta = DEFAULT_LEEWAY,
    algorithms: frozenset[str] = PROOF_ALGORITHMS,
    token: str | None = None,
) -> Proof:
    """Return the proof if it was made for this very request, lately, by the key it carries. RFC 9449 §4.3.

    ``urls`` are the spellings of the request's own URL, as it is configured, without query and fragment: one, or the few
    names of one endpoint. ``token`` is the access token that came with the request, at a resource. ``algorithms`` may hold
    ``EdDSA`` besides, the name for Ed25519 that RFC 9864 deprecates. Replay is not judged here: the caller claims ``jti``
    under ``jkt`` from ``since`` until ``until``.

    Raises:
        InvalidDpopProof: dpop.size, dpop.malformed, dpop.typ, dpop.algorithm, dpop.key, dpop.signature, dpop.claims,
            dpop.jti, dpop.method, dpop.url, dpop.too_old, dpop.from_future, dpop.ath.
    """
    key, claims = _verify(proof, algorithms)
    jti, issued_at = _text(claims, names.JTI), _date(claims)
    if len(jti) > MAX_JTI:
        raise InvalidDpopProof("dpop.jti", facts={"limit": str(MAX_JTI)})
    if _text(claims, names.HTM) != method:
        raise InvalidDpopProof("dpop.method", facts={"method": method})
    _check_htu(_text(claims, names.HTU), urls)
    _check_age(issued_at, now, max_age, leeway)
    if token is not None and claims.get(names.ATH) != token_hash(token):
        raise InvalidDpopProof("dpop.ath")
    nonce = claims.get(names.NONCE)
    if nonce is not None and not isinstance(nonce, str):
        raise InvalidDpopProof("dpop.claims", detail=names.NONCE, facts={"claim": names.NONCE})
    return Proof(
        jkt=key.kid, jti=jti, issued_at=issued_at, since=issued_at - leeway, until=issued_at + max_age, nonce=nonce
    )


def _verify(proof: str, algorithms: frozenset[str]) -> tuple[jose.PublicKey, dict[str, object]]:
    """Return the key a proof brings and what it says, if that key signed it."""
    try:
        unverified = jose.parse_compact(proof, typ=names.TYP_DPOP_PROOF, key_members=_KEY_MEMBERS)
        key = _read_key(unverified.signing_input.partition(b".")[0])
        return key, jose.verify(unverified, key, algorithms=algorithms)
    except jose.InvalidJws as error:
        reason = _REASONS.get(error.reason, "dpop.malformed")
        facts = {"algorithms": " ".join(sorted(algorithms)), "limit": str(jose.MAX_TOKEN_SIZE), "claim": "payload"}
        raise InvalidDpopProof(reason, detail=error.reason, facts=facts) from error
    except jose.InvalidKey as error:
        raise InvalidDpopProof("dpop.key", detail=error.reason) from error


@lru_cache(maxsize=1024)
def _read_key(header: bytes) -> jose.PublicKey:
    """Return the key of a header, whose ``kid`` is its thumbprint and nothing that the header calls it.

    An agent signs all its proofs under one header; what was refused is not remembered.
    """
    members = parse_object(jose.b64url_decode(header))
    jwk = members.get(names.JWK)
    if not isinstance(jwk, dict) or not _CERTIFICATE_MEMBERS.isdisjoint(jwk):
        raise jose.InvalidKey("key.members")
    algorithm = members[names.ALG]
    registered = names.ED25519 if algorithm == jose.LEGACY_EDDSA else str(algorithm)
    return jose.import_public_jwk(
        {name: value for name, value in jwk.items() if name != names.KID}, algorithm=registered
    )


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidDpopProof("dpop.claims", detail=name, facts={"claim": name})
    return value


def _date(claims: Mapping[str, object]) -> datetime:
    try:
        return datetime.fromtimestamp(jose.numeric_date(claims.get(names.IAT)), UTC)
    except jose.InvalidJws:
        raise InvalidDpopProof("dpop.claims", detail=names.IAT, facts={"claim": names.IAT}) from None


def _check_htu(htu: str, urls: tuple[str, ...]) -> None:
    if htu in urls:  # as we spell it, and nearly everybody
        return
    try:
        found = canonical_htu(htu)
        if any(found == canonical_htu(url) for url in urls):
            return
    except InvalidHtu:
        pass
    raise InvalidDpopProof("dpop.url", facts={"url": urls[0] if urls else ""})


def _check_age(issued_at: datetime, now: datetime, max_age: timedelta, leeway: timedelta) -> None:
    age = now - issued_at
    if age > max_age:
        raise InvalidDpopProof("dpop.too_old", facts=_skew(age, max_age))
    if -age > leeway:
        raise InvalidDpopProof("dpop.from_future", facts=_skew(-age, leeway))


def _skew(found: timedelta, most: timedelta) -> dict[str, str]:
    return {"seconds": str(int(found.total_seconds())), "limit": str(int(most.total_seconds()))}

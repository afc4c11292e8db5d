"""N x N: every kind of signed token of ours is refused by the verifier of every other. RFC 8725 §3.12."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from tests import rule
from tests.vectors import key_for

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.access_token import check_access_token, parse_access_token
from watchword.protocol.challenge_login import Terms, check_answer, make_challenge, parse_answer
from watchword.protocol.client_assertion import ALGORITHMS, check_client_assertion, parse_client_assertion
from watchword.protocol.confirmation import Confirmation
from watchword.protocol.dpop import check_proof
from watchword.protocol.jose import thumbprint
from watchword.protocol.security_event import (
    EVENT_REVOCATIONS,
    check_security_event,
    parse_security_event,
)
from watchword.testing import forge

KEY = key_for("ES256")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ISSUER, CLIENT_ID, URL = "https://auth.example.com", "writer-k7q2m9xw", "https://auth.example.com/oauth/token"
SECRET = bytes(32)
TERMS = Terms(issuer=ISSUER, client_id=CLIENT_ID, thumbprint=thumbprint(KEY.public_jwk))
CHALLENGE = make_challenge(SECRET, TERMS, NOW)
BARE = {name: KEY.public_jwk[name] for name in ("kty", "crv", "x", "y")}

EVERYTHING: dict[str, object] = {
    "iss": ISSUER,
    "sub": CLIENT_ID,
    "client_id": CLIENT_ID,
    "aud": ISSUER,
    "iat": SECONDS,
    "exp": SECONDS + 60,
    "jti": "j",
    "scope": "read:data",
    "htm": "POST",
    "htu": URL,
    "purpose": "token",
    "challenge": CHALLENGE.text,
    "events": {EVENT_REVOCATIONS: {"generation": 1, "after": 0, "sequence": 0, "revocations": []}},
}
"""One set of claims that would do for each of them, as far as they agree: only the type is left to tell them apart."""

HEADERS: dict[str, dict[str, object]] = {
    "access token": {"typ": names.TYP_ACCESS_TOKEN, "kid": KEY.kid},
    "client assertion": {"typ": names.TYP_CLIENT_ASSERTION, "kid": KEY.kid},
    "challenge answer": {"typ": names.TYP_CHALLENGE_ANSWER, "kid": KEY.kid},
    "DPoP proof": {"typ": names.TYP_DPOP_PROOF, "jwk": BARE},
    "security event": {"typ": names.TYP_SECURITY_EVENT, "kid": KEY.kid},
}
CLAIMS = {
    "access token": EVERYTHING,
    "client assertion": {**EVERYTHING, "iss": CLIENT_ID},
    "challenge answer": {**EVERYTHING, "iss": CLIENT_ID, "exp": int(CHALLENGE.expires_at.timestamp())},
    "DPoP proof": EVERYTHING,
    "security event": EVERYTHING,
}


def token(kind: str, *, header: str | None = None) -> str:
    return forge.sign(KEY, {"alg": "ES256", **HEADERS[header or kind]}, CLAIMS[kind])


def access_token(text: str) -> object:
    found = check_access_token(
        parse_access_token(text),
        key=KEY.public_key(),
        issuer=ISSUER,
        audience=ISSUER,
        algorithms=ALGORITHMS,
        now=NOW,
    )
    assert found.confirmation == Confirmation()
    return found


def client_assertion(text: str) -> object:
    return check_client_assertion(
        parse_client_assertion(text),
        key=KEY.public_key(),
        audiences=frozenset({ISSUER}),
        algorithms=ALGORITHMS,
        now=NOW,
    )


def challenge_answer(text: str) -> object:
    return check_answer(
        parse_answer(text),
        key=KEY.public_key(),
        thumbprint=TERMS.thumbprint,
        secret=SECRET,
        issuer=ISSUER,
        purpose="token",
        algorithms=ALGORITHMS,
        now=NOW,
    )


def security_event(text: str) -> object:
    return check_security_event(
        parse_security_event(text), key=KEY.public_key(), issuer=ISSUER, audience=ISSUER, algorithms=ALGORITHMS
    )


VERIFIERS: dict[str, Callable[[str], object]] = {
    "access token": access_token,
    "client assertion": client_assertion,
    "challenge answer": challenge_answer,
    "DPoP proof": partial(
        check_proof,
        method="POST",
        urls=(URL,),
        now=NOW,
        max_age=timedelta(seconds=60),
        leeway=timedelta(seconds=30),
    ),
    "security event": security_event,
}

PAIRS = [pytest.param(one, other, id=f"{one} and {other}") for one in VERIFIERS for other in VERIFIERS if one != other]
TYPE_REASONS = ("jws.typ", "dpop.typ", "jws.key_in_header")
"""A proof brings its key in the header, which no other may: that is seen first."""


def test_every_kind_has_a_verifier() -> None:
    assert HEADERS.keys() == CLAIMS.keys() == VERIFIERS.keys()


@pytest.mark.parametrize("kind", VERIFIERS)
def test_each_is_taken_by_its_own_verifier(kind: str) -> None:
    assert VERIFIERS[kind](token(kind))


@rule("R8725-3.12-01", "R8725-3.11-01", "V3", "TRAP-12", "H3")
@pytest.mark.parametrize(("kind", "verifier"), PAIRS)
def test_and_by_none_of_the_others(kind: str, verifier: str) -> None:
    with pytest.raises(WatchwordError) as caught:
        VERIFIERS[verifier](token(kind))
    assert caught.value.reason in TYPE_REASONS


@rule("R8725-3.12-01", "R8725-3.11-01")
@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_it_is_the_type_that_tells_them_apart(kind: str, other: str) -> None:
    """The very claims that the verifier wants, under the header of another kind."""
    with pytest.raises(WatchwordError) as caught:
        VERIFIERS[kind](token(kind, header=other))
    assert caught.value.reason in TYPE_REASONS

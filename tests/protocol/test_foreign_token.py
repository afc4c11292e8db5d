"""Tokens of outside issuers, judged by themselves: form, signature, audience, time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import rule
from watchword.protocol.foreign_token import (
    LEEWAY,
    TYPES,
    InvalidForeignToken,
    check_age,
    check_foreign_token,
    comes_from_outside,
    parse_foreign_token,
)
from watchword.protocol.jose import generate_private_key
from watchword.testing.clock import FrozenClock
from watchword.testing.forge import all_forgeries, sign

KEY = generate_private_key("ES256")
NOW = FrozenClock()()
AUDIENCE = "https://login.example.com"
HEADER = {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}
ALGORITHMS = frozenset({"ES256", "RS256"})


def claims(**changes: object) -> dict[str, object]:
    now = int(NOW.timestamp())
    usual = {"iss": "https://ci.example.com", "sub": "a", "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": "1"}
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def check(token: str):
    return check_foreign_token(
        parse_foreign_token(token), key=KEY.public_key(), audience=AUDIENCE, algorithms=ALGORITHMS, now=NOW
    )


def reason_of(token: str) -> str:
    with pytest.raises(InvalidForeignToken) as refused:
        check(token)
    return refused.value.reason


def test_a_good_token_says_who_issued_it_and_until_when_it_is_good():
    token = parse_foreign_token(sign(KEY, HEADER, claims(sub="spiffe://example.org/a")))
    assert (token.issuer, token.trust_domain, token.subject, token.kid) == (
        "https://ci.example.com",
        "spiffe://example.org",
        "spiffe://example.org/a",
        KEY.kid,
    )
    checked = check(sign(KEY, HEADER, claims()))
    assert (checked.jti, checked.issued_at, checked.until) == ("1", NOW, NOW + timedelta(seconds=300) + LEEWAY)


@rule("F11", "KF-1", "KF-10", "DR-3")
def test_every_forgery_is_refused():
    for forgery in all_forgeries(KEY, HEADER, claims(), allowed=TYPES):
        with pytest.raises(InvalidForeignToken) as refused:
            check(forgery.token)
        assert refused.value.reason.startswith(("jws.", "federated.")), forgery
    assert check(sign(KEY, HEADER, claims()))


@pytest.mark.parametrize("typ", ["", "at+jwt", "dpop+jwt", "client-authentication+jwt", "JWT+x"])
def test_a_type_of_its_own_is_another_kind_of_token(typ):
    assert reason_of(sign(KEY, {**HEADER, "typ": typ}, claims())) == "jws.typ"


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "application/JWT", "JOSE"])
def test_no_type_or_the_usual_one_is_fine(typ):
    header = {name: value for name, value in {**HEADER, "typ": typ}.items() if value is not ...}
    assert check(sign(KEY, header, claims()))


@rule("F5")
@pytest.mark.parametrize(
    "audience", [..., None, "", [], 7, AUDIENCE + "/", [AUDIENCE, "x"], [[AUDIENCE]], {"a": AUDIENCE}]
)
def test_only_the_audience_alone_will_do(audience):
    assert reason_of(sign(KEY, HEADER, claims(aud=audience))) == "federated.audience"
    assert check(sign(KEY, HEADER, claims(aud=[AUDIENCE])))


@rule("F7", "F14")
def test_age_is_counted_from_iat_and_without_it_to_the_end():
    hour = timedelta(hours=1)
    now = int(NOW.timestamp())
    old = check(sign(KEY, HEADER, claims(iat=now - 3629)))
    assert check_age(old, max_age=hour, now=NOW) == NOW + timedelta(seconds=1)
    for changes in ({"iat": now - 3630}, {"iat": ..., "exp": now + 3700}):
        with pytest.raises(InvalidForeignToken, match=r"federated\.too_old"):
            check_age(check(sign(KEY, HEADER, claims(**changes))), max_age=hour, now=NOW)
    assert check_age(check(sign(KEY, HEADER, claims())), max_age=hour, now=NOW) == NOW + timedelta(seconds=300) + LEEWAY


@pytest.mark.parametrize(
    ("issuer", "outside"), [("https://a.example", True), ("spiffe://a", True), ("reader-1", False), (7, False)]
)
def test_what_a_client_signs_for_itself_does_not_come_from_outside(issuer, outside):
    assert comes_from_outside(sign(KEY, HEADER, claims(iss=issuer))) is outside
    assert not comes_from_outside("a.b.c")
    assert not comes_from_outside(sign(KEY, {**HEADER, "typ": "client-authentication+jwt"}, claims(iss=issuer)))

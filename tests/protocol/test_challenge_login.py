import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from tests.vectors import ecdsa_key, key_for
from watchword.errors import InvalidClient
from watchword.protocol import names
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.challenge_login import (
    LIFETIME,
    Answer,
    Terms,
    build_answer,
    check_answer,
    make_challenge,
    parse_answer,
    read_challenge,
)
from watchword.protocol.jose import PublicKey, thumbprint
from watchword.testing import forge

ISSUER, CLIENT_ID = "https://auth.example/tenant", "writer-k7q2m9xw"
SECRET = bytes(range(32))
KEY = key_for("ES256")
NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
TERMS = Terms(issuer=ISSUER, client_id=CLIENT_ID, thumbprint=thumbprint(KEY.public_jwk))
CHALLENGE = make_challenge(SECRET, TERMS, NOW)
END = int(CHALLENGE.expires_at.timestamp())
HEADER = {"typ": "watchword-challenge+jwt", "alg": "ES256", "kid": KEY.kid}
CLAIMS: Mapping[str, object] = {
    "iss": CLIENT_ID,
    "sub": CLIENT_ID,
    "aud": ISSUER,
    "purpose": "token",
    "challenge": CHALLENGE.text,
    "exp": END,
}


def check(text: str, *, key: PublicKey | None = None, now: datetime = NOW, **changes: object) -> Answer:
    expected = {
        "thumbprint": TERMS.thumbprint,
        "secret": SECRET,
        "issuer": ISSUER,
        "purpose": "token",
        "algorithms": frozenset(names.SIGNING_ALGORITHMS),
        **changes,
    }
    return check_answer(parse_answer(text), key=key or KEY.public_key(), now=now, **expected)  # type: ignore[arg-type]  # as each test has it


def refusal(text: str, **changes: object) -> str:
    with pytest.raises(InvalidClient) as caught:
        check(text, **changes)  # type: ignore[arg-type]  # as each test has it
    return caught.value.reason


def signed(changes: Mapping[str, object] | None = None, *, without: str = "", header: object = None) -> str:
    claims = {name: value for name, value in {**CLAIMS, **(changes or {})}.items() if name != without}
    return forge.sign(KEY, {**HEADER, **(header or {})}, claims)


def test_the_challenge_byte_by_byte() -> None:
    """As docs/features/challenge.md has it."""
    raw = b64url_decode(CHALLENGE.text.encode())
    version, end, chance, mac = raw[:1], raw[1:9], raw[9:25], raw[25:]
    assert (version, int.from_bytes(end, "big"), len(chance), len(mac)) == (b"\x01", END, 16, 32)
    parts = (
        b"watchword-challenge-1",
        ISSUER.encode(),
        b"token",
        CLIENT_ID.encode(),
        TERMS.thumbprint.encode(),
        raw[:25],
    )
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert mac == hmac.new(SECRET, message, hashlib.sha256).digest()


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_is_answered_is_accepted_under_every_algorithm(algorithm: str) -> None:
    key = key_for(algorithm)
    terms = replace(TERMS, thumbprint=thumbprint(key.public_jwk))
    challenge = make_challenge(SECRET, terms, NOW)
    text = build_answer(challenge.text, terms, expires_at=challenge.expires_at, key=key, named_by={"kid": key.kid})
    header, claims, _ = text.split(".")
    assert json.loads(b64url_decode(header.encode())) == {**HEADER, "alg": algorithm, "kid": key.kid}
    assert json.loads(b64url_decode(claims.encode())) == {**CLAIMS, "challenge": challenge.text}
    found = check(text, key=key.public_key(), thumbprint=terms.thumbprint)
    assert found == Answer(challenge.text, challenge.expires_at)


@rule("H6")
def test_no_two_challenges_are_the_same() -> None:
    assert len({make_challenge(SECRET, TERMS, NOW).text for _ in range(20_000)}) == 20_000


@rule("H2")
def test_a_challenge_lasts_a_minute_by_the_servers_clock() -> None:
    assert read_challenge(SECRET, CHALLENGE.text, TERMS, NOW + LIFETIME - timedelta(seconds=0.5)) == CHALLENGE
    with pytest.raises(InvalidClient) as caught:
        read_challenge(SECRET, CHALLENGE.text, TERMS, CHALLENGE.expires_at)
    assert caught.value.reason == "challenge.expired"


@rule("H2", "H7")
@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, issuer="https://auth.example"),
        replace(TERMS, client_id="writer"),
        replace(TERMS, client_id=CLIENT_ID + "x"),
        replace(TERMS, purpose="revoke"),
        replace(TERMS, thumbprint=thumbprint(ecdsa_key(7, "ES256").public_jwk)),
        Terms(issuer=ISSUER + "token", client_id=CLIENT_ID, thumbprint=TERMS.thumbprint, purpose=""),
    ],
)
def test_a_challenge_on_other_terms_is_unknown(terms: Terms) -> None:
    with pytest.raises(InvalidClient) as caught:
        read_challenge(SECRET, CHALLENGE.text, terms, NOW)
    assert caught.value.reason == "challenge.unknown"


@rule("H2")
def test_a_forged_or_truncated_challenge_is_unknown() -> None:
    raw = b64url_decode(CHALLENGE.text.encode())
    later = raw[:1] + (END + 3600).to_bytes(8, "big") + raw[9:]
    spoilt = ["", "x", CHALLENGE.text[:-4], CHALLENGE.text + "AAAA", CHALLENGE.text + "=", "\u00e9", "A" * 10_000]
    spoilt += [
        b64url_encode(one).decode() for one in (later, b"\x02" + raw[1:], raw[:-1] + bytes([raw[-1] ^ 1]), raw[:25])
    ]
    spoilt.append(make_challenge(bytes(32), TERMS, NOW).text)
    for text in spoilt:
        assert refusal(signed({"challenge": text})) == "challenge.unknown", text


@rule("H5", "J1", "J2", "J16", "J17", "J18", "J19", "R8725-3.12-01")
def test_every_forgery_is_an_invalid_client() -> None:
    bad = list(forge.all_forgeries(KEY, HEADER, CLAIMS, allowed=frozenset({"watchword-challenge+jwt"})))
    own_door = {"header with {'x5c': ['MIIB']}", "header with {'x5c': []}"}
    found = {forgery.name: refusal(forgery.token) for forgery in bad}
    expected = {forgery.name: "challenge.key" if forgery.name in own_door else forgery.reason for forgery in bad}
    assert found == expected


@rule("H3", "H2")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "another"}, "assertion.issuer"),
        ({"iss": None}, "assertion.issuer"),
        ({"sub": "another"}, "assertion.issuer"),
        ({"aud": ISSUER + "/"}, "challenge.audience"),
        ({"aud": [ISSUER]}, "challenge.audience"),
        ({"aud": f"{ISSUER}/oauth/token"}, "challenge.audience"),
        ({"purpose": "revoke"}, "challenge.purpose"),
        ({"purpose": None}, "challenge.purpose"),
        ({"challenge": None}, "challenge.unknown"),
        ({"challenge": [CHALLENGE.text]}, "challenge.unknown"),
        ({"exp": END + 1}, "challenge.end"),
        ({"exp": END - 1}, "challenge.end"),
        ({"exp": str(END)}, "challenge.end"),
        ({"exp": True}, "challenge.end"),
        ({"exp": None}, "challenge.end"),
    ],
)
def test_what_is_signed_says_what_it_is_for(changes: dict[str, object], reason: str) -> None:
    assert refusal(signed(changes)) == reason


@rule("H3")
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "purpose", "challenge", "exp"])
def test_nothing_of_it_may_be_left_out(claim: str) -> None:
    reasons = {
        "iss": "assertion.issuer",
        "sub": "assertion.subject",
        "aud": "challenge.audience",
        "purpose": "challenge.purpose",
        "challenge": "challenge.unknown",
        "exp": "challenge.end",
    }
    assert refusal(signed(without=claim)) == reasons[claim]


@rule("H3", "R8725-3.12-01")
def test_a_bare_challenge_that_was_signed_is_no_answer() -> None:
    message = CHALLENGE.text.encode()
    signature = b64url_encode(KEY.sign(message)).decode()
    for text in (signature, f"{CHALLENGE.text}.{signature}", f"e30.{CHALLENGE.text}.{signature}"):
        assert refusal(text).startswith("jws.")


@rule("H7", "H5")
def test_another_key_than_the_challenge_was_given_for_does_not_answer() -> None:
    other = ecdsa_key(7, "ES256")
    text = forge.sign(other, {**HEADER, "kid": other.kid}, CLAIMS)
    assert refusal(text) == "jws.signature"
    assert refusal(text, key=other.public_key(), thumbprint=thumbprint(other.public_jwk)) == "challenge.unknown"


@pytest.mark.parametrize(
    "header",
    [
        {"kid": ""},
        {"x5c": ["MIIB"]},
        {"x5c": "MIIB", "kid": ""},
        {"x5c": [1], "kid": ""},
        {"x5c": ["MIIB"] * 5, "kid": ""},
        {"x5c": None},
    ],
)
def test_a_key_is_named_in_one_way(header: dict[str, object]) -> None:
    assert refusal(signed(header=header)) == "challenge.key"


def test_a_certificate_may_come_along() -> None:
    bare = {name: value for name, value in HEADER.items() if name != "kid"}
    assert parse_answer(forge.sign(KEY, {**bare, "x5c": ["MIIB", "MIIC"]}, CLAIMS)).x5c == ("MIIB", "MIIC")


def test_the_right_answer_is_right() -> None:
    assert check(signed()) == Answer(CHALLENGE.text, CHALLENGE.expires_at)
    assert check(signed({"exp": float(END)})).challenge == CHALLENGE.text

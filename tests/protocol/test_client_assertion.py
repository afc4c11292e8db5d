import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from tests import rule
from tests.vectors import ecdsa_key, key_for
from watchword.errors import InvalidClient
from watchword.protocol import names
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.client_assertion import (
    ALGORITHMS,
    MAX_JTI,
    TYPES,
    ClientAssertion,
    build_client_assertion,
    check_client_assertion,
    parse_client_assertion,
)
from watchword.protocol.jose import LEGACY_EDDSA, PublicKey, parse_compact
from watchword.testing import forge
from watchword.testing.forge_json import to_json

ISSUER, CLIENT_ID = "https://auth.example/tenant", "writer-k7q2m9xw"
TOKEN_ENDPOINT = f"{ISSUER}/oauth/token"
KEY = key_for("ES256")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
HEADER = {"typ": "client-authentication+jwt", "alg": "ES256", "kid": KEY.kid}
CLAIMS: Mapping[str, object] = {
    "iss": CLIENT_ID,
    "sub": CLIENT_ID,
    "aud": ISSUER,
    "jti": "aZ3_-9",
    "iat": SECONDS,
    "exp": SECONDS + 60,
}


def check(
    assertion: str,
    *,
    key: PublicKey | None = None,
    audiences: frozenset[str] = frozenset({ISSUER}),
    algorithms: frozenset[str] = ALGORITHMS,
    now: datetime = NOW,
    **settings: timedelta,
) -> ClientAssertion:
    return check_client_assertion(
        parse_client_assertion(assertion),
        key=key or KEY.public_key(),
        audiences=audiences,
        algorithms=algorithms,
        now=now,
        **settings,
    )


def refusal(assertion: str, **changes: object) -> str:
    with pytest.raises(InvalidClient) as caught:
        check(assertion, **changes)  # type: ignore[arg-type]  # each test names what it changes
    return caught.value.reason


def signed(changes: Mapping[str, object] | None = None, *, without: str = "", header: object = None) -> str:
    claims = {name: value for name, value in {**CLAIMS, **(changes or {})}.items() if name != without}
    return forge.sign(KEY, {**HEADER, **(header or {})}, claims)


@rule("R10070-3-04", "R7523-3-06", "O21-2.4-02")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_we_make_is_typed_addressed_to_the_issuer_and_short_lived(algorithm: str) -> None:
    key = key_for(algorithm)
    made = build_client_assertion(client_id=CLIENT_ID, audience=ISSUER, jti="aZ3_-9", issued_at=NOW, key=key)
    header, claims, _ = made.split(".")
    assert json.loads(b64url_decode(header.encode())) == {
        "typ": "client-authentication+jwt",
        "alg": algorithm,
        "kid": key.kid,
    }
    assert json.loads(b64url_decode(claims.encode())) == CLAIMS


@rule("R10070-3-02", "R7523-3-01", "J14")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_we_make_we_accept_under_every_algorithm(algorithm: str) -> None:
    key = key_for(algorithm)
    made = build_client_assertion(client_id=CLIENT_ID, audience=ISSUER, jti="j", issued_at=NOW, key=key, kid="mine")
    assert parse_client_assertion(made).kid == "mine"
    assert check(made, key=key.public_key()) == ClientAssertion(
        client_id=CLIENT_ID,
        jti="j",
        since=NOW - timedelta(seconds=30),
        until=NOW + timedelta(seconds=90),
        audience=ISSUER,
        algorithm=algorithm,
        is_typed=True,
        is_listed=False,
    )


def test_pyjwt_accepts_it_too() -> None:
    moment = datetime.now(UTC)  # it has no other clock
    made = build_client_assertion(client_id=CLIENT_ID, audience=ISSUER, jti="j", issued_at=moment, key=KEY)
    claims = jwt.decode(made, KEY.key.public_key(), algorithms=["ES256"], audience=ISSUER, issuer=CLIENT_ID)
    assert claims["sub"] == CLIENT_ID


@rule("J1", "J2", "J4", "J5", "J16", "J17", "J18", "J19", "KF-1", "KF-2", "KF-7", "KF-10", "R7523-3-08")
def test_every_forgery_is_an_invalid_client() -> None:
    bad = list(forge.all_forgeries(KEY, HEADER, CLAIMS, allowed=TYPES))
    assert {forgery.name: refusal(forgery.token) for forgery in bad} == {
        forgery.name: forgery.reason for forgery in bad
    }


@rule("R10070-3-05", "J6", "R7519-5-01", "R8725-3.11-01")
@pytest.mark.parametrize(
    ("typ", "typed"),
    [
        (None, False),
        ("JWT", False),
        ("jwt", False),
        ("client-authentication+jwt", True),
        ("application/client-authentication+jwt", True),
        ("Client-Authentication+JWT", True),
        ("application/CLIENT-AUTHENTICATION+jwt", True),
    ],
)
def test_the_explicit_type_is_told_from_none(typ: str | None, typed: bool) -> None:
    header = {name: value for name, value in {**HEADER, "typ": typ}.items() if value is not None}
    assert check(forge.sign(KEY, header, CLAIMS)).is_typed is typed


@rule("R8725-3.12-01", "J6")
def test_a_token_that_was_parsed_as_something_else_is_no_assertion() -> None:
    assertion = parse_client_assertion(signed())
    proof = parse_compact(signed(header={"typ": "dpop+jwt"}), typ="dpop+jwt")
    object.__setattr__(assertion, "token", proof)
    with pytest.raises(InvalidClient) as caught:
        check_client_assertion(
            assertion, key=KEY.public_key(), audiences=frozenset({ISSUER}), algorithms=ALGORITHMS, now=NOW
        )
    assert caught.value.reason == "jws.typ"


@rule("R7523-3-01", "J8")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "another"}, "assertion.issuer"),
        ({"iss": ISSUER}, "assertion.issuer"),
        ({"iss": ""}, "assertion.issuer"),
        ({"iss": None}, "assertion.issuer"),
        ({"iss": [CLIENT_ID]}, "assertion.issuer"),
        ({"sub": "another"}, "assertion.issuer"),
        ({"sub": ""}, "assertion.subject"),
        ({"sub": None}, "assertion.subject"),
        ({"sub": 1}, "assertion.subject"),
        ({"sub": [CLIENT_ID]}, "assertion.subject"),
    ],
)
def test_issuer_and_subject_are_the_client(changes: dict[str, object], reason: str) -> None:
    assert refusal(signed(changes)) == reason


@rule("J8", "J10", "J12", "R7523-3-06", "R7523-3-07", "R10070-3-03")
@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("iss", "assertion.issuer"),
        ("sub", "assertion.subject"),
        ("aud", "assertion.audience"),
        ("exp", "assertion.dates"),
        ("jti", "assertion.jti"),
    ],
)
def test_a_required_claim_is_missing(claim: str, reason: str) -> None:
    assert refusal(signed(without=claim)) == reason


@rule("R10070-3-03", "J9", "TRAP-01", "TRAP-01b", "O21-2.4-02")
@pytest.mark.parametrize(
    "audience",
    [
        TOKEN_ENDPOINT,
        [TOKEN_ENDPOINT],
        [ISSUER, TOKEN_ENDPOINT],
        [ISSUER, ISSUER],
        [ISSUER, "https://other.example"],
        ["https://other.example", ISSUER],
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER.upper(),
        "https://AUTH.example/tenant",
        "http://auth.example/tenant",
        "https://auth.example:443/tenant",
        "https://auth.example",
        "https://auth.example/tenant2",
        f" {ISSUER}",
        "https://\u0430uth.example/tenant",
        1,
        None,
        True,
        {},
        {ISSUER: 1},
        [],
        [""],
        "",
        [None],
        [[ISSUER]],
        f"{ISSUER} {TOKEN_ENDPOINT}",
    ],
)
def test_any_other_audience_or_a_second_one_is_refused(audience: object) -> None:
    assert refusal(signed({"aud": audience})) == "assertion.audience"


@rule("R10070-3-02", "J9")
def test_an_array_of_the_issuer_alone_is_told_from_the_text() -> None:
    assert not check(signed()).is_listed
    assert check(signed({"aud": [ISSUER]})).is_listed


@rule("R10070-3-03", "J9")
def test_who_admits_a_second_name_for_itself_learns_which_was_used_and_takes_one_at_a_time() -> None:
    both = frozenset({ISSUER, TOKEN_ENDPOINT})
    assert check(signed({"aud": TOKEN_ENDPOINT}), audiences=both).audience == TOKEN_ENDPOINT
    assert check(signed(), audiences=both).audience == ISSUER
    assert refusal(signed({"aud": [ISSUER, TOKEN_ENDPOINT]}), audiences=both) == "assertion.audience"


@rule("J10", "R7523-3-06", "KF-46")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("name", forge.BAD_DATES)
def test_a_date_is_a_number_with_a_value(claim: str, name: str) -> None:
    payload = forge.with_raw_member(CLAIMS, claim, forge.BAD_DATES[name])
    assert refusal(forge.sign_raw(KEY, to_json(HEADER), payload)) in ("assertion.dates", "jws.claims")


@rule("J10")
def test_a_date_with_a_fraction_is_a_date() -> None:
    assert check(signed({"exp": SECONDS + 60.0, "iat": SECONDS + 0.5})).until == NOW + timedelta(seconds=90)


@rule("J10", "J11", "R7523-3-06")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": SECONDS - 29}, "assertion.dates"),  # ends before it begins
        ({"iat": SECONDS - 60, "exp": SECONDS - 29}, None),
        ({"iat": SECONDS - 60, "exp": SECONDS - 30}, "assertion.expired"),
        ({"iat": SECONDS - 360, "exp": SECONDS - 300}, "assertion.expired"),
        ({"iat": SECONDS + 8}, None),
        ({"iat": SECONDS + 10}, None),
        ({"iat": SECONDS + 30}, None),
        ({"iat": SECONDS + 31}, "assertion.not_yet_valid"),
        ({"iat": SECONDS + 61, "exp": SECONDS + 120}, "assertion.not_yet_valid"),
        ({"nbf": SECONDS + 10}, None),
        ({"nbf": SECONDS + 31}, "assertion.not_yet_valid"),
        ({"nbf": SECONDS + 61, "exp": SECONDS + 120}, "assertion.not_yet_valid"),
        ({"nbf": SECONDS + 60}, "assertion.dates"),
        ({"nbf": SECONDS + 600}, "assertion.dates"),
        ({"nbf": SECONDS - 86_400}, None),
        ({"exp": SECONDS + 300}, None),
        ({"exp": SECONDS + 301}, "assertion.lifetime"),
        ({"iat": SECONDS - 290}, "assertion.lifetime"),
        ({"iat": 0}, "assertion.lifetime"),
    ],
)
def test_it_lives_minutes_and_clocks_may_differ_by_half_a_minute(
    changes: dict[str, object], reason: str | None
) -> None:
    if reason is None:
        assert check(signed(changes)).jti == "aZ3_-9"
    else:
        assert refusal(signed(changes)) == reason


@rule("J11", "R7523-3-06")
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (60, None),
        (300, None),
        (330, None),
        (331, "assertion.lifetime"),
        (10**9, "assertion.lifetime"),
        (-29, None),
        (-30, "assertion.expired"),
    ],
)
def test_without_iat_the_end_is_near(end: int, reason: str | None) -> None:
    made = signed({"exp": SECONDS + end}, without="iat")
    if reason is None:
        assert check(made).until == NOW + timedelta(seconds=end + 30)
        assert check(made).since == NOW + timedelta(seconds=end - 330)
    else:
        assert refusal(made) == reason


@rule("J11")
@pytest.mark.parametrize(
    ("moment", "skew"), [(timedelta(seconds=131.5), "72"), (-timedelta(seconds=45), "45"), (timedelta(hours=2), "7140")]
)
def test_the_refusal_says_by_how_many_seconds_the_clocks_differ(moment: timedelta, skew: str) -> None:
    with pytest.raises(InvalidClient) as caught:
        check(signed(), now=NOW + moment)
    assert caught.value.facts == {"skew": skew}


@rule("J11", "R7519-4-01")
@pytest.mark.parametrize("leeway", [timedelta(seconds=61), timedelta(seconds=-1), timedelta(days=1)])
def test_clocks_may_not_differ_by_more_than_a_minute(leeway: timedelta) -> None:
    with pytest.raises(ValueError, match="leeway"):
        check(signed(), leeway=leeway)


def test_the_longest_life_is_the_callers_to_shorten() -> None:
    assert refusal(signed({"exp": SECONDS + 61}), longest=timedelta(seconds=60)) == "assertion.lifetime"
    assert check(signed(), longest=timedelta(seconds=60)).jti == "aZ3_-9"


@rule("J12")
@pytest.mark.parametrize("jti", ["", None, 1, True, [], ["a"], {}, "x" * (MAX_JTI + 1)])
def test_the_name_of_an_assertion_is_a_text_of_some_size(jti: object) -> None:
    assert refusal(signed({"jti": jti})) == "assertion.jti"


@rule("J12", "J18")
def test_a_name_of_ten_thousand_characters_is_not_even_decoded() -> None:
    assert refusal(signed({"jti": "x" * 10_000})) == "jws.size"


def test_a_name_may_have_as_many_characters_as_are_allowed() -> None:
    assert check(signed({"jti": "x" * MAX_JTI})).jti == "x" * MAX_JTI


@rule("J15")
def test_the_twin_of_a_signature_has_the_same_name_and_time() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    message, _, signature = signed().encode().rpartition(b".")
    r, s = b64url_decode(signature)[:32], int.from_bytes(b64url_decode(signature)[32:], "big")
    twin = (message + b"." + b64url_encode(r + (order - s).to_bytes(32, "big"))).decode()
    assert twin != signed()
    assert check(twin) == check(signed())


@rule("R7523-3-08", "J3")
def test_another_clients_key_and_an_algorithm_that_is_not_for_this_one_are_refused() -> None:
    assert refusal(signed(), key=ecdsa_key(7, "ES256").public_key()) == "jws.signature"
    assert refusal(signed(), key=key_for("ES384").public_key()) == "jws.algorithm"
    assert refusal(signed(), algorithms=frozenset({"PS256"})) == "jws.algorithm"
    rsa = key_for("PS256")
    made = forge.sign(rsa, {**HEADER, "alg": "RS256"}, CLAIMS)
    assert refusal(made, key=rsa.public_key()) == "jws.algorithm"


@rule("J3", "R9864-2-02")
def test_the_old_name_of_ed25519_is_for_who_names_it() -> None:
    key = key_for("Ed25519")
    made = forge.sign(key, {**HEADER, "alg": LEGACY_EDDSA}, CLAIMS)
    assert refusal(made, key=key.public_key()) == "jws.algorithm"
    found = check(made, key=key.public_key(), algorithms=ALGORITHMS | {LEGACY_EDDSA})
    assert found.algorithm == LEGACY_EDDSA


@rule("KF-11")
@pytest.mark.parametrize("key", ["", b"", {}, "secret"])
def test_without_a_key_nothing_is_accepted(key: PublicKey) -> None:
    with pytest.raises(InvalidClient) as caught:
        check_client_assertion(
            parse_client_assertion(signed()), key=key, audiences=frozenset({ISSUER}), algorithms=ALGORITHMS, now=NOW
        )
    assert caught.value.reason == "key.type"


@rule("TRAP-20")
@pytest.mark.parametrize("audiences", [frozenset(), frozenset({""}), frozenset({ISSUER, ""})])
def test_a_server_without_a_name_accepts_nothing(audiences: frozenset[str]) -> None:
    with pytest.raises(ValueError, match="audience"):
        check(signed({"aud": ""}), audiences=audiences)


def test_an_assertion_hides_itself() -> None:
    assert "eyJ" not in repr(parse_client_assertion(signed()))

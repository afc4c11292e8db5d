from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from tests import rule
from tests.vectors import ecdsa_key, key_for
from watchword.errors import InvalidToken
from watchword.protocol import names
from watchword.protocol.access_token import (
    MAX_LEEWAY,
    AccessToken,
    build_claims,
    build_header,
    check_access_token,
    check_expiry,
    parse_access_token,
    validity,
)
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.protocol.jose import PublicKey, build_compact, parse_compact
from watchword.testing import forge
from watchword.testing.forge_json import to_json

ISSUER, AUDIENCE = "https://auth.example/tenant", "my-api"
KEY = key_for("ES256")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LEEWAY = timedelta(seconds=30)
HEADER = build_header(algorithm="ES256", kid=KEY.kid)
JKT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
CLAIMS = build_claims(
    issuer=ISSUER,
    client_id="reader-k7q2m9xw",
    audience=AUDIENCE,
    scopes=("read:data", "list"),
    issued_at=NOW,
    expires_at=NOW + timedelta(seconds=600),
    jti="aZ3_-9",
)


def check(
    token: str,
    *,
    key: PublicKey | None = None,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    now: datetime = NOW,
    leeway: timedelta = LEEWAY,
) -> AccessToken:
    key = key or KEY.public_key()
    return check_access_token(
        parse_access_token(token),
        key=key,
        issuer=issuer,
        audience=audience,
        algorithms=frozenset({"ES256"}),
        now=now,
        leeway=leeway,
    )


def refusal(token: str, **changes: object) -> str:
    with pytest.raises(InvalidToken) as caught:
        check(token, **changes)  # type: ignore[arg-type]  # each test names what it changes
    return caught.value.reason


def signed(changes: Mapping[str, object] | None = None, *, without: str = "") -> str:
    claims = {name: value for name, value in {**CLAIMS, **(changes or {})}.items() if name != without}
    return forge.sign(KEY, HEADER, claims)


@rule("R9068-2.1-01")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_the_header_has_type_algorithm_and_key(algorithm: str) -> None:
    assert build_header(algorithm=algorithm, kid="k") == {"alg": algorithm, "kid": "k", "typ": "at+jwt"}


@rule("R9068-2.2-01", "R9068-6-01")
def test_the_claims_are_those_of_rfc_9068_and_no_others() -> None:
    assert CLAIMS == {
        "iss": ISSUER,
        "sub": "reader-k7q2m9xw",
        "client_id": "reader-k7q2m9xw",
        "aud": "my-api",
        "scope": "read:data list",
        "iat": 1795521600,
        "exp": 1795522200,
        "jti": "aZ3_-9",
    }


def test_claims_without_scopes_have_no_scope_and_bound_ones_a_cnf() -> None:
    claims = build_claims(
        issuer=ISSUER,
        client_id="c",
        audience="a",
        scopes=(),
        issued_at=NOW,
        expires_at=NOW,
        jti="j",
        confirmation=Confirmation(jkt=JKT),
    )
    assert "scope" not in claims
    assert claims["cnf"] == {"jkt": JKT}


@rule("R9068-2.1-01", "R9068-4-01")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_token_is_what_was_put_in_under_every_algorithm(algorithm: str) -> None:
    key = key_for(algorithm)
    token = build_compact(build_header(algorithm=algorithm, kid=key.kid), CLAIMS, key.sign)
    found = check_access_token(
        parse_access_token(token),
        key=key.public_key(),
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=frozenset({algorithm}),
        now=NOW,
    )
    assert found == AccessToken(
        issuer=ISSUER,
        subject="reader-k7q2m9xw",
        client_id="reader-k7q2m9xw",
        audience=("my-api",),
        scopes=("read:data", "list"),
        issued_at=NOW,
        expires_at=NOW + timedelta(seconds=600),
        jti="aZ3_-9",
        confirmation=NO_CONFIRMATION,
        claims=CLAIMS,
    )


def test_pyjwt_accepts_it_too() -> None:
    claims = {**CLAIMS, "iat": 1700000000, "exp": 4000000000}
    token = build_compact(HEADER, claims, KEY.sign)
    assert (
        jwt.decode(token, jwt.PyJWK(dict(KEY.public_jwk)).key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        == claims
    )


@rule("R9068-4-01", "KF-1", "KF-2", "KF-7", "KF-13", "KF-22", "V1", "V3", "TRAP-12", "R8725-3.12-01")
def test_every_forgery_is_an_invalid_token() -> None:
    bad = list(forge.all_forgeries(KEY, HEADER, CLAIMS, allowed=frozenset({"at+jwt"})))
    assert {forgery.name: refusal(forgery.token) for forgery in bad} == {
        forgery.name: forgery.reason for forgery in bad
    }


@rule("R8725-3.12-01", "V3")
def test_a_token_that_was_parsed_as_something_else_is_no_access_token() -> None:
    proof = parse_compact(forge.sign(KEY, {**HEADER, "typ": "dpop+jwt"}, CLAIMS), typ="dpop+jwt")
    with pytest.raises(InvalidToken) as caught:
        check_access_token(
            proof, key=KEY.public_key(), issuer=ISSUER, audience=AUDIENCE, algorithms=frozenset({"ES256"}), now=NOW
        )
    assert caught.value.reason == "jws.typ"


@rule("R9068-2.1-01")
def test_a_token_names_its_key() -> None:
    assert refusal(forge.sign(KEY, {"alg": "ES256", "typ": "at+jwt"}, CLAIMS)) == "token.kid"
    assert refusal(forge.sign(KEY, {**HEADER, "kid": ""}, CLAIMS)) == "token.kid"


@rule("R8725-3.8-01", "TRAP-14")
def test_a_token_of_another_issuers_key_with_the_same_kid_is_refused() -> None:
    other = ecdsa_key(7, "ES256")
    assert refusal(forge.sign(other, HEADER, CLAIMS)) == "jws.signature"
    assert refusal(forge.sign(KEY, {**HEADER, "kid": other.kid}, CLAIMS)) == "token.kid"


@rule("KF-11")
@pytest.mark.parametrize("key", ["", b"", 0, {}, "secret"])
def test_without_a_key_nothing_is_accepted(key: PublicKey) -> None:
    with pytest.raises(InvalidToken) as caught:
        check_access_token(
            parse_access_token(signed()),
            key=key,
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithms=frozenset({"ES256"}),
            now=NOW,
        )
    assert caught.value.reason == "key.type"


@rule("R8725-3.1-01")
def test_another_algorithm_than_the_configured_ones_is_refused() -> None:
    with pytest.raises(InvalidToken) as caught:
        check_access_token(
            parse_access_token(signed()),
            key=KEY.public_key(),
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithms=frozenset({"RS256"}),
            now=NOW,
        )
    assert caught.value.reason == "jws.algorithm"


@rule("R9068-4-01", "KF-21", "V2")
@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER + "2",
        "https://auth.example",
        ISSUER.upper(),
        "https://auth.example:443/tenant",
        "http://auth.example/tenant",
        "https://\u0430uth.example/tenant",
        [ISSUER],
        None,
        "",
        1,
        {},
        True,
    ],
)
def test_another_issuer_is_refused(issuer: object) -> None:
    assert refusal(signed({"iss": issuer})) == "token.issuer"


@rule("R9068-4-01", "R7519-4-03", "R8725-3.9-01", "KF-20", "TRAP-20", "V2")
@pytest.mark.parametrize(
    "audience",
    [
        "",
        [],
        [""],
        1,
        None,
        {},
        True,
        {"my-api": 1},
        ["my-api", None],
        ["my-api", 1],
        ["my-api", ""],
        ["my-api", ["my-api"]],
        [["my-api"]],
        "my-ap",
        "my-api2",
        "my-api other",
        "MY-API",
        "my-api/",
        ["other", "my-api2"],
    ],
)
def test_a_token_for_another_audience_is_refused(audience: object) -> None:
    assert refusal(signed({"aud": audience})) == "token.audience"


@rule("R7519-4-03")
@pytest.mark.parametrize(
    ("audience", "found"),
    [("my-api", ("my-api",)), (["my-api"], ("my-api",)), (["other", "my-api"], ("other", "my-api"))],
)
def test_an_audience_is_a_text_or_an_array(audience: object, found: tuple[str, ...]) -> None:
    assert check(signed({"aud": audience})).audience == found


@rule("TRAP-20", "R8725-3.9-01")
@pytest.mark.parametrize("settings", [{"audience": ""}, {"issuer": ""}])
def test_a_verifier_without_a_name_of_its_own_accepts_nothing(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="named"):
        check(signed({"aud": "", "iss": ""}), **settings)  # type: ignore[arg-type]  # names of keywords


@rule("R9068-4-01", "R7519-4-01")
@pytest.mark.parametrize("claim", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_a_required_claim_is_missing(claim: str) -> None:
    expected = {"iss": "token.issuer", "aud": "token.audience"}.get(claim, "token.claims")
    assert refusal(signed(without=claim)) == expected


@rule("R9068-4-01")
@pytest.mark.parametrize("claim", ["sub", "client_id", "jti"])
@pytest.mark.parametrize("value", ["", None, 1, True, [], ["a"], {}])
def test_a_name_is_a_text(claim: str, value: object) -> None:
    assert refusal(signed({claim: value})) == "token.claims"


@rule("R7519-4-02", "J10")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("name", forge.BAD_DATES)
def test_a_date_is_a_number_with_a_value(claim: str, name: str) -> None:
    payload = forge.with_raw_member(CLAIMS, claim, forge.BAD_DATES[name])
    assert refusal(forge.sign_raw(KEY, to_json(HEADER), payload)) in ("token.claims", "jws.claims")


@rule("R7519-4-02")
def test_fractions_of_a_second_are_read() -> None:
    found = check(signed({"iat": 1795521600.5, "exp": 1795522200.25}))
    assert found.expires_at == NOW + timedelta(seconds=600.25)


@rule("R7519-4-01", "V2")
@pytest.mark.parametrize(
    ("after", "leeway", "good"),
    [
        (0, 0, True),
        (599, 0, True),
        (600, 0, False),
        (629, 30, True),
        (630, 30, False),
        (631, 30, False),
        (659, 60, True),
        (660, 60, False),
        (10**8, 60, False),
    ],
)
def test_a_token_ends_at_its_exp_plus_leeway(after: int, leeway: int, good: bool) -> None:
    now = NOW + timedelta(seconds=after)
    if good:
        assert check(signed(), now=now, leeway=timedelta(seconds=leeway)).jti == "aZ3_-9"
    else:
        assert refusal(signed(), now=now, leeway=timedelta(seconds=leeway)) == "token.expired"


@rule("R7519-4-01", "V2")
@pytest.mark.parametrize(
    ("claims", "before", "good"),
    [
        ({}, 30, True),
        ({}, 31, False),
        ({"nbf": 1795521700}, 0, False),
        ({"nbf": 1795521700}, -70, True),
        ({"nbf": 1795521700}, -69, False),
        ({"nbf": 1795521500}, 31, False),
        ({"nbf": 1795521600}, 30, True),
    ],
)
def test_a_token_begins_at_its_iat_and_nbf_less_leeway(claims: dict[str, object], before: int, good: bool) -> None:
    now = NOW - timedelta(seconds=before)
    if good:
        assert check(signed(claims), now=now).jti == "aZ3_-9"
    else:
        assert refusal(signed(claims), now=now) == "token.not_yet_valid"


@rule("R7519-4-01")
@pytest.mark.parametrize("leeway", [timedelta(seconds=-1), MAX_LEEWAY + timedelta(microseconds=1), timedelta(days=1)])
def test_a_leeway_beyond_a_minute_is_a_bug(leeway: timedelta) -> None:
    with pytest.raises(ValueError, match="leeway"):
        check(signed(), leeway=leeway)


@rule("V2")
@pytest.mark.parametrize(
    "scope", [None, 1, [], ["read"], {}, "", " ", "a  b", "a\tb", "a b a", '"', "\u00e9", " a", "a "]
)
def test_a_scope_that_is_no_scope_is_refused(scope: object) -> None:
    assert refusal(signed({"scope": scope})) == "token.scope"


def test_a_token_without_scope_has_none() -> None:
    assert check(signed(without="scope")).scopes == ()


@rule("TRAP-21")
@pytest.mark.parametrize("cnf", [None, {}, [], {"jwk": {}}, {"jkt": JKT, "more": 1}, {"jkt": 1}])
def test_a_binding_that_is_not_understood_is_refused(cnf: object) -> None:
    assert refusal(signed({"cnf": cnf})) == "token.confirmation"


@rule("TRAP-21")
def test_a_binding_is_reported() -> None:
    assert check(signed({"cnf": {"jkt": JKT, "x5t#S256": JKT}})).confirmation == Confirmation(jkt=JKT, x5t_s256=JKT)


def test_other_claims_are_kept_and_can_not_be_changed() -> None:
    found = check(signed({"act": {"sub": "a"}}))
    assert found.claims["act"] == {"sub": "a"}
    with pytest.raises(TypeError):
        found.claims["sub"] = "root"  # type: ignore[index]  # that is the point


@rule("R9068-6-01", "Q6")
def test_a_token_does_not_show_its_other_claims() -> None:
    assert "private" not in repr(check(signed({"note": "private"})))


@rule("R7519-4-01")
def test_a_remembered_token_ends_and_begins_alike() -> None:
    token = check(signed({"nbf": 1795521650}), now=NOW + timedelta(seconds=60))
    check_expiry(token, now=NOW + timedelta(seconds=629), leeway=LEEWAY)
    for now, reason in (
        (NOW + timedelta(seconds=630), "token.expired"),
        (NOW + timedelta(seconds=19), "token.not_yet_valid"),
    ):
        with pytest.raises(InvalidToken) as caught:
            check_expiry(token, now=now, leeway=LEEWAY)
        assert caught.value.reason == reason


@pytest.mark.parametrize("claims", [{}, {"nbf": 1795521650}, {"nbf": 1}, {"iat": 0}])
def test_the_bounds_of_validity_are_those_of_the_check(claims: dict[str, object]) -> None:
    token = check(signed(claims), now=NOW + timedelta(seconds=60))
    begins, ends = validity(token, leeway=LEEWAY)
    moment = timedelta(microseconds=1)
    check_expiry(token, now=begins, leeway=LEEWAY)
    check_expiry(token, now=ends - moment, leeway=LEEWAY)
    for outside in (begins - moment, ends):
        with pytest.raises(InvalidToken):
            check_expiry(token, now=outside, leeway=LEEWAY)


def test_a_token_of_the_last_day_there_is_has_bounds() -> None:
    _, ends = validity(check(signed({"exp": 253402300799})), leeway=LEEWAY)
    assert ends == datetime.max.replace(tzinfo=UTC)

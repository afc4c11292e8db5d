import json
import time
from collections.abc import Mapping

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws

from tests import rule
from tests.vectors import key_for, load
from watchword.protocol import names
from watchword.protocol.jose import (
    MAX_TOKEN_SIZE,
    InvalidJws,
    InvalidKey,
    PublicKey,
    assemble,
    b64url_encode,
    build_compact,
    import_public_jwk,
    numeric_date,
    parse_compact,
    signing_input,
    unverified_claims,
    verify,
)
from watchword.testing import forge

TYP = "at+jwt"
CLAIMS: dict[str, object] = {
    "iss": "https://auth.example",
    "sub": "reader-k7q2m9xw",
    "aud": "my-api",
    "exp": 1700000600,
}
ALL = frozenset(names.SIGNING_ALGORITHMS)
KEY = key_for("ES256")
ONE_PER_FAMILY = ("ES256", "ES384", "Ed25519", "PS256", "RS256")


def header_for(algorithm: str) -> dict[str, str]:
    return {"alg": algorithm, "kid": key_for(algorithm).kid, "typ": TYP}


def accept(
    token: str, key: PublicKey, algorithms: frozenset[str] = ALL, typ: str | frozenset[str] = TYP
) -> Mapping[str, object]:
    """The whole way through the door."""
    return verify(parse_compact(token, typ=typ), key, algorithms=algorithms)


def refusal(token: str, key: PublicKey, algorithms: frozenset[str] = ALL, typ: str | frozenset[str] = TYP) -> str:
    with pytest.raises(InvalidJws) as caught:
        accept(token, key, algorithms, typ)
    return caught.value.reason


def forgeries(algorithm: str) -> list[forge.Forgery]:
    key = key_for(algorithm)
    return list(forge.all_forgeries(key, header_for(algorithm), CLAIMS, allowed=frozenset({TYP})))


@pytest.mark.parametrize("vector", load("rfc7515")["vectors"], ids=lambda vector: vector["section"])
def test_the_tokens_of_rfc_7515_are_accepted(vector: dict[str, object]) -> None:
    jwk, token, algorithm = vector["jwk"], str(vector["token"]), str(vector["algorithm"])
    assert isinstance(jwk, dict)
    key = import_public_jwk(jwk, algorithm=algorithm)
    assert accept(token, key, frozenset({algorithm}), typ="") == vector["claims"]


def test_the_rs256_signature_of_rfc_7515_is_reproduced() -> None:
    vector = load("rfc7515")["vectors"][0]
    message, _, signature = vector["token"].encode().rpartition(b".")
    assert b64url_encode(key_for("RS256").sign(message)) == signature


def test_the_token_of_rfc_8037_is_signed_alike_and_verified_under_its_legacy_name() -> None:
    vector = load("rfc8037")
    message, _, signature = vector["token"].encode().rpartition(b".")
    assert b64url_encode(key_for("Ed25519").sign(message)) == signature
    token = parse_compact(vector["token"], typ="")
    assert token.payload.decode() == vector["payload"]
    with pytest.raises(InvalidJws) as caught:
        verify(token, import_public_jwk(vector["jwk"]), algorithms=frozenset({"EdDSA"}))
    assert caught.value.reason == "jws.claims"  # the signature was right; the payload is no object


def test_the_token_of_rfc_7520_has_the_right_signature() -> None:
    vector = load("rfc7520")
    key = import_public_jwk(vector["rsa"], algorithm="RS256")
    assert refusal(vector["token"], key, typ="") == "jws.claims"  # the signature was right; the payload is no object
    assert refusal(vector["token"][:-1] + "w", key, typ="") == "jws.signature"


@pytest.mark.parametrize("algorithm", ONE_PER_FAMILY)
def test_what_was_built_is_accepted_here_and_by_others(algorithm: str) -> None:
    key = key_for(algorithm)
    token = build_compact(header_for(algorithm), CLAIMS, key.sign)
    assert accept(token, key.public_key(), frozenset({algorithm})) == CLAIMS
    assert (
        joserfc_jws.deserialize_compact(token, _joserfc_key(key.public_key()), algorithms=[algorithm]).payload
        == json.dumps(CLAIMS, separators=(",", ":")).encode()
    )
    assert _pyjwt(token, key.public_key()) == CLAIMS


def test_an_asynchronous_signer_gets_the_same_token() -> None:
    message = signing_input(header_for("ES256"), CLAIMS)
    assert assemble(message, KEY.sign(message)) == build_compact(header_for("ES256"), CLAIMS, KEY.sign)


@rule(
    "R7515-4-01", "R7515-4-02", "R7515-4-03", "R7515-5-01", "R7515-5-02", "R7515-5-03", "R7515-5-04", "R7518-3-02",
    "R7519-5-01", "R8037-2-01", "R8725-3.1-03", "R8725-3.3-01", "R8725-3.11-01", "R8725-3.12-01", "R8725bis-3.x-01",
    "R8725bis-3.13-01", "R8725bis-3.14-01", "R8725bis-3.15-01", "TRAP-06", "TRAP-12", "TRAP-13", "TRAP-16",
    "J1", "J2", "J4", "J5", "J16", "J17", "J18", "J19",
    "KF-1", "KF-2", "KF-3", "KF-4", "KF-5", "KF-8", "KF-12", "KF-13", "KF-14", "KF-15", "KF-16", "KF-17", "KF-18", "KF-19",
    "KF-23", "KF-24", "KF-25", "KF-26", "KF-27", "KF-28", "KF-30", "KF-31", "KF-32", "KF-33", "KF-34",
)  # fmt: skip
@pytest.mark.parametrize("algorithm", ONE_PER_FAMILY)
def test_every_forgery_is_refused_for_its_own_reason(algorithm: str) -> None:
    key = key_for(algorithm).public_key()
    bad = forgeries(algorithm)
    reasons = {forgery.name: refusal(forgery.token, key) for forgery in bad}
    assert reasons == {forgery.name: forgery.reason for forgery in bad}
    assert len(bad) > 250


def test_the_forgeries_have_distinct_names() -> None:
    found = [forgery.name for forgery in forgeries("RS256")]
    assert len(set(found)) == len(found)


@rule("KF-22", "KF-18")
@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_every_flipped_bit_is_refused(algorithm: str) -> None:
    key = key_for(algorithm)
    token = build_compact(header_for(algorithm), CLAIMS, key.sign)
    public = key.public_key()
    for flipped in forge.flip_bits(token):
        with pytest.raises(InvalidJws):
            accept(flipped, public)
    assert accept(token, public) == CLAIMS


@rule("R7519-5-01", "R8725-3.11-01", "TRAP-12")
@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+jwt"])
def test_a_type_is_compared_as_a_media_type(typ: str) -> None:
    assert accept(forge.sign(KEY, {**header_for("ES256"), "typ": typ}, CLAIMS), KEY.public_key()) == CLAIMS


@rule("J6", "R8725-3.12-01")
@pytest.mark.parametrize(
    ("header", "good"),
    [
        ({}, True),
        ({"typ": "JWT"}, True),
        ({"typ": "client-authentication+jwt"}, True),
        ({"typ": "at+jwt"}, False),
        ({"typ": ""}, False),
    ],
)
def test_several_types_or_none_are_allowed_only_by_name(header: dict[str, str], good: bool) -> None:
    allowed = frozenset({"", "jwt", "client-authentication+jwt"})
    token = forge.sign(KEY, {"alg": "ES256", **header}, CLAIMS)
    if good:
        assert accept(token, KEY.public_key(), typ=allowed) == CLAIMS
    else:
        assert refusal(token, KEY.public_key(), typ=allowed) == "jws.typ"


@rule("R8725-3.1-01", "R8725-3.1-02", "KF-29", "KF-38", "TRAP-16")
@pytest.mark.parametrize(
    "algorithms",
    [
        frozenset[str](),
        frozenset({"RS256"}),
        frozenset({"es256"}),
        frozenset({"ES"}),
        ALL - {"ES256"},
        frozenset({"none"}),
    ],
)
def test_an_algorithm_that_the_caller_does_not_name_is_refused(algorithms: frozenset[str]) -> None:
    token = build_compact(header_for("ES256"), CLAIMS, KEY.sign)
    assert refusal(token, KEY.public_key(), algorithms) == "jws.algorithm"


@rule("R8725-3.1-01")
@pytest.mark.parametrize("algorithms", ["ES256", ["ES256"], {"ES256"}, None])
def test_algorithms_are_a_frozenset_or_it_is_a_bug(algorithms: frozenset[str]) -> None:
    with pytest.raises(TypeError):
        verify(
            parse_compact(build_compact(header_for("ES256"), CLAIMS, KEY.sign), typ=TYP),
            KEY.public_key(),
            algorithms=algorithms,
        )


@rule("R8725-3.1-02", "R7518-3-03", "TRAP-16", "KF-10", "J3")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_key_verifies_only_its_own_algorithm(algorithm: str) -> None:
    token = build_compact(header_for(algorithm), CLAIMS, key_for(algorithm).sign)
    for other in ALL - {algorithm}:
        assert refusal(token, key_for(other).public_key()) == "jws.algorithm"


@rule("R9864-2-02", "TRAP-16")
def test_eddsa_is_taken_for_ed25519_only_where_it_is_named() -> None:
    key = key_for("Ed25519")
    token = forge.sign(key, {**header_for("Ed25519"), "alg": "EdDSA"}, CLAIMS)
    assert refusal(token, key.public_key(), ALL) == "jws.algorithm"
    assert accept(token, key.public_key(), ALL | {"EdDSA"}) == CLAIMS
    assert refusal(token, KEY.public_key(), ALL | {"EdDSA"}) == "jws.algorithm"
    token = build_compact(header_for("Ed25519"), CLAIMS, key.sign)
    assert refusal(token, key.public_key(), frozenset({"EdDSA"})) == "jws.algorithm"


@rule("KF-11", "KF-2", "R8725-3.1-03")
@pytest.mark.parametrize(
    "key", [None, "", b"", 0, False, [], {}, "secret", KEY, KEY.public_key().key, dict(KEY.public_jwk)]
)
def test_only_a_public_key_is_a_key(key: PublicKey) -> None:
    with pytest.raises(InvalidKey) as caught:
        accept(build_compact(header_for("ES256"), CLAIMS, KEY.sign), key)
    assert caught.value.reason == "key.type"


@rule("R8725-3.10-01", "KF-39", "TRAP-14")
@pytest.mark.parametrize(
    "kid", ["../../dev/null", "' OR 1=1--", "x" * 4000, "\0", "http://attacker.example/", "é€😀", "*)(uid=*", ""]
)
def test_a_kid_is_an_opaque_text(kid: str) -> None:
    token = forge.sign(KEY, {**header_for("ES256"), "kid": kid}, CLAIMS)
    assert parse_compact(token, typ=TYP).header["kid"] == kid


def test_unknown_header_members_are_ignored() -> None:
    token = forge.sign(KEY, {**header_for("ES256"), "x5t": "AA", "nonce": [1], "cty": "json"}, CLAIMS)
    assert accept(token, KEY.public_key()) == CLAIMS


@rule("R7515-4-03")
def test_a_proof_may_bring_its_key_where_the_caller_says_so() -> None:
    token = forge.sign(KEY, {"alg": "ES256", "typ": "dpop+jwt", "jwk": dict(KEY.public_jwk)}, CLAIMS)
    parsed = parse_compact(token, typ="dpop+jwt", key_members=frozenset({"jwk"}))
    assert parsed.header["jwk"] == KEY.public_jwk
    token = forge.sign(KEY, {"alg": "ES256", "typ": "dpop+jwt", "jku": "https://attacker.example"}, CLAIMS)
    with pytest.raises(InvalidJws):
        parse_compact(token, typ="dpop+jwt", key_members=frozenset({"jwk"}))


@rule("R7515-5-04", "KF-28", "KF-32", "J18")
def test_the_size_is_judged_before_anything_is_decoded() -> None:
    padding = "x" * (MAX_TOKEN_SIZE * 3 // 4 - 400)
    token = build_compact(header_for("ES256"), {**CLAIMS, "x": padding}, KEY.sign)
    assert accept(token, KEY.public_key())["x"] == padding
    with pytest.raises(InvalidJws) as caught:
        parse_compact(token, typ=TYP, max_size=len(token) - 1)
    assert caught.value.reason == "jws.size"
    assert parse_compact(token, typ=TYP, max_size=len(token)).header["alg"] == "ES256"


@rule("KF-30", "KF-32", "J18")
@pytest.mark.parametrize(
    "bad",
    ["." * 1_000_000, "a" * 1_000_000, forge.sign(KEY, {"alg": "PBES2-HS256+A128KW", "p2c": 2**31}, {}), "e30." * 5],
)
def test_what_is_no_token_costs_nothing(bad: str) -> None:
    begun = time.process_time()
    for _ in range(20):
        with pytest.raises(InvalidJws):
            parse_compact(bad, typ=TYP)
    assert (time.process_time() - begun) / 20 < 0.001


@rule("KF-34", "KF-18")
def test_claims_are_those_of_the_bytes_that_were_signed() -> None:
    token = build_compact(header_for("ES256"), CLAIMS, KEY.sign)
    head, payload, signature = token.split(".")
    other = b64url_encode(b'{"sub":"root"}').decode()
    assert refusal(f"{head}.{other}.{signature}", KEY.public_key()) == "jws.signature"
    assert unverified_claims(parse_compact(f"{head}.{payload}.AAAA", typ=TYP)) == CLAIMS


@rule("KF-35", "KF-7")
@pytest.mark.parametrize("forgery", forgeries("ES256")[::7], ids=str)
def test_an_error_repeats_nothing_of_the_token(forgery: forge.Forgery) -> None:
    with pytest.raises(InvalidJws) as caught:
        accept(forgery.token, KEY.public_key())
    assert str(caught.value) == forgery.reason


def test_a_token_does_not_show_itself() -> None:
    shown = repr(parse_compact(build_compact(header_for("ES256"), CLAIMS, KEY.sign), typ=TYP))
    assert "reader" not in shown
    assert "payload" not in shown
    assert "signature" not in shown


def test_a_header_can_not_be_changed_for_the_next_token() -> None:
    token = build_compact(header_for("ES256"), CLAIMS, KEY.sign)
    with pytest.raises(TypeError):
        parse_compact(token, typ=TYP).header["alg"] = "none"  # type: ignore[index]  # that is the point
    assert parse_compact(token, typ=TYP).header == header_for("ES256")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none", "typ": TYP}, "jws.algorithm"),
        ({"alg": "HS256", "typ": TYP}, "jws.algorithm"),
        ({"typ": TYP}, "jws.algorithm"),
        ({"alg": "ES256"}, "jws.typ"),
        ({"alg": "ES256", "typ": ""}, "jws.typ"),
        ({"alg": "ES256", "typ": TYP, "crit": "exp"}, "jws.crit"),
        ({"alg": "ES256", "typ": TYP, "jku": "https://a.example"}, "jws.key_in_header"),
    ],
)
def test_a_header_that_we_would_refuse_is_not_built(header: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidJws) as caught:
        signing_input(header, CLAIMS)
    assert caught.value.reason == reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"", {1, 2}, "\ud800"])
def test_claims_that_json_can_not_say_are_not_built(value: object) -> None:
    with pytest.raises(InvalidJws) as caught:
        signing_input(header_for("ES256"), {**CLAIMS, "x": value})
    assert caught.value.reason == "jws.claims"


@rule("R7519-4-02", "J10")
@pytest.mark.parametrize(
    "value",
    [
        "1700000000",
        "",
        None,
        True,
        False,
        [1700000000],
        {},
        -1,
        -0.5,
        1e400,
        -1e400,
        float("nan"),
        2**63,
        253402300800,
        10**400,
    ],
)
def test_what_is_no_numeric_date_is_refused(value: object) -> None:
    with pytest.raises(InvalidJws) as caught:
        numeric_date(value)
    assert caught.value.reason == "jws.claims"


@rule("R7519-4-02")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0.0), (1700000000, 1.7e9), (1700000000.25, 1700000000.25), (253402300799, 253402300799.0)],
)
def test_whole_and_fractional_dates_are_read(value: object, seconds: float) -> None:
    assert numeric_date(value) == seconds


def _joserfc_key(key: PublicKey) -> object:
    from joserfc import jwk

    return jwk.import_key({name: value for name, value in key.jwk.items() if name != "alg"})


def _pyjwt(token: str, key: PublicKey) -> object:
    """What PyJWT makes of a token, given the same key. It has to be taught the name Ed25519."""
    reader = jwt.PyJWS()
    reader.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())
    return json.loads(reader.decode(token, key.key, algorithms=[key.algorithm]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HEADER_NAMES = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "cty", "jwk", "zip", "enc", "x"]) | st.text(
    max_size=4
)
HEADERS = st.dictionaries(HEADER_NAMES, JSON | st.sampled_from(["ES256", "none", "at+jwt", "JWT"]), max_size=3)
TOKEN_TEXT = st.text(alphabet="ABab01-_.=+/ \n\x00\u00e9", max_size=3)


def _both(token: str) -> None:
    """The differential oracle: what we accept, PyJWT accepts, and reads in the same way."""
    try:
        claims = accept(token, KEY.public_key())
    except InvalidJws:
        return
    assert _pyjwt(token, KEY.public_key()) == claims


@rule("KF-18", "KF-33")
@given(HEADERS, st.dictionaries(st.text(max_size=4), JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_signed_token_we_accept_pyjwt_reads_alike(
    header: dict[str, object], claims: dict[str, object]
) -> None:
    _both(forge.sign(KEY, {**header_for("ES256"), **header}, claims))


@rule("KF-18", "KF-26", "KF-33")
@given(st.integers(0, 400), st.integers(0, 4), TOKEN_TEXT)
@settings(max_examples=300, deadline=None)
def test_whatever_edited_token_we_accept_pyjwt_reads_alike(at: int, removed: int, inserted: str) -> None:
    token = build_compact(header_for("ES256"), CLAIMS, KEY.sign)
    at %= len(token)
    _both(token[:at] + inserted + token[at + removed :])


@rule("KF-33")
@given(
    st.text(alphabet="eyJhbGciOiJFUzI1NiJ9._-=", max_size=80)
    | st.text(max_size=80)
    | st.builds("{}.{}.{}".format, *[st.binary(max_size=30).map(lambda octets: b64url_encode(octets).decode())] * 3)
)
@settings(max_examples=300)
def test_nothing_but_invalid_jws_escapes(token: str) -> None:
    with pytest.raises(InvalidJws):
        accept(token, KEY.public_key())


@rule("KF-33", "R7515-5-04")
@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_signed_bytes_break_the_door(header: bytes, payload: bytes) -> None:
    for token in (
        forge.sign_raw(KEY, header, payload),
        forge.sign_raw(KEY, json.dumps(header_for("ES256")).encode(), payload),
    ):
        _both(token)

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.vectors import key_for, load
from watchword.protocol import names
from watchword.protocol.jose import PRIVATE_MEMBERS, InvalidKey, generate_private_key
from watchword.protocol.jwks import MAX_KEYS, build_jwks, parse_jwks

ES256 = dict(key_for("ES256").public_jwk)
RS256 = dict(key_for("RS256").public_jwk)
ED25519 = dict(key_for("Ed25519").public_jwk)
RSA = load("rfc7515")["vectors"][0]["jwk"]
P256 = load("rfc7515")["vectors"][1]["jwk"]


def test_what_is_published_is_found() -> None:
    keys = parse_jwks(json.loads(json.dumps(build_jwks([ES256, RS256, ED25519]))))
    found = [keys.find(jwk["kid"], jwk["alg"]) for jwk in (ES256, RS256, ED25519)]
    assert [key.jwk for key in found if key] == [ES256, RS256, ED25519]
    assert keys.refused == ()


@rule("R7517-4-01", "TRAP-15", "K4")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_only_public_members_are_published(algorithm: str) -> None:
    jwk = {**key_for(algorithm).public_jwk, "secret_note": "x", "x5u": "https://a.example"}
    members = {"EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}, "RSA": {"n", "e"}}[jwk["kty"]]
    (published,) = build_jwks([jwk])["keys"]
    assert set(published) == {"kty", "kid", "use", "alg"} | members
    assert (published["use"], published["alg"], published["kid"]) == ("sig", algorithm, jwk["kid"])


@rule("R9864-2-03")
def test_an_ed25519_key_is_published_under_its_full_name() -> None:
    assert build_jwks([{**ED25519, "alg": "EdDSA"}])["keys"][0]["alg"] == "Ed25519"


@rule("R7517-4-01", "TRAP-15", "K4", "K3")
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        *[
            ([{**jwk, member: "AA"}], "key.private")
            for member in sorted(PRIVATE_MEMBERS)
            for jwk in (ES256, RS256, ED25519)
        ],
        ([{"kty": "oct", "kid": "a", "alg": "HS256", "use": "sig"}], "key.type"),
        ([ES256, ES256], "key.duplicate"),
        ([ES256, {**RS256, "kid": ES256["kid"]}], "key.duplicate"),
        ([{name: value for name, value in ES256.items() if name != "kid"}], "key.members"),
        ([{name: value for name, value in ES256.items() if name != "alg"}], "key.members"),
        ([{**ES256, "use": "enc"}], "key.use"),
    ],
)
def test_a_key_that_must_not_be_published_stops_the_publication(keys: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        build_jwks(keys)
    assert caught.value.reason == reason


def test_no_keys_are_a_set_too() -> None:
    assert build_jwks([]) == {"keys": []}
    assert parse_jwks({"keys": []}).keys == {}


@rule("R7517-5-01", "R7517-5-02", "J24")
@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "key.type"),
        ("key", "key.type"),
        ([], "key.type"),
        ({}, "key.type"),
        ({"kty": "oct", "k": "AAAA", "kid": "s"}, "key.private"),
        ({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"}, "key.type"),
        ({"kty": ["EC"]}, "key.type"),
        ({**P256, "crv": "P-521", "kid": "a"}, "key.curve"),
        ({**P256, "alg": "ES512", "kid": "a"}, "key.algorithm"),
        ({**P256, "x": "AA", "kid": "a"}, "key.point"),
        ({**P256, "use": "enc", "kid": "a"}, "key.use"),
        ({**P256, "key_ops": ["deriveKey"], "kid": "a"}, "key.use"),
        ({**P256, "d": "AA", "kid": "a"}, "key.private"),
        ({**P256, "kid": 1}, "key.kid"),
        ({**RSA, "kid": "a"}, "key.algorithm"),
        ({**RSA, "alg": "RS256", "e": "Aw", "kid": "a"}, "key.exponent"),
    ],
)
def test_an_unusable_key_is_left_out_and_the_rest_is_used(entry: object, reason: str) -> None:
    keys = parse_jwks({"keys": [entry, RS256]})
    assert (list(keys.keys), keys.refused) == ([RS256["kid"]], (reason,))


@rule("KF-40", "TRAP-14", "J7")
@pytest.mark.parametrize(
    "other",
    [
        ES256,
        {**P256, "kid": ES256["kid"]},
        {**RS256, "kid": ES256["kid"]},
        {**RS256, "kid": ES256["kid"], "use": "enc"},
        {"kty": "unknown", "kid": ES256["kid"]},
        P256,
    ],
)
def test_a_kid_that_stands_twice_names_no_key(other: dict[str, str]) -> None:
    for pair in ([ES256, other], [other, ES256]):
        keys = parse_jwks({"keys": [*pair, ED25519]})
        assert list(keys.keys) == [ED25519["kid"]]
        assert "key.duplicate" in keys.refused


@rule("J24")
@pytest.mark.parametrize(
    "document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"Keys": []}, ES256]
)
def test_what_is_no_key_set_is_refused(document: object) -> None:
    with pytest.raises(InvalidKey) as caught:
        parse_jwks(document)
    assert caught.value.reason == "jwks.form"


@rule("J24")
def test_a_set_of_too_many_keys_is_refused_unread() -> None:
    assert len(parse_jwks({"keys": [{}] * MAX_KEYS}).refused) == MAX_KEYS
    with pytest.raises(InvalidKey) as caught:
        parse_jwks({"keys": [ES256] * (MAX_KEYS + 1)})
    assert caught.value.reason == "jwks.size"


@rule("R8725-3.1-02", "R8725-3.10-01", "KF-39", "TRAP-14")
@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [
        (ES256["kid"], "RS256"),
        (ES256["kid"], "ES384"),
        (ES256["kid"], "none"),
        (ES256["kid"], "HS256"),
        (ES256["kid"], ""),
        (ES256["kid"], "EdDSA"),
        (ES256["kid"].lower(), "ES256"),
        (ES256["kid"][:-1], "ES256"),
        (ES256["kid"] + "\0", "ES256"),
        ("", "ES256"),
        ("../../dev/null", "ES256"),
        ("' OR 1=1--", "ES256"),
        ("x" * 10_000, "ES256"),
        ("http://attacker.example/", "ES256"),
        ("\ud800", "ES256"),
    ],
)
def test_a_key_is_found_by_its_exact_kid_and_algorithm_or_not_at_all(kid: str, algorithm: str) -> None:
    keys = parse_jwks({"keys": [ES256]})
    assert keys.find(kid, algorithm) is None
    assert keys.find(ES256["kid"], "ES256") is not None


@rule("R9864-2-02")
def test_an_ed25519_key_is_found_under_its_legacy_name() -> None:
    keys = parse_jwks({"keys": [{**ED25519, "alg": "EdDSA"}]})
    assert keys.find(ED25519["kid"], "EdDSA") == keys.find(ED25519["kid"], "Ed25519") is not None


def test_an_rsa_key_without_algorithm_gets_the_one_the_caller_names() -> None:
    bare = {**RSA, "kid": "a"}
    keys = parse_jwks({"keys": [bare, {**bare, "kid": "b", "alg": "PS256"}]}, rsa_algorithm="RS256")
    assert {kid: key.algorithm for kid, key in keys.keys.items()} == {"a": "RS256", "b": "PS256"}


@rule("R8725-3.8-01", "TRAP-14")
def test_a_kid_is_looked_up_among_its_owners_keys_only() -> None:
    other = generate_private_key("ES256")
    ours = parse_jwks({"keys": [{**ES256, "kid": "1"}]})
    theirs = parse_jwks({"keys": [{**other.public_jwk, "kid": "1"}]})
    assert ours.find("1", "ES256") != theirs.find("1", "ES256")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["keys", "kty", "crv", "kid", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@rule("KF-33")
@given(JSON | st.lists(JSON, max_size=4).map(lambda entries: {"keys": entries}))
@settings(max_examples=200)
def test_nothing_but_invalid_key_escapes(document: object) -> None:
    try:
        keys = parse_jwks(document)
    except InvalidKey:
        return
    assert keys.keys == {}

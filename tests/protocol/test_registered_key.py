import json

import pytest

from tests import rule
from tests.vectors import ecdsa_key, key_for
from watchword.protocol import names
from watchword.protocol.registered_key import (
    MAX_REGISTERED,
    InvalidRegistration,
    RegisteredKey,
    choose_key,
    from_details,
    read_details,
)

KEY = key_for("ES256")
JWK = dict(KEY.public_jwk)
URI = "https://agents.example/jwks.json"


def refusal(details: dict[str, object]) -> str:
    with pytest.raises(InvalidRegistration) as caught:
        from_details(details)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_key_of_every_algorithm_comes_back_as_it_was_registered(algorithm: str) -> None:
    key = key_for(algorithm)
    found = from_details({"jwk": dict(key.public_jwk)})
    assert [(one.kid, one.algorithm) for one in found.keys] == [(key.kid, algorithm)]
    assert found.to_details() == {"jwk": dict(key.public_jwk)}
    assert read_details(json.dumps(found.to_details())) == found


def test_a_key_gets_its_thumbprint_for_a_name_and_keeps_one_of_its_own() -> None:
    bare = {name: JWK[name] for name in ("kty", "crv", "x", "y")}
    assert from_details({"jwk": bare}).to_details() == {"jwk": JWK}
    assert from_details({"jwk": {**bare, "kid": "mine"}}).keys[0].kid == "mine"


@pytest.mark.parametrize(
    "details",
    [
        {"jwks": {"keys": [JWK, dict(key_for("ES384").public_jwk)]}},
        {"jwks_uri": URI},
        {"jwks_uri": URI, "alg": "PS256"},
        {"jwk": JWK, "alg": "ES256", "strict": True},
    ],
)
def test_sets_urls_and_settings_come_back_too(details: dict[str, object]) -> None:
    assert from_details(details).to_details() == details
    assert from_details(from_details(details).to_details()) == from_details(details)


def test_a_set_of_one_is_that_one() -> None:
    assert from_details({"jwks": {"keys": [JWK]}}).to_details() == {"jwk": JWK}


@rule("R8725-3.1-02")
def test_an_rsa_key_says_what_it_is_for_or_is_told() -> None:
    rsa = {name: key_for("PS256").public_jwk[name] for name in ("kty", "n", "e")}
    assert refusal({"jwk": rsa}) == "key.algorithm"
    assert from_details({"jwk": rsa, "alg": "PS256"}).keys[0].algorithm == "PS256"
    assert refusal({"jwk": {**rsa, "alg": "RS256"}, "alg": "PS256"}) == "key.algorithm"
    assert refusal({"jwk": JWK, "alg": "PS256"}) == "key.algorithm"


@rule("J24", "R7517-5-02")
@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ({**JWK, "d": JWK["x"]}, "key.private"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "key.private"),
        ({"kty": "oct"}, "key.type"),
        ({**JWK, "use": "enc"}, "key.use"),
        ({**JWK, "key_ops": ["sign"]}, "key.use"),
        ({**JWK, "crv": "secp256k1"}, "key.curve"),
        ({**JWK, "y": JWK["x"]}, "key.point"),
        ({**JWK, "alg": "HS256"}, "key.algorithm"),
        ({**JWK, "kid": 1}, "key.kid"),
        ({**JWK, "kid": "x" * 257}, "registered_key.kid"),
        ({}, "key.type"),
        ("-----BEGIN PUBLIC KEY-----", "registered_key.form"),
        (None, "registered_key.form"),
    ],
)
def test_what_is_no_public_key_for_signatures_is_not_registered(jwk: object, reason: str) -> None:
    assert refusal({"jwk": jwk}) == reason
    assert refusal({"jwks": {"keys": [JWK, jwk]}}) == reason


@rule("J24")
def test_a_set_has_a_few_keys_each_of_a_name_of_its_own() -> None:
    many = [dict(ecdsa_key(number, "ES256").public_jwk) for number in range(1, MAX_REGISTERED + 2)]
    assert refusal({"jwks": {"keys": many}}) == "registered_key.too_many"
    assert len(from_details({"jwks": {"keys": many[1:]}}).keys) == MAX_REGISTERED
    twice = [many[0], {**many[1], "kid": many[0]["kid"]}]
    assert refusal({"jwks": {"keys": twice}}) == "registered_key.duplicate"


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"jwk": JWK, "jwks_uri": URI},
        {"jwk": JWK, "jwks": {"keys": [JWK]}},
        {"jwk": JWK, "x5c": []},
        {"jwk": JWK, "strict": "yes"},
        {"jwks": [JWK]},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": {}}},
        {"jwks": {}},
        {"jwks": None},
    ],
)
def test_exactly_one_thing_is_registered(details: dict[str, object]) -> None:
    assert refusal(details) == "registered_key.form"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", "es256", 1, None, []])
def test_an_algorithm_is_one_of_ours(algorithm: object) -> None:
    assert refusal({"jwks_uri": URI, "alg": algorithm}) == "registered_key.algorithm"


@pytest.mark.parametrize(
    "url",
    [
        "http://agents.example/jwks",
        "http://127.0.0.1/jwks",
        "agents.example/jwks",
        "file:///etc/passwd",
        f"{URI}#x",
        "https://a@b/jwks",
        "",
        1,
    ],
)
def test_a_url_is_an_https_url(url: object) -> None:
    assert refusal({"jwks_uri": url}) == "registered_key.url"


OTHER = ecdsa_key(7, "ES256")
TWO = (KEY.public_key(), OTHER.public_key())


@rule("J7", "TRAP-14")
def test_a_token_names_one_key_or_there_is_only_one() -> None:
    assert choose_key(TWO, kid=OTHER.kid, algorithm="ES256") == OTHER.public_key()
    assert choose_key(TWO[:1], kid="", algorithm="ES256") == KEY.public_key()
    assert choose_key((*TWO[:1], key_for("ES384").public_key()), kid="", algorithm="ES256") == KEY.public_key()


@rule("J7", "TRAP-14")
@pytest.mark.parametrize("kid", ["", "unknown", "../../etc/passwd", "' OR 1=1 --", "x" * 5000])
def test_nothing_is_tried_out(kid: str) -> None:
    assert choose_key(TWO, kid=kid, algorithm="ES256") is None


@rule("J7", "R7523-3-08")
def test_a_key_is_for_its_own_algorithm() -> None:
    assert choose_key(TWO, kid=KEY.kid, algorithm="ES384") is None
    ed25519 = key_for("Ed25519").public_key()
    assert choose_key((ed25519,), kid="", algorithm="EdDSA") == ed25519


@rule("J7")
def test_two_keys_of_one_name_are_none_but_one_that_is_registered_twice_is_one() -> None:
    twin = from_details({"jwk": {**OTHER.public_jwk, "kid": KEY.kid}}).keys[0]
    assert choose_key((TWO[0], twin), kid=KEY.kid, algorithm="ES256") is None
    again = from_details({"jwk": JWK}).keys[0]
    assert choose_key((TWO[0], again), kid=KEY.kid, algorithm="ES256") == KEY.public_key()


def test_a_key_that_is_registered_shows_no_more_than_its_name() -> None:
    assert JWK["x"] not in repr(RegisteredKey(keys=(KEY.public_key(),)))

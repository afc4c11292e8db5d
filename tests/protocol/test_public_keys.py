import contextlib
import dataclasses
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.vectors import key_for, load
from watchword.protocol import names
from watchword.protocol.base64url import b64url_encode
from watchword.protocol.public_keys import PRIVATE_MEMBERS, InvalidKey, PublicKey, import_public_jwk, thumbprint

RSA = load("rfc7515")["vectors"][0]["jwk"]
EC = load("rfc7515")["vectors"][1]["jwk"]
OKP = load("rfc8037")["jwk"]
A_PRIME, ANOTHER_PRIME = 2**1279 - 1, 2**1024 + 643


def octets(number: int) -> str:
    return b64url_encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def refusal(jwk: Mapping[str, object], algorithm: str | None = None) -> str:
    with pytest.raises(InvalidKey) as caught:
        import_public_jwk(jwk, algorithm=algorithm)
    return caught.value.reason


@rule("R7638-3-01")
@pytest.mark.parametrize("name", ["rfc7638", "rfc8037"])
def test_the_published_thumbprints(name: str) -> None:
    assert thumbprint(load(name)["jwk"]) == load(name)["thumbprint"]


@rule("R7638-3-01")
def test_only_required_members_count_in_whatever_order() -> None:
    assert thumbprint({"y": EC["y"], "use": "sig", "x": EC["x"], "kty": "EC", "crv": "P-256", "d": "no"}) == thumbprint(
        EC
    )


@rule("R7638-3-01", "R9964-02")
def test_an_akp_key_is_told_by_algorithm_and_key() -> None:
    key = {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}
    assert thumbprint({**key, "kid": "x"}) == thumbprint(key) != thumbprint({**key, "alg": "ML-DSA-65"})


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ({}, "key.type"),
        ({"kty": "oct", "k": "AAAA"}, "key.type"),
        ({"kty": ["EC"]}, "key.type"),
        ({"kty": "EC", "crv": "P-256", "x": "AA"}, "key.members"),
        ({"kty": "OKP", "crv": "Ed25519", "x": 1}, "key.members"),
    ],
)
def test_a_thumbprint_needs_all_members(jwk: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        thumbprint(jwk)
    assert caught.value.reason == reason


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_we_publish_we_take_in(algorithm: str) -> None:
    jwk = key_for(algorithm).public_jwk
    key = import_public_jwk(jwk)
    assert (key.kid, key.algorithm, key.jwk) == (thumbprint(jwk), algorithm, jwk)


@pytest.mark.parametrize(("jwk", "algorithm"), [(EC, "ES256"), (OKP, "Ed25519")])
def test_a_curve_says_the_algorithm(jwk: dict[str, str], algorithm: str) -> None:
    assert import_public_jwk(jwk).algorithm == algorithm


def test_a_kid_is_kept_as_it_is() -> None:
    kid = "../../dev/null' OR 1=1--\u0000\u00e9" * 100
    assert import_public_jwk({**EC, "kid": kid}).kid == kid


@rule("R8725-3.1-02", "KF-9", "KF-29", "KF-38", "R7518-3-03")
@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        (RSA, None),
        ({**RSA, "alg": "RS256"}, "PS256"),
        ({**RSA, "alg": "PS256"}, "RS256"),
        (RSA, "ES256"),
        (RSA, "HS256"),
        (RSA, "none"),
        (RSA, "RS512"),
        ({**RSA, "alg": "RS512"}, None),
        ({**RSA, "alg": "RSA-OAEP"}, None),
        ({**RSA, "alg": "HS256"}, None),
        ({**RSA, "alg": None}, None),
        ({**RSA, "alg": ["RS256"]}, None),
        ({**RSA, "alg": 1}, "RS256"),
        ({**RSA, "alg": ""}, "RS256"),
        ({**RSA, "alg": "EdDSA"}, "RS256"),
        (EC, "ES384"),
        (EC, "RS256"),
        ({**EC, "alg": "ES384"}, None),
        ({**EC, "alg": "ES256K"}, None),
        ({**EC, "alg": "es256"}, None),
        ({**EC, "alg": "EdDSA"}, None),
        ({**OKP, "alg": "ES256"}, None),
        ({**OKP, "alg": "Ed448"}, None),
        (OKP, "EdDSA"),
    ],
)
def test_a_key_is_not_bound_against_the_registered_algorithm_its_own_or_its_kind(
    jwk: dict[str, object], algorithm: str | None
) -> None:
    assert refusal(jwk, algorithm) == "key.algorithm"


@rule("R9864-2-02")
def test_the_legacy_name_on_an_ed25519_key_means_ed25519() -> None:
    assert import_public_jwk({**OKP, "alg": "EdDSA"}).jwk["alg"] == "Ed25519"


@rule("R7517-4-01", "TRAP-15", "J24", "KF-11")
@pytest.mark.parametrize("member", sorted(PRIVATE_MEMBERS))
@pytest.mark.parametrize("jwk", [RSA, EC, OKP])
def test_a_private_key_is_refused_whatever_its_member_holds(jwk: dict[str, str], member: str) -> None:
    assert refusal({**jwk, member: None}, None) == "key.private"


@rule("KF-9", "KF-11", "R8725-3.1-03")
@pytest.mark.parametrize("kty", ["oct", "AKP", "ec", "rsa", "", None, 1, [], {}, True])
def test_keys_of_other_kinds_are_refused(kty: object) -> None:
    assert refusal({**EC, "kty": kty}) == "key.type"


@rule("R7517-5-02", "J24")
@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": ""},
        {"use": None},
        {"use": ["sig"]},
        {"key_ops": []},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"key_ops": None},
        {"key_ops": ["encrypt"], "use": "sig"},
    ],
)
def test_a_key_that_is_not_for_verifying_is_refused(members: dict[str, object]) -> None:
    assert refusal({**EC, **members}) == "key.use"


@pytest.mark.parametrize(
    "members",
    [
        {"use": "sig"},
        {"key_ops": ["verify"]},
        {"key_ops": ["verify", "sign"], "use": "sig"},
        {"x5t": "AA", "x5c": ["AA"], "unknown": 1},
    ],
)
def test_a_key_for_verifying_may_say_so(members: dict[str, object]) -> None:
    assert set(import_public_jwk({**EC, **members}).jwk) == {"crv", "kty", "x", "y", "kid", "use", "alg"}


@pytest.mark.parametrize("kid", ["", None, 1, ["a"], {}])
def test_a_kid_is_a_text(kid: object) -> None:
    assert refusal({**EC, "kid": kid}) == "key.kid"


@rule("KF-3", "KF-40", "R7518-3-03")
@pytest.mark.parametrize(
    "jwk",
    [{**EC, "crv": crv} for crv in ("P-521", "secp256k1", "p-256", "Ed25519", "", None, ["P-256"], 1)]
    + [{**OKP, "crv": crv} for crv in ("X25519", "X448", "Ed448", "ed25519", "P-256", None)]
    + [load("rfc7520")["ec_p521"], {"kty": "EC"}, {"kty": "OKP"}, {"kty": "EC", "crv": "B-571", "x": "AA", "y": "AA"}],
)
def test_other_curves_are_refused(jwk: dict[str, object]) -> None:
    assert refusal(jwk) == "key.curve"


@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        ({**EC, "x": None}, None),
        ({**EC, "y": 1}, None),
        ({**OKP, "x": ["AA"]}, None),
        ({"kty": "RSA", "n": RSA["n"]}, "RS256"),
        ({**RSA, "e": 65537}, "RS256"),
    ],
)
def test_a_member_that_is_missing_or_no_text_is_refused(jwk: dict[str, object], algorithm: str | None) -> None:
    assert refusal(jwk, algorithm) == "key.members"


@rule("KF-26")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:-1] + "~",
        lambda text: text.replace("_", "/"),
        lambda text: text + "\u00e9",
        lambda text: text[:-1] + chr(ord(text[-1]) + 1),
    ],
)
@pytest.mark.parametrize(
    ("jwk", "member"),
    [
        ({**EC, "x": "_" + EC["x"][1:-1] + "E"}, "x"),
        ({**OKP, "x": "_" + OKP["x"][1:-1] + "o"}, "x"),
        ({**RSA, "alg": "RS256", "n": "_" + RSA["n"][1:-1] + "Q"}, "n"),
    ],
)
def test_members_are_canonical_base64url(jwk: dict[str, str], member: str, spoil: object) -> None:
    assert callable(spoil)
    assert refusal({**jwk, member: spoil(jwk[member])}) == "key.encoding"


@rule("R7518-6-01", "KF-3")
@pytest.mark.parametrize(
    "members",
    [
        {"x": octets(1)},
        {"x": b64url_encode(bytes(31)).decode()},
        {"x": b64url_encode(bytes(33)).decode()},
        {"x": b64url_encode(b"\0" + bytes(31) + b"\1").decode()},
        {"y": EC["x"]},
        {"x": EC["y"], "y": EC["x"]},
        {"x": b64url_encode(bytes(32)).decode(), "y": b64url_encode(bytes(32)).decode()},
        {"x": b64url_encode(b"\xff" * 32).decode()},
        {"x": ""},
    ],
)
def test_coordinates_of_another_length_or_off_the_curve_are_refused(members: dict[str, str]) -> None:
    assert refusal({**EC, **members}) == "key.point"


@rule("R8037-2-01")
@pytest.mark.parametrize(
    "x", [bytes(32), b"\1" + bytes(31), b"\xff" * 32, bytes(31), bytes(33), b"", b"\2" + bytes(31)]
)
def test_an_ed25519_key_is_a_point_of_32_octets_and_of_large_order(x: bytes) -> None:
    assert refusal({**OKP, "x": b64url_encode(x).decode()}) == "key.point"


@rule("KF-40")
@pytest.mark.parametrize("e", ["Aw", "AQ", "EQ", "AQAC", "AAEAAQ", "AQABAA", "", "AQAB="])
def test_another_exponent_is_refused(e: str) -> None:
    assert refusal({**RSA, "e": e}, "RS256") == "key.exponent"


@rule("R7518-3-01", "KF-40")
@pytest.mark.parametrize("bits", [512, 1024, 2047, 4097, 16384])
def test_rsa_keys_have_2048_to_4096_bits(bits: int) -> None:
    assert refusal({**RSA, "n": octets((1 << (bits - 1)) + 1)}, "RS256") == "key.size"


def test_the_longest_rsa_key_is_taken() -> None:
    modulus = (2**2203 - 1) * (2**1892 + 3081)
    while modulus.bit_length() < 4096:
        modulus = modulus * 2 + 1
    reasons = {import_reason({**RSA, "n": octets(modulus + 2 * step)}) for step in range(200)}
    assert "" in reasons


def import_reason(jwk: dict[str, str]) -> str:
    try:
        import_public_jwk(jwk, algorithm="RS256")
    except InvalidKey as error:
        return error.reason
    return ""


def test_a_modulus_with_leading_zeros_is_refused() -> None:
    assert (
        refusal(
            {**RSA, "n": b64url_encode(bytes(3) + int(load("roca")["sound"], 16).to_bytes(256, "big")).decode()},
            "RS256",
        )
        == "key.encoding"
    )


@rule("KF-40")
@pytest.mark.parametrize(
    "modulus",
    [
        int(load("roca")["vulnerable"], 16),
        2 * A_PRIME * ANOTHER_PRIME,
        3 * A_PRIME * ANOTHER_PRIME,
        A_PRIME**2,
        2**2047 + 2,
    ],
)
def test_a_modulus_that_anyone_can_factor_is_refused(modulus: int) -> None:
    assert refusal({**RSA, "n": octets(modulus)}, "RS256") == "key.weak"


@rule("KF-11", "R8725-3.1-02")
@pytest.mark.parametrize(
    "key",
    [None, b"", "", 0, ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()).public_key()],
)
def test_a_public_key_can_not_be_made_of_anything_else(key: object) -> None:
    with pytest.raises(InvalidKey) as caught:
        PublicKey("kid", "ES256", {}, key)
    assert caught.value.reason == "key.algorithm"


def test_a_public_key_can_not_be_rebound_and_shows_no_more_than_its_name() -> None:
    key = import_public_jwk({**EC, "kid": "k"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.algorithm = "RS256"  # type: ignore[misc]  # that is the point
    assert repr(key) == "PublicKey(kid='k', algorithm='ES256')"


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=2)


@rule("KF-33")
@given(
    st.sampled_from([RSA, EC, OKP]),
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"]), JSON, max_size=4
    ),
)
@settings(max_examples=200, deadline=None)
def test_nothing_but_invalid_key_escapes(jwk: dict[str, str], changes: dict[str, object]) -> None:
    with contextlib.suppress(InvalidKey):
        assert import_public_jwk({**jwk, **changes}).algorithm in names.SIGNING_ALGORITHMS

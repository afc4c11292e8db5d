import copy
import json
import pickle

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from tests import rule
from tests.vectors import key_for, load
from watchword.protocol import names
from watchword.protocol.private_keys import DEFAULT_RSA, PrivateKey, generate_private_key, read_private_key, to_pem
from watchword.protocol.public_keys import InvalidKey, import_public_jwk, thumbprint


def pkcs8(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | x25519.X25519PrivateKey, password: bytes = b""
) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, encryption)


def test_the_public_half_of_rfc_8037() -> None:
    jwk = load("rfc8037")["jwk"]
    assert key_for("Ed25519").public_jwk == {
        **jwk,
        "kid": load("rfc8037")["thumbprint"],
        "use": "sig",
        "alg": "Ed25519",
    }


@rule("R9864-2-03", "R7517-4-01")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_generated_key_signs_and_publishes_its_public_half_only(algorithm: str) -> None:
    key = generate_private_key(algorithm)
    members = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}[key.public_jwk["kty"]]
    assert set(key.public_jwk) == {"kty", "kid", "use", "alg"} | members
    assert (key.kid, key.public_jwk["use"], key.public_jwk["alg"]) == (thumbprint(key.public_jwk), "sig", algorithm)
    import_public_jwk(key.public_jwk).verify(key.sign(b"message"), b"message")


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_key_survives_pkcs8(algorithm: str) -> None:
    key = key_for(algorithm)
    again = PrivateKey.from_pkcs8(key.to_pkcs8(), algorithm)
    assert (again.public_jwk, again.public_key()) == (key.public_jwk, key.public_key())


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"0",
        b"\x30\x00",
        b"-----BEGIN PRIVATE KEY-----",
        pkcs8(ec.generate_private_key(ec.SECP256R1()), b"password"),
        bytes(200),
    ],
)
def test_what_is_no_plain_pkcs8_is_refused(der: bytes) -> None:
    with pytest.raises(InvalidKey) as caught:
        PrivateKey.from_pkcs8(der, "ES256")
    assert caught.value.reason == "key.encoding"


@rule("R8725-3.1-02", "KF-38", "KF-40", "R7518-3-01")
@pytest.mark.parametrize(
    ("der", "algorithm", "reason"),
    [
        (pkcs8(ec.generate_private_key(ec.SECP384R1())), "ES256", "key.algorithm"),
        (pkcs8(ec.generate_private_key(ec.SECP256R1())), "RS256", "key.algorithm"),
        (pkcs8(ec.generate_private_key(ec.SECP256R1())), "HS256", "key.algorithm"),
        (pkcs8(ec.generate_private_key(ec.SECP521R1())), "ES256", "key.curve"),
        (pkcs8(x25519.X25519PrivateKey.generate()), "Ed25519", "key.algorithm"),
        (pkcs8(rsa.generate_private_key(65537, 1024)), "RS256", "key.size"),
        (pkcs8(rsa.generate_private_key(3, 2048)), "RS256", "key.exponent"),
    ],
)
def test_our_own_keys_are_judged_like_a_strangers(der: bytes, algorithm: str, reason: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        PrivateKey.from_pkcs8(der, algorithm)
    assert caught.value.reason == reason


@rule("R8725-3.1-03", "KF-1")
@pytest.mark.parametrize("algorithm", ["HS256", "none", "EdDSA", "ES512", "", "es256"])
def test_a_key_for_an_unknown_algorithm_is_not_made(algorithm: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        generate_private_key(algorithm)
    assert caught.value.reason == "key.algorithm"


def test_a_private_key_can_not_be_bound_to_another_kind() -> None:
    key = key_for("ES256")
    with pytest.raises(InvalidKey) as caught:
        PrivateKey("RS256", key.public_jwk, key.key)
    assert caught.value.reason == "key.algorithm"


@rule("Q6")
def test_a_private_key_shows_its_kid_only_and_can_not_be_copied() -> None:
    key = key_for("ES256")
    assert repr(key) == str(key) == f"PrivateKey(kid={key.kid!r}, algorithm='ES256')"
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            spread(key)


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_key_survives_the_file_that_an_agent_keeps(algorithm: str) -> None:
    key = key_for(algorithm)
    again = read_private_key(to_pem(key), algorithm=algorithm if algorithm == "RS256" else "")
    assert again.public_jwk == key.public_jwk


def test_the_other_dialects_of_pem_are_read_too() -> None:
    ec_key, rsa_key = key_for("ES384").key, key_for("PS256").key
    for key, algorithm in ((ec_key, "ES384"), (rsa_key, DEFAULT_RSA)):
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()
        assert read_private_key(text).public_jwk == key_for(algorithm).public_jwk


def private_jwk(number: int) -> dict[str, str]:
    vector = load("rfc7515")["vectors"][number]
    return {**vector["jwk"], "d": vector["d"]}


def test_a_private_jwk_names_its_key_and_its_algorithm() -> None:
    assert read_private_key(json.dumps(private_jwk(1))).public_jwk == key_for("ES256").public_jwk
    named = read_private_key(json.dumps({**private_jwk(1), "kid": "mine"}))
    assert (named.kid, named.public_key().kid) == ("mine", "mine")
    rsa_jwk = {"kty": "RSA", **private_jwk(0)}
    assert read_private_key(json.dumps({**rsa_jwk, "alg": "RS256"})).algorithm == "RS256"
    assert read_private_key(json.dumps(rsa_jwk)).algorithm == "PS256"
    okp = {**load("rfc8037")["jwk"], "d": load("rfc8037")["d"]}
    assert read_private_key(json.dumps({**okp, "alg": "EdDSA"})).algorithm == "Ed25519"


ENCRYPTED = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    .decode()
)
PUBLIC = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
X25519 = (
    x25519.X25519PrivateKey.generate()
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)


@pytest.mark.parametrize(
    ("text", "algorithm", "reason"),
    [
        ("", "", "key.encoding"),
        ("secret", "", "key.encoding"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "", "key.encoding"),
        (ENCRYPTED, "", "key.encrypted"),
        (PUBLIC, "", "key.public"),
        (X25519, "", "key.algorithm"),
        ("{}", "", "key.public"),
        ("{", "", "key.encoding"),
        ('{"kty":"oct","k":"%s","d":"AA"}' % ("A" * 43), "", "key.algorithm"),
        (json.dumps(private_jwk(1)), "ES384", "key.algorithm"),
        (json.dumps({**private_jwk(1), "alg": "ES256"}), "PS256", "key.algorithm"),
        (json.dumps({**private_jwk(1), "alg": 1}), "", "key.encoding"),
        (json.dumps({**private_jwk(1), "d": 1}), "", "key.encoding"),
        (json.dumps({**private_jwk(1), "crv": "P-384"}), "", "key.encoding"),
    ],
)
def test_what_is_no_private_key_of_ours_is_refused(text: str, algorithm: str, reason: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        read_private_key(text, algorithm=algorithm)
    assert caught.value.reason == reason

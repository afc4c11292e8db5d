from __future__ import annotations

import pytest

from tests import rule
from tests.vectors import key_for, load
from watchword.operations.public_keys import _SENTENCES, check_public_key

pytestmark = pytest.mark.anyio

JWK = dict(key_for("ES256").public_jwk)
VECTOR = load("rfc7515")["vectors"][1]


async def test_a_key_is_stored_with_its_name_and_its_algorithm(scene):
    bare = {name: JWK[name] for name in ("kty", "crv", "x", "y")}
    assert (await check_public_key(scene.context(), {"jwk": bare})).details == {"jwk": JWK}


@rule("J24")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "registered_key.form"),
        ({"jwk": {**VECTOR["jwk"], "d": VECTOR["d"]}}, "key.private"),
        ({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}, "key.private"),
        ({"jwk": {**JWK, "use": "enc"}}, "key.use"),
        ({"jwk": {**JWK, "key_ops": ["encrypt"]}}, "key.use"),
        ({"jwks": {"keys": [JWK] * 1000}}, "registered_key.too_many"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "registered_key.url"),
        ({"jwks_uri": "file:///etc/passwd"}, "registered_key.url"),
        ({"jwk": {**JWK, "y": JWK["x"]}}, "key.point"),
    ],
)
async def test_what_cannot_be_registered_is_said_and_never_what_it_was(scene, said, reason):
    from watchword.errors import Invalid

    with pytest.raises(Invalid) as caught:
        await check_public_key(scene.context(), said)
    assert caught.value.reason == reason
    assert VECTOR["d"] not in str(caught.value)


async def test_every_sentence_ends_like_one():
    assert all(sentence.endswith(".") for sentence in _SENTENCES.values())

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.adapters.sqlite import SqliteStore
from watchword.errors import NoSigningKey
from watchword.ports.keys import KeyState, SigningKey
from watchword.ports.store import Create
from watchword.protocol.jose import build_compact, import_public_jwk, parse_compact, verify
from watchword.protocol.private_keys import PrivateKey
from watchword.testing.clock import FrozenClock
from watchword.testing.records import NOON, make_event

MASTER = MasterKey(bytes(range(32)))


def generate(algorithm: str = "ES256") -> SigningKey:
    return asyncio.run(FileSigner(MASTER).generate(algorithm, now=NOON))


def sign(key: SigningKey, message: bytes = b"message", *, signer: FileSigner | None = None) -> bytes:
    return asyncio.run((signer or FileSigner(MASTER)).sign(key, message))


def refusal(key: SigningKey, *, signer: FileSigner | None = None) -> str:
    with pytest.raises(NoSigningKey) as caught:
        sign(key, signer=signer)
    return caught.value.reason


KEY = generate()
OTHER = generate()


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "Ed25519", "PS256", "RS256"])
def test_what_it_signs_its_public_half_verifies(algorithm: str) -> None:
    key = generate(algorithm)
    assert (key.algorithm, key.state, key.created_at, key.version) == (algorithm, KeyState.PREPARED, NOON, 1)
    header = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    token = build_compact(header, {"sub": "agent"}, lambda message: sign(key, message))
    public = import_public_jwk(key.public_jwk)
    claims = verify(parse_compact(token, typ="at+jwt"), public, algorithms=frozenset({algorithm}))
    assert (claims, public.kid) == ({"sub": "agent"}, key.kid)


def test_an_ecdsa_signature_is_raw() -> None:
    assert len(sign(KEY)) == 64


def test_another_process_with_the_same_master_key_signs() -> None:
    assert sign(KEY) == sign(KEY, signer=FileSigner(MasterKey(bytes(range(32)))))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256K", "EdDSA", ""])
def test_an_unknown_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(NoSigningKey) as caught:
        generate(algorithm)
    assert caught.value.reason == "keys.algorithm"


@rule("K9")
def test_a_key_sealed_under_another_master_key_does_not_open() -> None:
    assert refusal(KEY, signer=FileSigner(MasterKey(bytes(32)))) == "keys.sealed"


@rule("K9")
@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(KEY.sealed) * 8 - 1))
def test_a_flipped_bit_anywhere_closes_it(bit: int) -> None:
    altered = bytearray(KEY.sealed)
    altered[bit // 8] ^= 1 << bit % 8
    assert refusal(replace(KEY, sealed=bytes(altered))) == "keys.sealed"


@rule("K9")
@pytest.mark.parametrize("size", [0, 1, 12, 13, 28, 29, len(KEY.sealed) - 1])
def test_a_cut_envelope_does_not_open(size: int) -> None:
    assert refusal(replace(KEY, sealed=KEY.sealed[:size])) == "keys.sealed"
    assert refusal(replace(KEY, sealed=KEY.sealed + b"\0")) == "keys.sealed"


def test_an_envelope_does_not_open_elsewhere() -> None:
    assert refusal(replace(OTHER, sealed=KEY.sealed)) == "keys.sealed"
    assert refusal(replace(KEY, algorithm="ES384")) == "keys.sealed"
    assert refusal(replace(KEY, kid=OTHER.kid)) == "keys.sealed"


def test_an_altered_public_half_is_refused() -> None:
    public_jwk = {**OTHER.public_jwk, "kid": KEY.kid}
    assert refusal(replace(KEY, public_jwk=public_jwk)) == "keys.altered"


def test_an_opened_key_is_not_used_for_an_altered_row() -> None:
    signer = FileSigner(MASTER)
    sign(KEY, signer=signer)
    assert refusal(replace(KEY, sealed=OTHER.sealed), signer=signer) == "keys.sealed"
    assert refusal(replace(KEY, sealed=b""), signer=signer) == "keys.sealed"
    assert refusal(replace(KEY, algorithm="ES384"), signer=signer) == "keys.sealed"
    assert sign(KEY, signer=signer) == sign(KEY)


def test_a_key_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = FileSigner(MASTER)
    first = sign(KEY, signer=signer)
    monkeypatch.setattr(PrivateKey, "from_pkcs8", None)
    assert sign(replace(KEY, state=KeyState.ACTIVE, version=2), signer=signer) == first


@rule("K4")
def test_no_private_material_reaches_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets: list[bytes] = []
    to_pkcs8 = PrivateKey.to_pkcs8
    monkeypatch.setattr(PrivateKey, "to_pkcs8", lambda key: secrets.append(to_pkcs8(key)) or secrets[-1])
    asyncio.run(_store_a_key(tmp_path / "watchword.db"))
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    (der,) = secrets
    scalar = load_der_private_key(der, None).private_numbers().private_value.to_bytes(32, "big")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"message" not in written
    for secret in (der, scalar, scalar.hex().encode(), bytes(range(32)), MASTER.derive("signing-key-envelope")):
        assert secret[:16] not in written
    assert secrets[0][-32:] not in written


async def _store_a_key(path: Path) -> None:
    store, signer = SqliteStore.create(path, clock=FrozenClock()), FileSigner(MASTER)
    key = await signer.generate("ES256", now=NOON)
    await store.commit(make_event("key.create", kid=key.kid), [Create(key)])
    (stored,) = await store.signing_keys()
    assert stored == key
    await signer.sign(stored, b"message")
    await store.close()


def test_neither_shows_a_secret() -> None:
    assert KEY.sealed.hex() not in repr(KEY)
    assert "sealed" not in repr(KEY)
    assert repr(FileSigner(MASTER)).startswith("<watchword.adapters.keys_file.FileSigner")


NEW_MASTER = MASTER.replaced()


@rule("K9")
def test_a_key_sealed_anew_is_the_same_key_and_the_old_master_key_does_not_open_it() -> None:
    old, new = FileSigner(MASTER), FileSigner(NEW_MASTER)
    again = new.rewrap(KEY)
    assert (old.is_newest(KEY), new.is_newest(KEY), new.is_newest(again)) == (True, False, True)
    assert replace(again, sealed=KEY.sealed) == KEY
    assert sign(again, signer=new) == sign(KEY, signer=FileSigner(NEW_MASTER)) == sign(KEY)
    assert refusal(again, signer=old) == "keys.sealed"
    made = asyncio.run(new.generate("ES256", now=NOON))
    assert new.is_newest(made)
    assert refusal(made, signer=old) == "keys.sealed"
    # nor by another name: what the head says of the master key is bound in
    assert refusal(replace(again, sealed=b"\x01" + again.sealed[9:]), signer=old) == "keys.sealed"


@rule("K9")
def test_who_has_opened_a_key_signs_on_when_it_is_sealed_under_a_later_master_key() -> None:
    signer, again = FileSigner(MASTER), FileSigner(NEW_MASTER).rewrap(KEY)
    sign(KEY, signer=signer)
    assert sign(again, signer=signer) == sign(KEY)
    assert refusal(replace(again, algorithm="ES384"), signer=signer) == "keys.sealed"
    assert refusal(replace(again, public_jwk=OTHER.public_jwk), signer=signer) == "keys.sealed"
    assert refusal(FileSigner(NEW_MASTER).rewrap(OTHER), signer=signer) == "keys.sealed"


@rule("K9")
def test_a_flipped_bit_in_an_envelope_of_a_later_master_key_closes_it() -> None:
    again = FileSigner(NEW_MASTER).rewrap(KEY)
    for at in range(len(again.sealed)):
        altered = bytearray(again.sealed)
        altered[at] ^= 4
        assert refusal(replace(again, sealed=bytes(altered)), signer=FileSigner(NEW_MASTER)) == "keys.sealed"
    for size in (0, 1, 8, 9, 20, 21, 37):
        assert refusal(replace(again, sealed=again.sealed[:size]), signer=FileSigner(NEW_MASTER)) == "keys.sealed"


def test_the_newest_three_times_over_opens_what_the_first_and_the_one_before_have_sealed() -> None:
    second, third = NEW_MASTER.replaced(), NEW_MASTER.replaced().replaced()
    under_first, under_new = KEY, FileSigner(NEW_MASTER).rewrap(KEY)
    assert sign(under_first, signer=FileSigner(third)) == sign(under_new, signer=FileSigner(second)) == sign(KEY)
    assert refusal(under_new, signer=FileSigner(third)) == "keys.sealed"

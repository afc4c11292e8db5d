"""What everyone must do who holds keys. Subclass ``SignerContract`` in a test module and give it one fixture::

    class TestMySigner(SignerContract):
        algorithms = ("ES256", "RS256")

        @pytest.fixture
        async def open_signer(self):
            ...  # yields an async function: each call opens one more signer on the same keys, as another node would

The tests run on asyncio by the pytest plugin of anyio.
"""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar, Final

import pytest

from watchword.errors import NoSigningKey
from watchword.ports.keys import KeyState, Signer, SigningKey
from watchword.protocol import names
from watchword.protocol.jose import PRIVATE_MEMBERS, import_public_jwk, thumbprint
from watchword.testing.records import NOON

SIZES: Final = (0, 1, 4095, 4096, 4097, 8192)
"""Bytes of a message: services take another way above 4,096."""

OpenSigner = Callable[[], Awaitable[Signer]]


async def sign(signer: Signer, key: SigningKey, message: bytes = b"message") -> bytes:
    """Sign, and return what the public half verifies."""
    signature = await signer.sign(key, message)
    import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    return signature


async def refusal(signer: Signer, key: SigningKey) -> str:
    """Return why the key does not sign."""
    with pytest.raises(NoSigningKey) as caught:
        await signer.sign(key, b"message")
    return caught.value.reason


class SignerContract:
    """Keys that sign, each with its own algorithm, and show nothing of themselves."""

    pytestmark = pytest.mark.anyio
    algorithms: ClassVar[tuple[str, ...]] = (names.ES256, names.ES384, names.ED25519, names.PS256, names.RS256)

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def signer(self, open_signer: OpenSigner) -> Signer:
        return await open_signer()

    @pytest.fixture
    async def key(self, signer: Signer) -> SigningKey:
        return await signer.generate(self.algorithms[0], now=NOON)

    async def test_a_new_key_is_prepared_named_by_its_thumbprint_and_public(self, signer: Signer) -> None:
        for algorithm in self.algorithms:
            key = await signer.generate(algorithm, now=NOON)
            assert (key.algorithm, key.state, key.created_at, key.version) == (algorithm, KeyState.PREPARED, NOON, 1)
            assert key.kid == key.public_jwk[names.KID] == thumbprint(key.public_jwk)
            assert not PRIVATE_MEMBERS & key.public_jwk.keys()
            assert (key.public_jwk[names.ALG], key.public_jwk["use"]) == (algorithm, "sig")
            await sign(signer, key)

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_message_of_any_size_is_signed(self, signer: Signer, key: SigningKey, size: int) -> None:
        await sign(signer, key, b"m" * size)

    async def test_an_ecdsa_signature_is_raw(self, signer: Signer) -> None:
        for algorithm, size in ((names.ES256, 64), (names.ES384, 96)):
            if algorithm in self.algorithms:
                key = await signer.generate(algorithm, now=NOON)
                assert {len(await sign(signer, key, bytes([number]))) for number in range(32)} == {size}

    @pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256K", "EdDSA", ""])
    async def test_an_unknown_algorithm_is_refused(self, signer: Signer, algorithm: str) -> None:
        with pytest.raises(NoSigningKey) as caught:
            await signer.generate(algorithm, now=NOON)
        assert caught.value.reason == "keys.algorithm"

    async def test_each_key_signs_for_itself(self, signer: Signer, key: SigningKey) -> None:
        other = await signer.generate(self.algorithms[0], now=NOON)
        assert other.kid != key.kid
        for one in (key, other, key):
            await sign(signer, one)

    async def test_another_node_signs_with_it(self, open_signer: OpenSigner, key: SigningKey) -> None:
        await sign(await open_signer(), key)

    async def test_a_key_that_nobody_can_find_is_refused(self, signer: Signer, key: SigningKey) -> None:
        for sealed in (b"", b"\x00", b"\xff" * 40, b"nothing known here", key.sealed[:-1]):
            assert (await refusal(signer, replace(key, sealed=sealed))).startswith("keys."), sealed
        await sign(signer, key)

    async def test_many_at_once_have_each_their_own_signature(self, signer: Signer, key: SigningKey) -> None:
        messages = [b"message %d" % number for number in range(40)]
        await asyncio.gather(*(sign(signer, key, message) for message in messages))

    async def test_who_leaves_disturbs_nobody(self, signer: Signer, key: SigningKey) -> None:
        tasks = [asyncio.ensure_future(sign(signer, key, b"%d" % number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, bytes) for one in told[1::2])
        await sign(signer, key)

    async def test_it_shows_nothing(self, signer: Signer, key: SigningKey) -> None:
        assert key.sealed.hex() not in repr(key) + repr(signer)

"""Whoever holds the keys may be slow, away or wrong: nobody waits for long, and nothing wrong leaves."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import CustodyUnavailable, Fault, NoSigningKey
from watchword.ports.keys import Signer, SigningKey
from watchword.server.custody_guard import Guard, GuardNumbers
from watchword.testing.faulty_signer import FaultySigner
from watchword.testing.records import NOON
from watchword.testing.signer_contract import SignerContract, sign

pytestmark = pytest.mark.anyio

QUICK = GuardNumbers(timeout=timedelta(milliseconds=50), waiting=4, failures=3)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Steady:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def signed(self, custody: str, algorithm: str, seconds: float) -> None:
        self.told.append(("signed", custody, algorithm, seconds))

    def custody_failed(self, custody: str, reason: str) -> None:
        self.told.append(("failed", custody, reason))

    def show_custody(self, custody: str, *, is_open: bool) -> None:
        self.told.append(("open", custody, is_open))


class TestGuard(SignerContract):
    @pytest.fixture
    def open_signer(self):
        async def one_more() -> Signer:
            return Guard("pkcs11", FileSigner(MasterKey(bytes(range(32)))))

        return one_more


@pytest.fixture
def inner() -> FaultySigner:
    return FaultySigner(FileSigner(MasterKey(bytes(range(32)))))


@pytest.fixture
def steady() -> Steady:
    return Steady()


@pytest.fixture
def guard(inner, steady) -> Guard:
    return Guard("pkcs11", inner, QUICK, steady=steady)


@pytest.fixture
async def key(guard) -> SigningKey:
    return await guard.generate("ES256", now=NOON)


async def refused(guard: Guard, key: SigningKey) -> str:
    with pytest.raises(Fault) as caught:
        await guard.sign(key, b"message")
    return caught.value.reason


async def broken(guard: Guard, inner: FaultySigner, key: SigningKey, fault: str = "down") -> None:
    inner.fault = fault
    for _ in range(QUICK.failures):
        assert await refused(guard, key) == f"custody.{fault}"


@rule("K8")
async def test_who_does_not_answer_is_not_waited_for(guard, inner, key) -> None:
    inner.fault = "hang"
    assert await refused(guard, key) == "custody.timeout"
    inner.fault = ""
    await sign(guard, key)


@rule("K8")
async def test_the_line_is_bounded(guard, inner, key) -> None:
    inner.fault, inner.seconds = "slow", 0.02
    told = await asyncio.gather(*(guard.sign(key, b"message") for _ in range(7)), return_exceptions=True)
    assert [isinstance(one, bytes) for one in told] == [True] * 4 + [False] * 3
    assert {one.reason for one in told[4:]} == {"custody.busy"}
    assert not guard.is_open
    await sign(guard, key)


@rule("K8")
async def test_after_failures_in_a_row_it_is_not_asked_until_one_may_look(guard, inner, key, steady) -> None:
    await broken(guard, inner, key)
    asked = inner.asked
    for _ in range(20):
        assert await refused(guard, key) == "custody.open"
    assert inner.asked == asked
    steady.seconds += 1
    assert await refused(guard, key) == "custody.down"
    assert await refused(guard, key) == "custody.open"
    assert inner.asked == asked + 1
    inner.fault = ""
    assert await refused(guard, key) == "custody.open"
    steady.seconds += 1
    await sign(guard, key)
    await sign(guard, key)
    assert not guard.is_open


@rule("K8")
async def test_one_looks_and_the_others_do_not_wait_for_it(guard, inner, key, steady) -> None:
    await broken(guard, inner, key)
    steady.seconds += 1
    inner.fault, inner.seconds = "slow", 0.01
    told = await asyncio.gather(*(guard.sign(key, b"message") for _ in range(5)), return_exceptions=True)
    assert [isinstance(one, bytes) for one in told] == [True, *[False] * 4]
    assert {one.reason for one in told[1:]} == {"custody.open"}
    await sign(guard, key)


async def test_one_who_looks_and_leaves_lets_the_next_one_look(guard, inner, key, steady) -> None:
    await broken(guard, inner, key)
    steady.seconds += 1
    inner.fault = "hang"
    looking = asyncio.ensure_future(guard.sign(key, b"message"))
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    inner.fault = ""
    await sign(guard, key)


@rule("K8")
@pytest.mark.parametrize("fault", ["denied", "gone"])
async def test_what_is_wrong_with_one_key_is_not_held_against_the_others(guard, inner, key, fault) -> None:
    inner.fault = fault
    for _ in range(QUICK.failures + 1):
        assert await refused(guard, key) == f"keys.{fault}"
    inner.fault = ""
    await sign(guard, key)


async def test_a_success_between_failures_forgives_them(guard, inner, key) -> None:
    for _ in range(3):
        inner.fault = "throttled"
        for _ in range(QUICK.failures - 1):
            assert await refused(guard, key) == "custody.throttled"
        inner.fault = ""
        await sign(guard, key)


@rule("K9")
async def test_a_key_that_is_another_s_signs_nothing(guard, inner, key) -> None:
    other = await guard.generate("ES256", now=NOON)
    assert await refused(Guard("pkcs11", inner), replace(key, public_jwk=other.public_jwk)) == "keys.altered"
    assert await refused(guard, replace(key, public_jwk={**other.public_jwk, "kid": key.kid})) == "keys.altered"
    await sign(guard, key)


async def test_a_key_whose_signature_is_none_is_not_even_made(guard, inner) -> None:
    inner.fault = "wrong"
    with pytest.raises(NoSigningKey) as caught:
        await guard.generate("ES256", now=NOON)
    assert caught.value.reason == "keys.altered"


async def test_it_tells_what_happens(guard, inner, key, steady) -> None:
    heard = guard.witness = Heard()
    await sign(guard, key)
    await broken(guard, inner, key)
    assert await refused(guard, key) == "custody.open"
    inner.fault, steady.seconds = "", steady.seconds + 1
    await sign(guard, key)
    assert heard.told == [
        ("signed", "pkcs11", "ES256", 0.0),
        *[("failed", "pkcs11", "custody.down")] * 3,
        ("open", "pkcs11", True),
        ("failed", "pkcs11", "custody.open"),
        ("open", "pkcs11", False),
        ("signed", "pkcs11", "ES256", 0.0),
    ]


async def test_a_fault_of_a_custody_is_no_missing_key() -> None:
    """Who starts without it must not be told that the master key is wrong."""
    assert not issubclass(CustodyUnavailable, NoSigningKey)

"""Counters in memory: the contract, and that no flood of keys makes them grow."""

import pytest

from tests import rule
from watchword.adapters.limits_memory import CAPACITY, MemoryRateLimiter
from watchword.ports.ratelimit import NO_WAIT
from watchword.testing.ratelimit_contract import EACH, NOON, RATE, NewLimiter, RateLimiterContract, take_all


@rule("B10", "W3")
class TestMemoryRateLimiter(RateLimiterContract):
    @pytest.fixture
    def new_limiter(self) -> NewLimiter:
        return MemoryRateLimiter


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@rule("B9")
@pytest.mark.anyio
async def test_a_million_keys_take_no_more_room_than_the_table_has() -> None:
    limiter = MemoryRateLimiter(RATE)
    for number in range(1_000_000):
        await limiter.take(f"unknown-{number}", NOON)
    assert len(limiter) == CAPACITY


@rule("B9")
@pytest.mark.anyio
async def test_what_was_counted_longest_ago_makes_room() -> None:
    limiter = MemoryRateLimiter(RATE, capacity=3)
    for key in ("old", "busy", "third"):
        await take_all(limiter, key, NOON)
    await limiter.take("old", NOON + EACH)
    await limiter.take("new", NOON + EACH)
    assert len(limiter) == 3
    assert await limiter.wait("busy", NOON) == NO_WAIT
    for kept in ("old", "third"):
        assert await limiter.wait(kept, NOON) > NO_WAIT


@rule("B9")
@pytest.mark.anyio
async def test_asking_takes_no_room() -> None:
    limiter = MemoryRateLimiter(RATE)
    for number in range(1000):
        await limiter.wait(f"unknown-{number}", NOON)
    assert len(limiter) == 0

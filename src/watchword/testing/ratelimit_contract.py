"""What every counter must do. Subclass ``RateLimiterContract`` in a test module and give it a maker of yours::

    class TestMyRateLimiter(RateLimiterContract):
        @pytest.fixture
        def new_limiter(self):
            return MyRateLimiter

The tests run on asyncio by the pytest plugin of anyio.
"""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from watchword.ports.ratelimit import NO_WAIT, Rate, RateLimiter

NOON: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RATE: Final = Rate(10, timedelta(seconds=60))
EACH: Final = timedelta(seconds=6)
"""After this long, one more of ``RATE`` is free."""

NewLimiter = Callable[[Rate], RateLimiter]


async def take_all(limiter: RateLimiter, key: str, now: datetime, *, most: int = 1000) -> int:
    """Take until refused; return how many were counted."""
    for counted in range(most):
        if await limiter.take(key, now):
            return counted
    return most


class RateLimiterContract:
    """By key, evenly, within bounds of time and memory."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.mark.parametrize("amount", [1, 7, 10, 600, 20_000])
    async def test_exactly_the_amount_is_counted_at_once(self, new_limiter: NewLimiter, amount: int) -> None:
        limiter = new_limiter(Rate(amount, timedelta(seconds=60)))
        assert await take_all(limiter, "key", NOON, most=amount + 2) == amount

    async def test_who_waits_as_long_as_told_is_counted_and_nobody_sooner(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        told = await limiter.wait("key", NOON)
        assert told == EACH
        assert await limiter.take("key", NOON + told - timedelta(milliseconds=1)) == timedelta(milliseconds=1)
        assert await limiter.take("key", NOON + told) == NO_WAIT

    async def test_a_refusal_and_a_question_count_nothing(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        for _ in range(20):
            assert await limiter.take("key", NOON) == EACH
            assert await limiter.wait("key", NOON) == EACH
        assert await take_all(limiter, "key", NOON + EACH) == 1

    async def test_a_key_that_never_came_waits_for_nothing(self, new_limiter: NewLimiter) -> None:
        assert await new_limiter(RATE).wait("key", NOON) == NO_WAIT

    @pytest.mark.parametrize(
        "other", ["KEY", "key ", " key", "kez", "", "*", "k*", "key\x00", "k" * 100_000, "\u5bc6", "key:1"]
    )
    async def test_keys_have_nothing_to_do_with_each_other(self, new_limiter: NewLimiter, other: str) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        assert await limiter.wait(other, NOON) == NO_WAIT
        assert await take_all(limiter, other, NOON) == RATE.amount

    async def test_two_limiters_have_nothing_to_do_with_each_other(self, new_limiter: NewLimiter) -> None:
        first, second = new_limiter(RATE), new_limiter(RATE)
        await take_all(first, "key", NOON)
        assert await take_all(second, "key", NOON) == RATE.amount

    @pytest.mark.parametrize("offset", [0, 1, 29, 59, 60, 61])
    async def test_no_stretch_as_long_as_the_period_admits_more_than_twice_the_amount(
        self, new_limiter: NewLimiter, offset: int
    ) -> None:
        limiter = new_limiter(RATE)
        begun = NOON + timedelta(seconds=offset)
        counted = [await take_all(limiter, "key", begun + timedelta(seconds=second)) for second in range(60)]
        assert counted[0] == RATE.amount
        assert sum(counted) < 2 * RATE.amount

    async def test_all_is_free_again_after_one_period(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        assert await take_all(limiter, "key", NOON + RATE.period) == RATE.amount

    @pytest.mark.parametrize("back", [1, 3_600, 86_400 * 365])
    async def test_a_clock_set_back_blocks_nobody_for_longer_than_one_period(
        self, new_limiter: NewLimiter, back: int
    ) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        earlier = NOON - timedelta(seconds=back)
        assert NO_WAIT < await limiter.wait("key", earlier) <= RATE.period
        assert await take_all(limiter, "key", earlier + RATE.period) == RATE.amount

    async def test_a_clock_set_forward_gives_the_amount_once_more(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(RATE)
        await take_all(limiter, "key", NOON)
        assert await take_all(limiter, "key", NOON + timedelta(days=3650)) == RATE.amount

    async def test_tasks_that_take_together_get_the_amount_between_them(self, new_limiter: NewLimiter) -> None:
        limiter = new_limiter(RATE)
        waits = await asyncio.gather(*(limiter.take("key", NOON) for _ in range(100)))
        assert waits.count(NO_WAIT) == RATE.amount

"""Counters in a real Redis: the contract, between nodes, and without it."""

from collections.abc import AsyncGenerator, Iterator
from itertools import count

import pytest

from tests import rule
from tests.redis import RedisServer
from watchword.adapters.limits_memory import MemoryRateLimiter
from watchword.adapters.redis_limits import RedisRateLimiter
from watchword.adapters.redis_link import RedisLink
from watchword.adapters.redis_url import parse_redis_url
from watchword.ports.ratelimit import NO_WAIT, Rate
from watchword.testing.ratelimit_contract import EACH, NOON, RATE, NewLimiter, RateLimiterContract, take_all

NUMBERS = count()


class NeverFull:
    """Stands for the counters of a process that has seen nothing: the shared ones alone decide."""

    async def take(self, key, now):
        return NO_WAIT

    async def wait(self, key, now):
        return NO_WAIT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def link(server: RedisServer) -> AsyncGenerator[RedisLink]:
    link = RedisLink(parse_redis_url(server.url))
    await link.open()
    yield link
    await link.close()


@rule("B10", "W3")
class TestSharedCountersAlone(RateLimiterContract):
    @pytest.fixture
    def new_limiter(self, link: RedisLink) -> NewLimiter:
        return lambda rate: RedisRateLimiter(link, f"alone-{next(NUMBERS)}", rate, NeverFull())


@rule("B10", "W3")
class TestRedisRateLimiter(RateLimiterContract):
    @pytest.fixture
    def new_limiter(self, link: RedisLink) -> NewLimiter:
        return lambda rate: RedisRateLimiter(link, f"limit-{next(NUMBERS)}", rate, MemoryRateLimiter(rate))

    def two(self, link: RedisLink, rate: Rate = RATE) -> list[RedisRateLimiter]:
        name = f"shared-{next(NUMBERS)}"
        return [RedisRateLimiter(link, name, rate, MemoryRateLimiter(rate)) for _ in range(2)]

    async def test_nodes_share_the_amount(self, link: RedisLink) -> None:
        first, second = self.two(link)
        for _ in range(6):
            assert await first.take("key", NOON) == NO_WAIT
        assert await take_all(second, "key", NOON) == RATE.amount - 6
        assert await second.wait("key", NOON) == EACH
        assert await first.take("key", NOON) == EACH

    async def test_what_is_counted_is_forgotten_when_it_has_drained(self, server: RedisServer, link: RedisLink) -> None:
        limiter, _ = self.two(link)
        server.ask("FLUSHALL")
        await take_all(limiter, "key", NOON)
        (key,) = [line for line in server.ask("KEYS", "*").split(b"\r\n") if line.startswith(b"watchword:limit:")]
        assert await link.connection.ask("PTTL", key) <= 61_000

    @rule("O7", "B8", "KF-121")
    async def test_a_server_that_takes_nothing_leaves_each_to_itself(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        first, second = self.two(link)
        server.config("maxmemory", "1mb")
        try:
            assert await take_all(first, "key", NOON) == RATE.amount
            assert await first.take("key", NOON) == EACH
            assert await take_all(second, "key", NOON) == RATE.amount
        finally:
            server.config("maxmemory", "0")

    @rule("O7", "B8", "KF-121")
    async def test_without_the_server_each_counts_for_itself_until_it_is_back(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        first, second = self.two(link)
        await take_all(first, "key", NOON)
        await link.close()
        assert await take_all(second, "key", NOON) == RATE.amount
        assert await first.take("key", NOON) == EACH
        assert await first.wait("key", NOON) == EACH

"""The memory in a real Redis."""

from collections.abc import AsyncGenerator, Iterator
from itertools import count

import pytest

from tests import rule
from tests.redis import RedisServer, with_old_marker
from watchword.adapters.redis_link import RedisLink
from watchword.adapters.redis_replay import RedisReplay
from watchword.adapters.redis_url import parse_redis_url
from watchword.clock import system_clock
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import OpenReplay, ReplayContract

NAMES = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@rule("DR-6", "KF-45", "W3")
class TestRedisReplay(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock(system_clock())

    @pytest.fixture
    async def open_replay(self, clock: FrozenClock, server: RedisServer) -> AsyncGenerator[OpenReplay]:
        name, links = f"issuer-{next(NAMES)}", []
        await with_old_marker(server.url, name)

        async def one_more() -> RedisReplay:
            links.append(RedisLink(parse_redis_url(server.url)))
            await links[-1].open()
            return await RedisReplay.open(links[-1], name=name, clock=clock)

        yield one_more
        for link in links:
            await link.close()

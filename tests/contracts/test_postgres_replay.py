"""The memory in a real PostgreSQL."""

from collections.abc import AsyncGenerator

import pytest

from tests import rule
from tests.adapters.test_postgres_replay import database_of_old
from watchword.adapters.postgres_replay import PostgresReplay
from watchword.clock import system_clock
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import OpenReplay, ReplayContract


@rule("DR-6", "KF-45", "W3")
class TestPostgresReplay(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock(system_clock())

    @pytest.fixture
    async def open_replay(self, clock: FrozenClock) -> AsyncGenerator[OpenReplay]:
        url, opened = await database_of_old(), []

        async def one_more() -> PostgresReplay:
            opened.append(await PostgresReplay.open(url, clock=clock))
            return opened[-1]

        yield one_more
        for replay in opened:
            await replay.close()

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest

from tests import rule
from watchword.adapters.sqlite_replay import SqliteReplay
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import OpenReplay, ReplayContract


@rule("DR-6", "KF-45", "W3")
class TestSqliteReplay(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock()

    @pytest.fixture
    async def open_replay(self, clock: FrozenClock, tmp_path: Path) -> AsyncGenerator[OpenReplay]:
        opened = []

        async def one_more() -> SqliteReplay:
            opened.append(SqliteReplay.open(tmp_path / "replay.db", clock=clock))
            if len(opened) == 1:
                clock.advance(timedelta(minutes=2))
            return opened[-1]

        yield one_more
        for replay in opened:
            await replay.close()

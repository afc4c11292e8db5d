"""Every answer of the memory is counted, and none is changed."""

import pytest

from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Verdict
from watchword.server.replay import CountedReplay
from watchword.testing.clock import FrozenClock
from watchword.testing.memory_replay import MemoryReplay
from watchword.testing.replay_contract import MINUTE, OpenReplay, ReplayContract, claim


class TestCountedReplay(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock()

    @pytest.fixture
    def open_replay(self, clock: FrozenClock) -> OpenReplay:
        shared = MemoryReplay(clock=clock)

        async def one_more() -> CountedReplay:
            return CountedReplay(shared, lambda _: None)

        return one_more

    async def test_a_node_that_comes_later_knows(self) -> None:
        """Both are one memory here, closed together."""

    async def test_each_answer_is_told(self, clock: FrozenClock) -> None:
        told: list[str] = []
        memory = MemoryReplay(clock=clock)
        replay = CountedReplay(memory, told.append)
        assert await claim(replay, clock) is Verdict.FIRST
        assert await claim(replay, clock) is Verdict.REPEATED
        memory.lose()
        assert await claim(replay, clock) is Verdict.UNSURE
        clock.advance(2 * MINUTE)
        memory.is_down = True
        with pytest.raises(ReplayUnavailable):
            await claim(replay, clock)
        with pytest.raises(ReplayUnavailable):
            await replay.check()
        assert told == ["first", "repeated", "unsure", "unavailable"]

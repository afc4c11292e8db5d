import pytest

from tests import rule
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import NoReplay, Verdict
from watchword.testing.clock import FrozenClock
from watchword.testing.memory_replay import MemoryReplay
from watchword.testing.replay_contract import MINUTE, SECOND, OpenReplay, ReplayContract, claim, is_accepted


class Handle:
    """One more way to the same memory, closed by itself."""

    def __init__(self, replay: MemoryReplay) -> None:
        self._replay = replay
        self._is_closed = False

    async def claim(self, namespace, identifier, *, since, until):
        await self.check()
        return await self._replay.claim(namespace, identifier, since=since, until=until)

    async def check(self) -> None:
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")

    async def close(self) -> None:
        self._is_closed = True


class TestMemoryReplay(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock()

    @pytest.fixture
    def open_replay(self, clock: FrozenClock) -> OpenReplay:
        shared = MemoryReplay(clock=clock)

        async def one_more() -> Handle:
            return Handle(shared)

        return one_more


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@rule("KF-43")
@pytest.mark.anyio
async def test_a_full_memory_accepts_nothing_and_forgets_nothing() -> None:
    clock = FrozenClock()
    replay = MemoryReplay(clock=clock, capacity=3)
    for name in ("a", "b", "c"):
        assert await claim(replay, clock, name) is Verdict.FIRST
    with pytest.raises(ReplayUnavailable, match=r"replay\.full"):
        await claim(replay, clock, "d")
    assert await claim(replay, clock, "a") is Verdict.REPEATED
    clock.advance(MINUTE + SECOND)
    assert await claim(replay, clock, "d") is Verdict.FIRST
    assert len(replay) == 1


@pytest.mark.anyio
async def test_what_began_before_it_was_lost_is_not_accepted() -> None:
    clock = FrozenClock()
    replay = MemoryReplay(clock=clock)
    replay.lose()
    assert await claim(replay, clock) is Verdict.UNSURE
    clock.advance(2 * SECOND)
    assert await claim(replay, clock) is Verdict.FIRST


@pytest.mark.anyio
async def test_where_no_memory_is_open_nothing_is_accepted() -> None:
    replay = NoReplay()
    assert not await is_accepted(claim(replay, FrozenClock()))
    with pytest.raises(ReplayUnavailable):
        await replay.check()
    await replay.close()

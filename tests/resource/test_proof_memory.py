from datetime import timedelta

import pytest

from tests.contracts.test_memory_replay import Handle
from watchword.ports.replay import Verdict
from watchword.resource.proof_memory import ProofMemory
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import SECOND, OpenReplay, ReplayContract, claim


class TestProofMemory(ReplayContract):
    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock()

    @pytest.fixture
    def open_replay(self, clock: FrozenClock) -> OpenReplay:
        shared = ProofMemory(clock=clock)
        clock.advance(timedelta(minutes=2))

        async def one_more() -> Handle:
            return Handle(shared)  # type: ignore[arg-type]  # it claims, and that is all a handle asks for

        return one_more


@pytest.mark.anyio
async def test_what_began_before_it_is_not_accepted(anyio_backend: str) -> None:
    clock = FrozenClock()
    memory = ProofMemory(clock=clock)
    assert await claim(memory, clock) is Verdict.UNSURE
    clock.advance(2 * SECOND)
    assert await claim(memory, clock) is Verdict.FIRST
    memory.renew_after_fork()
    assert await claim(memory, clock, "other") is Verdict.UNSURE
    assert await claim(memory, clock) is Verdict.REPEATED


@pytest.mark.anyio
async def test_what_is_over_is_forgotten(anyio_backend: str) -> None:
    clock = FrozenClock()
    memory = ProofMemory(clock=clock)
    for number in range(300):
        clock.advance(2 * SECOND)
        assert await claim(memory, clock, str(number)) is Verdict.FIRST
    assert len(memory) < 40


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

"""What works once works for one request, however often that request is decided."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import rule
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Verdict
from watchword.server.entry import Peer, Request
from watchword.server.single_use import SingleUse
from watchword.testing.clock import FrozenClock
from watchword.testing.memory_replay import MemoryReplay

MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def memory(clock: FrozenClock) -> MemoryReplay:
    replay = MemoryReplay(clock=clock)
    clock.advance(MINUTE)
    return replay


def request(clock: FrozenClock) -> Request:
    return Request(
        id="1", method="POST", path="/", query=b"", headers=(), body=b"", peer=Peer("192.0.2.1"), received_at=clock()
    )


@rule("N1")
async def test_the_same_request_may_claim_again_and_no_other(clock: FrozenClock, memory: MemoryReplay) -> None:
    once, first, second = SingleUse(memory), request(clock), request(clock)
    times = {"since": clock(), "until": clock() + MINUTE}
    for _ in range(3):
        assert await once.claim(first, "assertion", "id", **times) is Verdict.FIRST
    assert await once.claim(second, "assertion", "id", **times) is Verdict.REPEATED
    assert await once.claim(second, "assertion", "id", **times) is Verdict.REPEATED
    assert await once.claim(second, "proof", "id", **times) is Verdict.FIRST
    assert await once.claim(first, "assertion", "other", **times) is Verdict.FIRST


async def test_what_was_not_granted_is_not_remembered(clock: FrozenClock, memory: MemoryReplay) -> None:
    once, first = SingleUse(memory), request(clock)
    times = {"since": clock(), "until": clock() + MINUTE}
    memory.is_down = True
    with pytest.raises(ReplayUnavailable):
        await once.claim(first, "assertion", "id", **times)
    memory.is_down = False
    memory.lose()
    assert await once.claim(first, "assertion", "id", **times) is Verdict.UNSURE
    assert await once.claim(first, "assertion", "id", **times) is Verdict.UNSURE

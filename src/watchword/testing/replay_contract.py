"""What every memory of presented ids must do. Subclass ``ReplayContract`` in a test module and give it two fixtures::

    class TestMyReplay(ReplayContract):
        @pytest.fixture
        def clock(self):
            return FrozenClock()

        @pytest.fixture
        async def open_replay(self, clock):
            ...  # yields an async function: each call opens one more node on the same memory, empty and older than a minute

The tests run on asyncio by the pytest plugin of anyio.
"""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Replay, Verdict
from watchword.testing.clock import FrozenClock

MINUTE: Final = timedelta(minutes=1)
SECOND: Final = timedelta(seconds=1)
PAIRS: Final = 200

OpenReplay = Callable[[], Awaitable[Replay]]

OTHERS: Final = (
    ("jti", ""),
    ("jti", "ID"),
    ("jti", "id "),
    ("jti", " id"),
    ("jti", "id\x00"),
    ("jti", "*"),
    ("jti", "i" * 10_000),
    ("jti", "\u5bc6"),
    ("jti", "\ud800"),
    ("JTI", "id"),
    ("", "id"),
    ("", "jtiid"),
    ("jtiid", ""),
    ("jt", "iid"),
    ("jti:id", ""),
)


async def claim(replay: Replay, clock: FrozenClock, identifier: str = "id", *, namespace: str = "jti") -> Verdict:
    """Claim for the minute that has begun a second ago."""
    now = clock()
    return await replay.claim(namespace, identifier, since=now - SECOND, until=now + MINUTE)


async def is_accepted(claimed: Awaitable[Verdict]) -> bool:
    """Tell whether it was claimed, and for the first time. Out of reach is a no."""
    try:
        return await claimed is Verdict.FIRST
    except ReplayUnavailable:
        return False


class ReplayContract:
    """Once, among all who share the memory, until it is over."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def replay(self, open_replay: OpenReplay) -> Replay:
        return await open_replay()

    async def test_the_first_claim_wins_and_no_other(self, replay: Replay, clock: FrozenClock) -> None:
        await replay.check()
        assert await claim(replay, clock) is Verdict.FIRST
        for _ in range(3):
            assert await claim(replay, clock) is Verdict.REPEATED

    @pytest.mark.parametrize(("namespace", "identifier"), OTHERS)
    async def test_ids_have_nothing_to_do_with_each_other(
        self, replay: Replay, clock: FrozenClock, namespace: str, identifier: str
    ) -> None:
        assert await claim(replay, clock) is Verdict.FIRST
        assert await claim(replay, clock, identifier, namespace=namespace) is Verdict.FIRST
        assert await claim(replay, clock, identifier, namespace=namespace) is Verdict.REPEATED

    async def test_it_is_kept_to_the_last_moment_of_its_time(self, replay: Replay, clock: FrozenClock) -> None:
        since, until = clock() - SECOND, clock() + 3 * SECOND
        assert await replay.claim("jti", "id", since=since, until=until) is Verdict.FIRST
        clock.advance(3 * SECOND)
        assert await replay.claim("jti", "id", since=since, until=until) is Verdict.REPEATED
        assert await replay.claim("jti", "another", since=since, until=until) is Verdict.FIRST

    async def test_nothing_is_accepted_before_its_time_or_after(self, replay: Replay, clock: FrozenClock) -> None:
        now, step = clock(), timedelta(milliseconds=2)
        assert await replay.claim("jti", "over", since=now - MINUTE, until=now - step) is Verdict.UNSURE
        assert await replay.claim("jti", "not yet", since=now + step, until=now + MINUTE) is Verdict.UNSURE

    @pytest.mark.parametrize("seconds", [61, 121, 3600, 864_000])
    async def test_what_is_over_is_never_accepted_again_whatever_the_clock_does(
        self, open_replay: OpenReplay, clock: FrozenClock, seconds: int
    ) -> None:
        """A memory that forgets what is over must not be asked about it by a clock that was set back."""
        first, second = await open_replay(), await open_replay()
        since, until = clock() - SECOND, clock() + MINUTE
        assert await first.claim("jti", "id", since=since, until=until) is Verdict.FIRST
        clock.advance(timedelta(seconds=seconds))
        for replay in (first, second):
            assert not await is_accepted(replay.claim("jti", "id", since=since, until=until))
            await is_accepted(claim(replay, clock, "another"))  # whatever it forgets, it may forget now
        clock.advance(-timedelta(seconds=seconds))
        for replay in (first, second):
            assert not await is_accepted(replay.claim("jti", "id", since=since, until=until))

    async def test_what_one_node_has_claimed_is_claimed_for_all(
        self, open_replay: OpenReplay, clock: FrozenClock
    ) -> None:
        nodes = [await open_replay() for _ in range(3)]
        assert await claim(nodes[0], clock) is Verdict.FIRST
        for node in nodes:
            assert await claim(node, clock) is Verdict.REPEATED

    async def test_tasks_that_claim_together_have_one_winner(self, replay: Replay, clock: FrozenClock) -> None:
        verdicts = await asyncio.gather(*(claim(replay, clock) for _ in range(64)))
        assert sorted(verdicts) == [Verdict.FIRST, *[Verdict.REPEATED] * 63]

    async def test_nodes_that_claim_together_have_one_winner(self, open_replay: OpenReplay, clock: FrozenClock) -> None:
        nodes = [await open_replay() for _ in range(4)]
        names = [f"id-{number}" for number in range(PAIRS)]
        told = await asyncio.gather(*(claim(node, clock, name) for name in names for node in nodes))
        winners = [told[start : start + 4].count(Verdict.FIRST) for start in range(0, len(told), 4)]
        assert winners == [1] * PAIRS

    async def test_who_leaves_disturbs_nobody(self, replay: Replay, clock: FrozenClock) -> None:
        tasks = [asyncio.ensure_future(claim(replay, clock, f"id-{number}")) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert told[1::2] == [Verdict.FIRST] * 10
        assert [await claim(replay, clock, f"id-{number}") for number in range(1, 20, 2)] == [Verdict.REPEATED] * 10
        for number in range(0, 20, 2):
            await claim(replay, clock, f"id-{number}")
            assert await claim(replay, clock, f"id-{number}") is Verdict.REPEATED

    async def test_a_node_that_comes_later_knows(self, open_replay: OpenReplay, clock: FrozenClock) -> None:
        first = await open_replay()
        assert await claim(first, clock) is Verdict.FIRST
        second = await open_replay()
        await first.close()
        assert await claim(second, clock) is Verdict.REPEATED

    async def test_what_is_closed_accepts_nothing(self, replay: Replay, clock: FrozenClock) -> None:
        await replay.close()
        await replay.close()
        with pytest.raises(ReplayUnavailable):
            await claim(replay, clock)
        with pytest.raises(ReplayUnavailable):
            await replay.check()

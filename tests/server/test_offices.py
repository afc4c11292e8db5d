"""Periodic work: by one node, as long as it holds the office, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tests import rule
from watchword.ports.cluster import InTerm
from watchword.server import offices
from watchword.server.offices import LEASE, UPKEEP, Attendance, Ending, Job, Term
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import make_event, make_node

pytestmark = pytest.mark.anyio

AT_ONCE = timedelta(0)
TURNS = 50


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Told:
    """What a node's witness was told, in order."""

    all: list[tuple[object, ...]] = field(default_factory=list)

    def saw(self, nodes: int) -> None:
        self.all.append(("saw", nodes))

    def missed(self, error: Exception) -> None:
        self.all.append(("missed", type(error).__name__))

    def took(self, office: str, term: int) -> None:
        self.all.append(("took", office, term))

    def lost(self, office: str, term: int) -> None:
        self.all.append(("lost", office, term))

    def ended(self, job: str, ending: Ending, error: Exception | None) -> None:
        self.all.append((job, str(ending), "" if error is None else type(error).__name__))

    def of(self, *kinds: str) -> list[tuple[object, ...]]:
        return [told for told in self.all if told[0] in kinds]


class Cluster:
    """Nodes on one store, with clocks of their own."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = FrozenClock()

    def node(self, name: str, *jobs: Job, clock: FrozenClock | None = None) -> tuple[Attendance, Told]:
        told = Told()
        clock = clock or self.clock
        return Attendance(self.store, make_node(name), jobs, clock=clock, witness=told), told

    async def holder(self) -> tuple[str, int]:
        (office,) = await self.store.offices()
        return office.holder, office.term

    @property
    def done_by(self) -> list[str]:
        return [event.actor for event in self.store.trail]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(TURNS):
        if is_so():
            return
        await asyncio.sleep(0)
    pytest.fail("it never became so")


async def some_turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def note(term: Term) -> None:
    await term.commit("done", action="test.note", details={"term": str(term.number)})


async def test_one_node_works_for_all(cluster: Cluster) -> None:
    (first, told), (second, also_told) = (cluster.node(name, Job("note", AT_ONCE, note)) for name in ("a", "b"))
    await first.beat()
    await second.beat()
    await until(lambda: len(cluster.done_by) > 3)
    assert set(cluster.done_by) == {"node:a"}
    assert told.of("took", "saw") == [("saw", 1), ("took", UPKEEP, 1)]
    assert also_told.all == [("saw", 2)]
    for node in (first, second):
        async with node.attend():
            pass


async def test_the_office_is_kept_by_renewing_it(cluster: Cluster) -> None:
    node, told = cluster.node("a")
    other, _ = cluster.node("b")
    for _ in range(5):
        await node.beat()
        await other.beat()
        assert await cluster.holder() == ("a", 1)
        cluster.clock.advance(LEASE / 3)
    assert told.of("took", "lost") == [("took", UPKEEP, 1)]


async def test_who_stops_gives_up_the_office_and_is_not_listed_any_more(cluster: Cluster) -> None:
    (first, told), (second, _) = (cluster.node(name, Job("note", AT_ONCE, note)) for name in ("a", "b"))
    async with first.attend():
        await until(lambda: told.of("note"))
        await second.beat()
        assert await cluster.holder() == ("a", 1)
    assert [node.id for node in await cluster.store.nodes()] == ["b"]
    assert told.all[-1] == ("lost", UPKEEP, 1)
    done = len(cluster.done_by)
    await some_turns()
    assert len(cluster.done_by) == done
    await second.beat()
    assert await cluster.holder() == ("b", 2)
    async with second.attend():
        pass


@rule("W5", "N4")
async def test_who_slept_through_the_end_of_its_term_can_do_nothing_any_more(cluster: Cluster) -> None:
    reached, awake = asyncio.Event(), asyncio.Event()

    async def sleep_in_the_middle(term: Term) -> None:
        reached.set()
        await awake.wait()
        await note(term)

    sleeper, told = cluster.node("a", Job("sleepy", AT_ONCE, sleep_in_the_middle))
    other, _ = cluster.node("b", Job("note", timedelta(hours=1), note))
    await sleeper.beat()
    await reached.wait()
    cluster.clock.advance(LEASE)
    await other.beat()
    assert await cluster.holder() == ("b", 2)
    awake.set()
    await until(lambda: told.of("sleepy"))
    assert told.of("sleepy") == [("sleepy", "fenced", "Conflict")]
    assert cluster.store.trail == []
    await some_turns()
    assert told.of("sleepy") == [("sleepy", "fenced", "Conflict")]
    await sleeper.beat()
    assert told.of("took", "lost") == [("took", UPKEEP, 1), ("lost", UPKEEP, 1)]
    async with AsyncExitStack() as stack:
        for node in (sleeper, other):
            await stack.enter_async_context(node.attend())


@rule("W5")
async def test_work_under_way_is_broken_off_when_the_office_is_lost(cluster: Cluster) -> None:
    reached = asyncio.Event()
    broken_off: list[bool] = []

    async def never_ends(_term: Term) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.append(True)

    node, told = cluster.node("a", Job("long", AT_ONCE, never_ends))
    await node.beat()
    await reached.wait()
    cluster.clock.advance(LEASE)
    assert await cluster.store.hold(UPKEEP, "b", now=cluster.clock(), until=cluster.clock() + LEASE) == 2
    await node.beat()
    assert (broken_off, told.all[-1]) == ([True], ("lost", UPKEEP, 1))


async def test_no_work_begins_after_the_end_of_the_lease(cluster: Cluster) -> None:
    node, told = cluster.node("a", Job("note", AT_ONCE, note))
    await node.beat()
    await until(lambda: told.of("note"))
    cluster.clock.advance(LEASE)
    await some_turns()
    done = len(cluster.done_by)
    await some_turns()
    assert len(cluster.done_by) == done
    await node.beat()
    await until(lambda: len(cluster.done_by) > done)
    assert told.of("took", "lost") == [("took", UPKEEP, 1), ("lost", UPKEEP, 1), ("took", UPKEEP, 2)]
    async with node.attend():
        pass


@pytest.mark.parametrize("error", [ValueError("secret"), OSError(), TimeoutError()])
async def test_a_job_that_fails_is_tried_again_and_ends_no_other(cluster: Cluster, error: Exception) -> None:
    async def fail(_term: Term) -> None:
        raise error

    node, told = cluster.node("a", Job("bad", AT_ONCE, fail), Job("good", AT_ONCE, note))
    await node.beat()
    await until(lambda: len(told.of("bad")) > 2 and len(told.of("good")) > 2)
    assert set(told.of("bad", "good")) == {("bad", "failed", type(error).__name__), ("good", "done", "")}
    async with node.attend():
        pass


@rule("O5")
async def test_a_store_out_of_reach_for_a_moment_takes_nothing_away(cluster: Cluster) -> None:
    node, told = cluster.node("a", Job("note", AT_ONCE, note))
    await node.beat()
    cluster.store.is_down = True
    cluster.clock.advance(LEASE - timedelta(seconds=1))
    await node.beat()
    cluster.store.is_down = False
    await node.beat()
    assert told.of("took", "lost", "missed") == [("took", UPKEEP, 1), ("missed", "StoreUnavailable")]
    async with node.attend():
        pass


@rule("O5")
async def test_a_store_out_of_reach_for_longer_than_the_lease_ends_the_work(cluster: Cluster) -> None:
    node, told = cluster.node("a", Job("note", AT_ONCE, note))
    await node.beat()
    cluster.store.is_down = True
    cluster.clock.advance(LEASE)
    await node.beat()
    assert told.all[-2:] == [("missed", "StoreUnavailable"), ("lost", UPKEEP, 1)]
    cluster.store.is_down = False
    await node.beat()
    assert told.all[-1] == ("took", UPKEEP, 2)
    async with node.attend():
        cluster.store.is_down = True
    assert told.all[-1] == ("missed", "StoreUnavailable")


@rule("W2")
async def test_a_node_whose_clock_is_wrong_does_no_harm(cluster: Cluster) -> None:
    ahead = FrozenClock(cluster.clock() + timedelta(hours=1))
    (node, told), (other, _) = cluster.node("a"), cluster.node("ahead", clock=ahead)
    await node.beat()
    await other.beat()
    await node.beat()
    assert await cluster.holder() == ("ahead", 2)
    assert told.of("took", "lost") == [("took", UPKEEP, 1), ("lost", UPKEEP, 1)]


async def test_nodes_beat_by_themselves(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offices, "BEAT", AT_ONCE)
    node, told = cluster.node("a")
    async with node.attend():
        await until(lambda: len(told.of("saw")) > 3)
    assert told.of("missed") == []


async def test_a_silent_node_is_not_counted(cluster: Cluster) -> None:
    node, told = cluster.node("a")
    await cluster.store.report(make_node("gone"))
    await node.beat()
    cluster.clock.advance(LEASE + timedelta(seconds=1))
    await node.beat()
    assert told.of("saw") == [("saw", 2), ("saw", 1)]


async def test_what_a_term_commits_says_who_did_it(cluster: Cluster) -> None:
    assert await cluster.store.hold(UPKEEP, "a", now=cluster.clock(), until=cluster.clock() + LEASE) == 1
    term = Term(cluster.store, cluster.clock, UPKEEP, 1, make_node("a"))
    await note(term)
    (event,) = cluster.store.trail
    assert (event.action, event.reason, event.actor, event.time) == ("test.note", "done", "node:a", cluster.clock())
    await cluster.store.commit(make_event(), [InTerm(UPKEEP, 1)])

"""Which nodes there are, how they stand, and what becomes of those that are heard of no more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from watchword.errors import Conflict
from watchword.ports.cluster import Node
from watchword.server.nodes import FORGET_AFTER, Forgetting, Standing, standings, summary
from watchword.server.offices import LEASE, UPKEEP, Term
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_node

pytestmark = pytest.mark.anyio

LATER = NOON + FORGET_AFTER + timedelta(seconds=1)
GONE = make_node("gone", name="host-1:8020")
PRESENT = replace(make_node("present", name="host-2:8020"), seen_at=LATER)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    for node in (GONE, PRESENT):
        await store.report(node)
    return store


async def term_of(store: MemoryStore, node: Node) -> Term:
    number = await store.hold(UPKEEP, node.id, now=LATER, until=LATER + LEASE)
    assert number is not None
    return Term(store, FrozenClock(LATER), UPKEEP, number, node)


async def test_every_node_is_shown_as_it_stands(store: MemoryStore) -> None:
    await term_of(store, PRESENT)
    assert await standings(store, now=LATER) == (
        Standing(GONE, (), is_silent=True),
        Standing(PRESENT, (UPKEEP,), is_silent=False),
    )
    assert await summary(store, now=LATER) == {"nodes": "1, 1 silent", "upkeep": "host-2:8020", "schema": "1"}


async def test_an_office_whose_lease_is_over_is_nobodys(store: MemoryStore) -> None:
    assert (await summary(store, now=NOON))["upkeep"] == "nobody"
    await term_of(store, PRESENT)
    assert await summary(store, now=LATER + LEASE) == {"nodes": "0, 2 silent", "upkeep": "nobody", "schema": "1"}


async def test_a_node_that_has_gone_without_a_word_is_forgotten_and_recorded(store: MemoryStore) -> None:
    term, forgetting = await term_of(store, PRESENT), Forgetting()
    await forgetting.work(term)
    assert store.trail == []
    await forgetting.work(term)
    assert list(await store.nodes()) == [PRESENT]
    (event,) = store.trail
    assert (event.action, event.reason, event.actor) == ("node.forget", "forgotten", "node:present")
    assert event.details == {"node_id": "gone", "name": "host-1:8020"}


async def test_a_node_that_is_heard_of_again_stays(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    term = await term_of(store, PRESENT)

    async def as_it_was() -> list[Node]:
        return [GONE]

    await store.report(replace(GONE, seen_at=LATER))
    monkeypatch.setattr(store, "nodes", as_it_was)
    forgetting = Forgetting()
    for _ in range(2):
        await forgetting.work(term)
    assert store.trail == []


@rule("K10")
async def test_a_node_whose_clock_is_far_behind_is_not_forgotten_while_it_reports(store: MemoryStore) -> None:
    term, forgetting = await term_of(store, PRESENT), Forgetting()
    for number in range(5):
        await store.report(replace(GONE, seen_at=GONE.seen_at + timedelta(milliseconds=number)))
        await forgetting.work(term)
    assert store.trail == []
    await forgetting.work(term)
    assert [event.details["node_id"] for event in store.trail] == ["gone"]


@rule("N4")
async def test_two_who_forget_have_one_effect(store: MemoryStore) -> None:
    late = await term_of(store, GONE)
    await store.resign(UPKEEP, GONE.id)
    term = await term_of(store, PRESENT)
    first, second = Forgetting(), Forgetting()
    for each in (first, second):
        await each.work(term)
    with pytest.raises(Conflict) as caught:
        await first.work(late)
    assert (caught.value.reason, store.trail) == ("office.term", [])
    for _ in range(2):
        await second.work(term)
    assert len(store.trail) == 1

"""The server's own view of what is revoked, where a cut-off lies, and what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests import rule
from watchword.errors import StoreUnavailable
from watchword.ports.store import LONGEST_LAG
from watchword.protocol.revocation import RevocationKind
from watchword.server.offices import BEAT, LEASE, Term
from watchword.server.revocations import LiveRevocations, cutoff_now, prune, revoke, until, whole_second
from watchword.testing.clock import FrozenClock
from watchword.testing.faults import FailingStore
from watchword.testing.memory import MemoryStore
from watchword.testing.records import make_event, make_node

SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.anyio

CLAIMS = {"client_id": "reader", "iat": 0}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SharedStore(MemoryStore):
    """One that several machines have: nobody can tell its epoch without waiting."""

    epoch_now = None  # type: ignore[assignment]  # what makes it one


async def commit(store: MemoryStore, *changes: object) -> None:
    await store.commit(make_event(), changes)  # type: ignore[arg-type]  # changes, whichever


def of_agent(clock: FrozenClock, target: str = "reader"):
    return revoke(RevocationKind.AGENT, target, cutoff=whole_second(clock()), now=clock())


async def test_a_revocation_shows_at_the_very_next_look():
    clock = FrozenClock()
    store = MemoryStore()
    live = LiveRevocations(store, clock)
    assert (await live.current()).hit(CLAIMS, "kid") is None
    await commit(store, of_agent(clock))
    assert (await live.current()).hit(CLAIMS, "kid") is RevocationKind.AGENT


async def test_more_than_a_page_is_read_to_its_end():
    clock = FrozenClock()
    store = MemoryStore()
    await commit(store, *(of_agent(clock, f"agent-{n}") for n in range(2500)))
    live = LiveRevocations(store, clock)
    assert len(await live.current()) == 2500
    await commit(store, of_agent(clock))
    assert len(await live.current()) == 2501


async def test_when_the_store_is_away_nobody_says_that_nothing_is_revoked():
    store = MemoryStore()
    failing = FailingStore(store)
    live = LiveRevocations(failing, FrozenClock())
    failing.arm(1)
    with pytest.raises(StoreUnavailable):
        await live.current()


@rule("R8")
@pytest.mark.parametrize("micros", [0, 1, 999_999])
async def test_a_cut_off_is_a_whole_second_and_never_behind_the_clock(micros):
    now = datetime.fromisoformat("2026-11-24T12:00:00Z").replace(microsecond=micros)
    cutoff = await cutoff_now(MemoryStore(), now)
    assert (cutoff.microsecond, cutoff >= now, cutoff - now < SECOND) == (0, True, True)


@rule("R8")
@pytest.mark.parametrize("ahead", [timedelta(0), 2 * SECOND, 20 * SECOND])
async def test_no_node_with_a_fast_clock_has_issued_anything_after_the_cut_off(ahead):
    """Its last report is up to a beat old: since then its clock has gone on."""
    now = FrozenClock()()
    store = SharedStore()
    await store.report(replace(make_node(), seen_at=now - BEAT + ahead))
    assert await cutoff_now(store, now) >= whole_second(now + ahead)


async def test_a_node_that_is_not_heard_of_any_more_holds_no_cut_off_back():
    now = FrozenClock()()
    store = SharedStore()
    await store.report(replace(make_node(), seen_at=now - LEASE))
    assert await cutoff_now(store, now) == whole_second(now)


async def test_what_can_hit_nothing_any_more_is_pruned_by_who_holds_the_office():
    clock = FrozenClock()
    store = MemoryStore()
    await commit(store, of_agent(clock, "old"))
    clock.advance(timedelta(hours=1))
    await commit(store, of_agent(clock, "new"))
    term = await in_office(store, clock)
    await prune(term)
    assert [one.target for one in await store.revocations(after=0, limit=9)] == ["old", "new"]
    clock.advance(timedelta(minutes=3))
    before = await store.epoch()
    await prune(term)
    await prune(term)
    assert [one.target for one in await store.revocations(after=0, limit=9)] == ["new"]
    assert await store.epoch() == before
    (event,) = await store.events(filters={"action": "revocation.prune"})
    assert b'"revocations":"1"' in event.payload


async def test_a_process_forgets_what_is_over_without_being_told():
    clock = FrozenClock()
    store = MemoryStore()
    live = LiveRevocations(store, clock)
    await commit(store, of_agent(clock))
    assert len(await live.current()) == 1
    clock.advance(until(clock()) - clock() + SECOND)
    assert len(await live.current()) == 0


def test_a_revocation_outlives_every_token_that_it_hits():
    now = FrozenClock()()
    longest = timedelta(hours=1) + timedelta(seconds=60)
    assert until(now) - now >= longest + LONGEST_LAG


async def in_office(store: MemoryStore, clock: FrozenClock):
    node = make_node()
    number = await store.hold("upkeep", node.id, now=clock(), until=clock() + timedelta(hours=9))
    assert number is not None
    return Term(store, clock, "upkeep", number, node)

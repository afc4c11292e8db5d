"""The schedule carried out: by one node in its term, whatever a clock says."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import Conflict
from watchword.ports.keys import KeyState
from watchword.ports.store import Create
from watchword.server.key_rotation import KeyRotation
from watchword.server.key_schedule import KeyTimes, begin
from watchword.server.offices import LEASE, UPKEEP, Term
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_event, make_node

pytestmark = pytest.mark.anyio

TIMES = KeyTimes()
SIGNER = FileSigner(MasterKey(bytes(range(32))))
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A store with a key that signs since noon, a clock, and a steady one that nobody can put back."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = FrozenClock(NOON)
        self.steady = 0.0

    async def open(self) -> World:
        key = begin(await SIGNER.generate("ES256", now=NOON), now=NOON)
        await self.store.commit(make_event(), [Create(key)])
        return self

    def rotation(self) -> KeyRotation:
        return KeyRotation(SIGNER, TIMES, steady=lambda: self.steady)

    async def term(self, node: str) -> Term:
        number = await self.store.hold(UPKEEP, node, now=self.clock(), until=self.clock() + LEASE)
        assert number is not None
        return Term(self.store, self.clock, UPKEEP, number, make_node(node))

    def wait(self, by: timedelta) -> None:
        self.clock.advance(by)
        self.steady += by.total_seconds()

    async def states(self) -> list[KeyState]:
        return [key.state for key in await self.store.signing_keys()]

    def told(self) -> list[tuple[str, str, str]]:
        return [(event.action, event.reason, event.actor) for event in self.store.trail[1:]]


@pytest.fixture
async def world() -> World:
    return await World().open()


@rule("K1", "TRAP-22")
async def test_a_key_is_published_activated_and_retired_each_in_its_time(world: World):
    rotation = world.rotation()
    steps = [
        (29 * DAY - SECOND, [KeyState.ACTIVE]),
        (SECOND, [KeyState.ACTIVE, KeyState.PUBLISHED]),
        (DAY - SECOND, [KeyState.ACTIVE, KeyState.PUBLISHED]),
        (SECOND, [KeyState.RETIRING, KeyState.ACTIVE]),
        (TIMES.linger - SECOND, [KeyState.RETIRING, KeyState.ACTIVE]),
        (SECOND, [KeyState.RETIRED, KeyState.ACTIVE]),
    ]
    for wait, states in steps:
        world.wait(wait)
        await rotation.work(await world.term("n1"))
        assert await world.states() == states
    assert world.told() == [
        ("key.publish", "scheduled", "node:n1"),
        ("key.rotate", "scheduled", "node:n1"),
        ("key.retire", "scheduled", "node:n1"),
    ]
    assert {event.kid for event in world.store.trail[1:]} == {key.kid for key in await world.store.signing_keys()}
    assert [bool(key.sealed) for key in await world.store.signing_keys()] == [False, True]


@rule("K6", "N4", "W5")
async def test_two_nodes_that_rotate_at_once_make_one_key(world: World):
    world.wait(29 * DAY)
    late = await world.term("n1")
    await world.store.resign(UPKEEP, "n1")
    term = await world.term("n2")
    with pytest.raises(Conflict) as caught:
        await world.rotation().work(late)
    assert (caught.value.reason, await world.states()) == ("office.term", [KeyState.ACTIVE])
    await asyncio.gather(world.rotation().work(term), world.rotation().work(term))
    assert await world.states() == [KeyState.ACTIVE, KeyState.PUBLISHED]


@rule("K7")
async def test_what_somebody_else_has_done_meanwhile_is_left_at_that(world: World, monkeypatch: pytest.MonkeyPatch):
    world.wait(29 * DAY)
    before = await world.store.signing_keys()
    await world.rotation().work(await world.term("n1"))

    async def as_it_was() -> object:
        return before

    monkeypatch.setattr(world.store, "signing_keys", as_it_was)
    await world.rotation().work(await world.term("n1"))
    monkeypatch.undo()
    assert await world.states() == [KeyState.ACTIVE, KeyState.PUBLISHED]
    assert len(world.told()) == 1


@rule("K10")
async def test_a_clock_that_jumps_ahead_hurries_nothing(world: World):
    rotation = world.rotation()
    world.wait(29 * DAY)
    await rotation.work(await world.term("n1"))
    world.clock.advance(9 * DAY)
    await rotation.work(await world.term("n1"))
    assert await world.states() == [KeyState.ACTIVE, KeyState.PUBLISHED]
    world.steady += TIMES.notice.total_seconds()
    await rotation.work(await world.term("n1"))
    assert await world.states() == [KeyState.RETIRING, KeyState.ACTIVE]
    world.clock.advance(DAY)
    await rotation.work(await world.term("n1"))
    assert await world.states() == [KeyState.RETIRING, KeyState.ACTIVE]


@rule("K10")
async def test_a_clock_that_is_put_back_in_the_middle_makes_no_gap(world: World):
    rotation = world.rotation()
    world.wait(29 * DAY)
    await rotation.work(await world.term("n1"))
    world.wait(DAY - HOUR / 2)
    world.clock.advance(-HOUR)
    await world.store.resign(UPKEEP, "n1")
    for _ in range(4):
        world.wait(HOUR / 2 - SECOND)
        await rotation.work(await world.term("n1"))
    assert await world.states() == [KeyState.RETIRING, KeyState.ACTIVE]


async def test_nothing_happens_before_its_time(world: World):
    await world.rotation().work(await world.term("n1"))
    assert await world.states() == [KeyState.ACTIVE]
    assert world.told() == []

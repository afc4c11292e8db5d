"""How the keys stand: since when each signs, what comes next, what nobody has done."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.ports.keys import KeyState
from watchword.ports.store import Create
from watchword.server import key_watch
from watchword.server.key_schedule import KeyTimes
from watchword.server.key_watch import OVERDUE, KeyStanding, look, watching_keys
from watchword.testing.clock import FrozenClock
from watchword.testing.faults import FailingStore
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_event, make_signing_key

pytestmark = pytest.mark.anyio

TIMES = KeyTimes()
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ACTIVE = replace(make_signing_key("active"), state=KeyState.ACTIVE, published_at=NOON, activated_at=NOON)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.commit(make_event(), [Create(ACTIVE)])
    return store


async def test_ages_and_waits_are_those_of_each_algorithm(store):
    standing = await look(store, TIMES, now=NOON + DAY)
    assert standing.ages == {"ES256": DAY}
    assert standing.waits == {"ES256": 28 * DAY}
    assert standing.overdue(TIMES) == ()


async def test_a_step_is_overdue_when_a_node_that_had_just_begun_would_have_taken_it(store):
    due = NOON + 29 * DAY
    assert (await look(store, TIMES, now=due + OVERDUE)).overdue(TIMES) == ()
    assert len((await look(store, TIMES, now=due + OVERDUE + SECOND)).overdue(TIMES)) == 1
    await store.commit(make_event(), [Create(replace(ACTIVE, kid="old", state=KeyState.RETIRING, retiring_at=NOON))])
    due = NOON + TIMES.linger + TIMES.linger
    assert (await look(store, TIMES, now=due + OVERDUE)).overdue(TIMES) == ()
    assert len((await look(store, TIMES, now=due + OVERDUE + SECOND)).overdue(TIMES)) == 1


async def test_the_keys_are_looked_at_while_the_block_lasts(store, monkeypatch):
    monkeypatch.setattr(key_watch, "LOOK", timedelta(0))
    seen: list[KeyStanding] = []

    class Witness:
        def saw_keys(self, standing, overdue) -> None:
            seen.append(standing)

    faulty = FailingStore(store)
    faulty.arm(1)
    async with watching_keys(faulty, TIMES, clock=FrozenClock(NOON), witness=Witness()):
        async with asyncio.timeout(10):
            while len(seen) < 2:
                await asyncio.sleep(0)
    assert seen[0].keys == (ACTIVE,)
    number = len(seen)
    await asyncio.sleep(0.01)
    assert len(seen) == number

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.errors import StoreUnavailable
from watchword.ports.store import Create, TouchCredential
from watchword.server.uses import Uses, write, written
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_agent, make_credential, make_event

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
HOME = "192.0.2.7"
KNOWN = replace(make_credential(), last_used_at=NOON, last_used_network="192.0.2.0/24")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    return store


async def stored(store: MemoryStore) -> tuple[int, object, str]:
    (one,) = await store.credentials("agent-1") or ()
    return one.uses, one.last_used_at, one.last_used_network


def test_the_first_use_is_noted_at_once() -> None:
    assert Uses().count(make_credential(), NOON, HOME).changes == (
        TouchCredential("credential-1", NOON, "192.0.2.0/24", 1),
    )


def test_uses_within_the_hour_are_counted_and_go_along_with_the_next_note() -> None:
    uses = Uses()
    for minute in range(1, 60):
        assert uses.count(KNOWN, NOON + minute * MINUTE, HOME).changes == ()
    (note,) = uses.count(KNOWN, NOON + 60 * MINUTE, HOME).changes
    assert note == TouchCredential("credential-1", NOON + 60 * MINUTE, "192.0.2.0/24", 60)
    assert uses.take() == []


def test_a_use_from_elsewhere_is_noted_at_once() -> None:
    (note,) = Uses().count(KNOWN, NOON + MINUTE, "198.51.100.1").changes
    assert note.network == "198.51.100.0/24"


def test_one_that_a_silence_is_to_end_is_watched_more_closely() -> None:
    ending = replace(KNOWN, silence=8 * MINUTE)
    uses = Uses()
    assert uses.count(ending, NOON + MINUTE, HOME).changes == ()
    assert [note.uses for note in uses.count(ending, NOON + 2 * MINUTE, HOME).changes] == [2]


def test_what_did_not_become_durable_was_no_use() -> None:
    uses = Uses()
    uses.count(KNOWN, NOON + MINUTE, HOME)
    uses.count(KNOWN, NOON + 2 * MINUTE, HOME).undo()
    uses.count(KNOWN, NOON + 60 * MINUTE, HOME).undo()
    assert [(note.credential_id, note.uses) for note in uses.take()] == [("credential-1", 1)]


def test_a_use_that_was_undone_leaves_nothing() -> None:
    uses = Uses()
    uses.count(KNOWN, NOON + MINUTE, HOME).undo()
    uses.count(make_credential(), NOON, HOME).undo()
    assert uses.take() == []


def test_of_more_credentials_than_are_counted_each_use_is_written() -> None:
    uses = Uses(capacity=1)
    uses.count(KNOWN, NOON + MINUTE, HOME)
    assert uses.count(KNOWN, NOON + MINUTE, HOME).changes == ()
    assert uses.count(replace(KNOWN, id="another"), NOON + MINUTE, HOME).changes


async def test_what_is_left_is_written_when_the_process_stops(store: MemoryStore) -> None:
    uses, clock = Uses(), FrozenClock()
    async with written(uses, store, clock, "node-1"):
        for minute in (1, 2, 3):
            uses.count(KNOWN, NOON + minute * MINUTE, HOME)
        assert await stored(store) == (0, None, "")
    assert await stored(store) == (3, NOON + 3 * MINUTE, "192.0.2.0/24")
    event = store.trail[-1]
    assert (event.action, event.reason, dict(event.details)) == (
        "credential.count",
        "counted",
        {"credentials": "1", "uses": "3"},
    )


async def test_nothing_counted_is_nothing_written(store: MemoryStore) -> None:
    events = len(store.trail)
    async with written(Uses(), store, FrozenClock(), "node-1"):
        pass
    assert len(store.trail) == events


async def test_what_cannot_be_written_is_counted_on(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("store.busy")

    uses = Uses()
    uses.count(KNOWN, NOON + MINUTE, HOME)
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", fail)
        await write(uses, store, FrozenClock(), "node-1")
    await write(uses, store, FrozenClock(), "node-1")
    assert await stored(store) == (1, NOON + MINUTE, "192.0.2.0/24")

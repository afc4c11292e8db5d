from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.errors import Conflict
from watchword.ports.agents import Credential
from watchword.ports.cluster import Node
from watchword.ports.store import Create, RetireCredential, RevokeCredential, TouchCredential
from watchword.server.credential_ends import end_silent, exactness, is_over
from watchword.server.offices import LEASE, UPKEEP, Term
from watchword.server.uses import Uses
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_agent, make_credential, make_event

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NODE = Node(id="node-1", name="one", version="0", started_at=NOON, seen_at=NOON, schema=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Countdown:
    """Credential ``old`` was replaced by ``new`` at noon, ends in a day, and after an hour's silence."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FrozenClock(NOON)

    async def begin(self) -> Term:
        made = [replace(make_credential(name), created_at=NOON, last_used_at=None) for name in ("old", "new")]
        retired = RetireCredential("agent-1", "old", NOON + 24 * HOUR, "new", HOUR)
        await self.store.commit(make_event(), [Create(make_agent()), *map(Create, made), retired])
        return await self.term()

    async def term(self) -> Term:
        number = await self.store.hold(UPKEEP, NODE.id, now=self.clock(), until=self.clock() + LEASE)
        assert number is not None
        return Term(self.store, self.clock, UPKEEP, number, NODE)

    async def use(self, name: str) -> None:
        await self.store.commit(make_event(), [TouchCredential(name, self.clock(), "192.0.2.0/24")])

    async def old(self) -> Credential:
        return next(one for one in await self.store.credentials("agent-1") or () if one.id == "old")


async def test_it_ends_once_it_is_silent_and_the_new_one_is_used() -> None:
    countdown = Countdown()
    term = await countdown.begin()
    await countdown.use("old")
    await countdown.use("new")
    countdown.clock.advance(75 * MINUTE - timedelta(seconds=1))
    await end_silent(term)
    assert (await countdown.old()).is_usable(countdown.clock())
    countdown.clock.advance(timedelta(seconds=1))
    await end_silent(term)
    old = await countdown.old()
    assert (old.expires_at, old.is_usable(countdown.clock())) == (countdown.clock(), False)
    event = countdown.store.trail[-1]
    assert (event.action, event.reason, event.credential_id, event.client_id) == (
        "credential.end",
        "silent",
        "old",
        "agent-1",
    )
    events = len(countdown.store.trail)
    await end_silent(term)
    assert len(countdown.store.trail) == events, "once"


async def test_it_does_not_end_early_while_nobody_uses_the_new_one() -> None:
    countdown = Countdown()
    term = await countdown.begin()
    countdown.clock.advance(23 * HOUR)
    await end_silent(term)
    assert (await countdown.old()).is_usable(countdown.clock())


async def test_every_use_begins_the_silence_anew() -> None:
    countdown = Countdown()
    term = await countdown.begin()
    await countdown.use("new")
    for _ in range(10):
        countdown.clock.advance(HOUR)
        await countdown.use("old")
        await end_silent(term)
        assert (await countdown.old()).is_usable(countdown.clock())


async def test_a_node_whose_term_is_over_ends_nothing() -> None:
    countdown = Countdown()
    late = await countdown.begin()
    await countdown.use("new")
    countdown.clock.advance(2 * HOUR)
    await countdown.store.hold(UPKEEP, "node-2", now=countdown.clock(), until=countdown.clock() + LEASE)
    with pytest.raises(Conflict) as refused:
        await end_silent(late)
    assert refused.value.reason == "office.term"
    assert (await countdown.old()).is_usable(countdown.clock())


async def test_one_that_was_revoked_meanwhile_is_left_alone() -> None:
    countdown = Countdown()
    term = await countdown.begin()
    await countdown.use("new")
    await countdown.store.commit(make_event(), [RevokeCredential("agent-1", "old")])
    countdown.clock.advance(2 * HOUR)
    events = len(countdown.store.trail)
    await end_silent(term)
    assert len(countdown.store.trail) == events


@rule("TRAP-22")
@given(
    silence=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=3)),
    gaps=st.lists(st.floats(min_value=0.001, max_value=1.5), min_size=1, max_size=30),
)
def test_a_credential_that_is_in_use_is_never_ended(silence: timedelta, gaps: list[float]) -> None:
    """Whenever it was used after the rotation, written or only counted: for a whole silence after it, it goes on."""
    old = replace(make_credential("old"), created_at=NOON - 99 * HOUR, last_used_at=NOON - HOUR, silence=silence)
    old = replace(old, last_used_network="192.0.2.0/24", expires_at=NOON + 1000 * HOUR)
    new = replace(make_credential("new"), created_at=NOON, last_used_at=NOON)
    uses, now = Uses(), NOON
    for gap in gaps:
        now += silence * gap
        for note in uses.count(old, now, "192.0.2.7").changes:
            old = replace(old, last_used_at=note.at)
        almost: datetime = now + silence - timedelta(microseconds=1)
        assert not is_over(old, new, almost)
    assert is_over(old, new, now + silence + exactness(old))

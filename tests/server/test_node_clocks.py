"""What several clocks show: the least is judged by, the most is noted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from watchword.errors import Conflict
from watchword.server.node_clocks import Clocks, compare_clocks
from watchword.server.offices import BEAT, LEASE
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_node

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def clocks_beside(*seen_at) -> Clocks:
    store = MemoryStore()
    for number, moment in enumerate(seen_at):
        await store.report(replace(make_node(f"node-{number}", name=f"host-{number}:8020"), seen_at=moment))
    return await compare_clocks(store, now=NOON)


async def test_nodes_that_were_heard_of_lately_agree():
    assert await clocks_beside() == Clocks(NOON, NOON)
    assert await clocks_beside(NOON, NOON - BEAT, NOON - LEASE) == Clocks(NOON, NOON)


@rule("K10")
async def test_the_slowest_judges_and_the_fastest_notes():
    clocks = await clocks_beside(NOON + HOUR, NOON - HOUR, NOON - 2 * HOUR)
    assert (clocks.earliest, clocks.latest) == (NOON - 2 * HOUR + LEASE, NOON + HOUR)
    assert clocks.slowest is not None
    assert clocks.slowest.name == "host-2:8020"


async def test_who_is_behind_is_named_where_it_made_something_come_too_early():
    clocks = await clocks_beside(NOON - HOUR)
    with pytest.raises(Conflict) as caught, clocks.explaining():
        raise Conflict("key.too_early", detail="Not before then.")
    assert caught.value.reason == "key.too_early"
    assert caught.value.detail.startswith(
        "Not before then. The clock of the node host-0:8020 showed 2026-11-24T11:00:00Z last:"
    )
    with pytest.raises(Conflict) as caught, clocks.explaining():
        raise Conflict("key.state", detail="Else nothing is added.")
    assert caught.value.detail == "Else nothing is added."

from __future__ import annotations

from dataclasses import replace

import pytest

from watchword.errors import StoreUnavailable
from watchword.ports.agents import AgentState, Registration
from watchword.ports.store import Basis, Create, Replace
from watchword.server.registrations import Registrations
from watchword.testing.memory import MemoryStore
from watchword.testing.records import make_agent, make_credential, make_event, make_permission, make_resource

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class CountingStore(MemoryStore):
    """Counts how often a registration is read; can be told to be out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.is_down = False

    async def registration(self, client_id: str) -> Registration | None:
        self.reads += 1
        return await super().registration(client_id)

    async def epoch(self) -> int:
        if self.is_down:
            raise StoreUnavailable("store.io")
        return await super().epoch()


@pytest.fixture
async def store() -> CountingStore:
    store = CountingStore()
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    await store.commit(make_event(), [Create(make_resource()), Create(make_permission())])
    return store


async def test_a_registration_is_what_the_store_holds(store: CountingStore) -> None:
    registration = await store.registration("agent-1")
    assert registration is not None
    assert await Registrations(store).find("agent-1") == Basis(await store.epoch(), registration)


async def test_it_is_read_once_while_nothing_changes(store: CountingStore) -> None:
    registrations = Registrations(store)
    first = await registrations.find("agent-1")
    await store.commit(make_event())
    assert (await registrations.find("agent-1"), store.reads) == (first, 1)


async def test_a_change_shows_at_the_next_request(store: CountingStore) -> None:
    registrations = Registrations(store)
    await registrations.find("agent-1")
    await store.commit(make_event(), [Replace(replace(make_agent(), state=AgentState.SUSPENDED, version=2))])
    found = await registrations.find("agent-1")
    assert found is not None
    assert found.registration.agent.state is AgentState.SUSPENDED


async def test_a_client_registered_meanwhile_is_found(store: CountingStore) -> None:
    registrations = Registrations(store)
    assert await registrations.find("agent-2") is None
    await store.commit(make_event(), [Create(make_agent("agent-2"))])
    assert await registrations.find("agent-2") is not None


async def test_a_client_that_is_not_registered_takes_no_place(store: CountingStore) -> None:
    registrations = Registrations(store, capacity=1)
    for client_id in ("agent-1", "nobody", "agent-1"):
        await registrations.find(client_id)
    assert store.reads == 2


async def test_the_one_that_has_not_asked_for_longest_leaves_first(store: CountingStore) -> None:
    await store.commit(make_event(), [Create(make_agent(name)) for name in ("a", "b", "c")])
    registrations = Registrations(store, capacity=2)
    for client_id in ("a", "b", "a", "c", "a", "b"):
        await registrations.find(client_id)
    assert store.reads == 4


async def test_without_capacity_nothing_is_kept(store: CountingStore) -> None:
    registrations = Registrations(store, capacity=0)
    assert await registrations.find("agent-1") == await registrations.find("agent-1")
    assert store.reads == 2


async def test_a_kept_registration_does_not_serve_while_the_store_is_out_of_reach(store: CountingStore) -> None:
    registrations = Registrations(store)
    await registrations.find("agent-1")
    store.is_down = True
    with pytest.raises(StoreUnavailable):
        await registrations.find("agent-1")
    store.is_down = False
    assert await registrations.find("agent-1") is not None

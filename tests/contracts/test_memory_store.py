import pytest

from watchword.errors import StoreUnavailable
from watchword.ports.store import Create
from watchword.testing.memory import MemoryStore
from watchword.testing.records import make_agent, make_event
from watchword.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    async def test_it_fails_as_often_as_told(self, store: MemoryStore) -> None:
        store.fail_next(commits=1, reads=2)
        with pytest.raises(StoreUnavailable):
            await store.check()
        with pytest.raises(StoreUnavailable):
            await store.commit(make_event(), [Create(make_agent())])
        for read in (store.epoch(), store.find_agent("agent-1")):
            with pytest.raises(StoreUnavailable):
                await read
        await store.check()
        assert await store.find_agent("agent-1") is None
        assert store.trail == []

    async def test_it_is_down_until_it_is_up(self, store: MemoryStore) -> None:
        event = make_event()
        store.is_down = True
        for refused in (store.commit(event), store.registration("agent-1"), store.events(), store.check()):
            with pytest.raises(StoreUnavailable):
                await refused
        store.is_down = False
        await store.commit(event)
        assert store.trail == [event]

"""Every token has a place of its own, and its place tells nothing."""

import asyncio
import statistics

import pytest

from tests import rule
from watchword.errors import StoreUnavailable
from watchword.server.status_places import BLOCK, StatusPlaces
from watchword.testing.memory import MemoryStore


@rule("TSL-02")
def test_no_place_is_given_twice_by_any_process():
    async def take() -> list[int]:
        store = MemoryStore()
        processes = [StatusPlaces(store) for _ in range(3)]
        found = [await one.take() for one in processes for _ in range(BLOCK + 10)]
        restarted = StatusPlaces(store)
        return [*found, *await asyncio.gather(*(restarted.take() for _ in range(50)))]

    places = asyncio.run(take())
    assert len(set(places)) == len(places)


@rule("TSL-02")
def test_the_order_in_a_block_tells_nothing_of_when():
    async def take() -> list[int]:
        places = StatusPlaces(MemoryStore())
        return [await places.take() for _ in range(BLOCK // 2)]

    found = asyncio.run(take())
    assert set(found) < set(range(BLOCK))
    assert abs(statistics.correlation(range(len(found)), found)) < 0.1


def test_a_block_is_taken_before_the_last_one_is_used_up():
    async def take() -> int:
        store = MemoryStore()
        places = StatusPlaces(store)
        for _ in range(BLOCK - 1):
            await places.take()
        await asyncio.sleep(0)
        store.is_down = True
        for _ in range(BLOCK // 2):
            await places.take()
        return len([await places.take() for _ in range(10)])

    assert asyncio.run(take()) == 10


def test_without_a_place_there_is_no_token_and_with_the_store_back_there_is():
    async def take() -> str:
        store = MemoryStore()
        places = StatusPlaces(store)
        store.is_down = True
        with pytest.raises(StoreUnavailable) as refused:
            await places.take()
        store.is_down = False
        assert 0 <= await places.take() < BLOCK
        return refused.value.reason

    assert asyncio.run(take()) == "store.memory"

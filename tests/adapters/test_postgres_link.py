"""What a connection that comes back by itself keeps of its failures: nothing but why the last attempt failed."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests import rule
from watchword.adapters.postgres_link import Connection, Link
from watchword.errors import StoreUnavailable
from watchword.testing.process import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ask(db: Connection) -> object:
    return await db.fetchval("SELECT 1")


@rule("O6")
async def test_a_database_that_is_long_away_costs_no_memory() -> None:
    link = Link(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    for _ in range(20):
        with pytest.raises(StoreUnavailable) as caught:
            await link.probe(ask)
        assert caught.value.reason == "store.unreachable"
    del caught
    await asyncio.sleep(0)
    gc.collect()
    assert sum(type(one) is StoreUnavailable for one in gc.get_objects()) < 10
    await link.close()

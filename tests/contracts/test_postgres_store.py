"""The store in PostgreSQL: the contract, on a real server."""

from collections.abc import AsyncGenerator

import pytest

from tests import rule
from tests.postgres import new_database
from watchword.adapters.postgres import PostgresStore
from watchword.testing.clock import FrozenClock
from watchword.testing.store_contract import StoreContract


@rule("U1", "U3", "U7", "U8", "A18", "KF-84", "DR-9", "N10")
class TestPostgresStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncGenerator[PostgresStore]:
        store = await PostgresStore.create(new_database(), clock=FrozenClock())
        yield store
        await store.close()

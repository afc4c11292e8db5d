from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests import rule
from watchword.adapters.sqlite import SqliteStore
from watchword.testing.clock import FrozenClock
from watchword.testing.store_contract import StoreContract


@rule("U1", "U3", "U7", "U8", "A18", "KF-84", "DR-9", "N10")
class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncGenerator[SqliteStore]:
        store = SqliteStore.create(tmp_path / "data" / "watchword.db", clock=FrozenClock())
        yield store
        await store.close()

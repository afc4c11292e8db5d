"""Offices where several have the same store open, each with connections of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from tests import rule
from tests.postgres import new_database
from watchword.adapters import sqlite_schema
from watchword.adapters.postgres import PostgresStore, with_database
from watchword.adapters.postgres_link import Connection
from watchword.adapters.postgres_migrations import MIGRATIONS
from watchword.adapters.postgres_schema import create
from watchword.adapters.postgres_upgrade import upgrade
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_migrations import MIGRATIONS as MIGRATIONS_OF_SQLITE
from watchword.adapters.sqlite_upgrade import upgrade_file
from watchword.errors import Conflict
from watchword.ports.cluster import InTerm
from watchword.ports.store import Store
from watchword.testing.clock import FrozenClock
from watchword.testing.records import NOON, make_event, make_node

pytestmark = pytest.mark.anyio

CLOCK = FrozenClock()
LEASE = timedelta(seconds=15)
ROUNDS = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[list[Store]]:
    """The same store, opened four times."""
    async with AsyncExitStack() as stack:
        opened: list[Store] = []
        if request.param == "sqlite":
            path = tmp_path / "data" / "watchword.db"
            opened.append(SqliteStore.create(path, clock=CLOCK))
            opened += [SqliteStore.open(path) for _ in range(3)]
        else:
            url = new_database()
            opened.append(await PostgresStore.create(url, clock=CLOCK))
            opened += [await PostgresStore.open(url) for _ in range(3)]
        for store in opened:
            stack.push_async_callback(store.close)
        yield opened


@rule("N4")
async def test_of_many_who_ask_at_once_one_gets_it(stores: list[Store]) -> None:
    for number in range(1, ROUNDS + 1):
        now = NOON + number * LEASE
        asked = [stores[each % 4].hold("upkeep", f"node-{each}", now=now, until=now + LEASE) for each in range(64)]
        terms = [term for term in await asyncio.gather(*asked) if term is not None]
        assert terms == [number]


@rule("N4", "W5")
async def test_of_two_terms_only_the_last_one_counts(stores: list[Store]) -> None:
    """Whoever commits in the old term while another takes the office: all of it stands before the takeover, or nothing."""
    for number in range(1, ROUNDS + 1):
        first, second, reader = stores[0], stores[1], stores[2]
        now = NOON + number * 4 * LEASE
        assert await first.hold("upkeep", "sleeper", now=now, until=now + LEASE) == 2 * number - 1

        async def take_and_work(store: Store, at: object, term: int) -> None:
            late = NOON + number * 4 * LEASE + 2 * LEASE  # noqa: B023 -- awaited in its own round
            assert await store.hold("upkeep", "other", now=late, until=late + LEASE) == term
            await store.commit(make_event(reason=f"new {at}"), [InTerm("upkeep", term)])

        old = [first.commit(make_event(reason="old"), [InTerm("upkeep", 2 * number - 1)]) for _ in range(8)]
        outcomes = await asyncio.gather(*old, take_and_work(second, number, 2 * number), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), Conflict}
        assert outcomes[-1] is None
        with pytest.raises(Conflict):
            await first.commit(make_event(), [InTerm("upkeep", 2 * number - 1)])
        events = [event.payload for event in await reader.events(limit=500)]
        behind = events[next(i for i, event in enumerate(events) if f"new {number}".encode() in event) :]
        assert [event for event in behind if b'"old"' in event] == []


async def test_what_one_reports_the_others_see(stores: list[Store]) -> None:
    await asyncio.gather(*(store.report(make_node(f"node-{number}")) for number, store in enumerate(stores)))
    for store in stores:
        assert [node.id for node in await store.nodes()] == [f"node-{number}" for number in range(4)]
    await stores[3].leave("node-0")
    assert len(await stores[0].nodes()) == 3


@rule("O14")
async def test_an_sqlite_store_of_schema_3_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "watchword.db"
    db = apsw.Connection(str(path))
    db.pragma("application_id", sqlite_schema.APPLICATION_ID)
    db.pragma("journal_mode", "wal")
    sqlite_schema.migrate(db, now=CLOCK(), migrations=MIGRATIONS_OF_SQLITE[:3])
    db.close()
    assert upgrade_file(path, now=CLOCK()) == len(MIGRATIONS_OF_SQLITE) - 3
    store = SqliteStore.open(path)
    assert await store.hold("upkeep", "node-1", now=NOON, until=NOON + LEASE) == 1
    await store.close()


@rule("O14")
async def test_a_postgresql_store_of_schema_2_is_brought_forward() -> None:
    url = new_database()

    async def before(db: Connection) -> None:
        await create(db, applied_at=1, migrations=MIGRATIONS[:2])
        for kid, at in (("newer", 2), ("older", 1)):  # both made by a race, and signing
            query = "INSERT INTO signing_keys VALUES ($1, 'ES256', 'active', '{}', $2, $2, '', 1)"
            await db.execute(query, kid, at)

    await with_database(url, before)
    assert await upgrade(url, clock=CLOCK) == len(MIGRATIONS) - 2
    store = await PostgresStore.open(url)
    keys = {key.kid: (key.state.value, key.published_at == key.activated_at) for key in await store.signing_keys()}
    assert keys == {"newer": ("active", True), "older": ("retiring", True)}
    assert await store.hold("upkeep", "node-1", now=NOON, until=NOON + LEASE) == 1
    await store.close()

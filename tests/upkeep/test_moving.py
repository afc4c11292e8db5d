"""A store moves from its file into a database with all it holds, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from tests.contracts.history import Answers, history
from tests.postgres import new_database
from watchword.adapters import postgres_load
from watchword.adapters.data_directory import in_use
from watchword.adapters.postgres import PostgresStore
from watchword.adapters.sqlite import SqliteStore
from watchword.bootstrap import initialise
from watchword.config import load_settings
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.agents import AgentState
from watchword.ports.store import Create, Store
from watchword.server.audit_chain import verify_chain
from watchword.stores import STORE_FILE, find_database, open_store
from watchword.testing.records import make_agent, make_event
from watchword.upkeep.moving import move_to_database

ISSUER = "https://auth.example.com"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store in which a lot has happened, with names of every kind."""
    asyncio.run(initialise(tmp_path / "data", ISSUER))

    async def live() -> None:
        store = SqliteStore.open(tmp_path / "data" / STORE_FILE)
        await Answers(store).ask(history(7, 1500))
        await store.close()

    asyncio.run(live())
    return tmp_path / "data"


async def all_of(store: Store) -> tuple[object, ...]:
    agents = [agent async for agent in _agents(store)]
    return (
        agents,
        [await store.registration(agent.client_id) for agent in agents],
        list(await store.resources(after="", limit=1000)),
        list(await store.operators()),
        list(await store.signing_keys()),
        await store.identity(),
        await store.epoch(),
        list(await store.events(limit=100_000)),
        list(await store.heads()),
        list(await store.events(filters={"reason": "no\x00t"}, limit=100_000)),
        list(await store.revocations(after=0, limit=1000)),
        await store.revocation_sequence(),
    )


async def _agents(store: Store):
    for state in AgentState:
        for agent in await store.agents(after="", limit=1000, state=state):
            yield agent


def test_everything_comes_along_and_the_chain_goes_on(data: Path) -> None:
    before = asyncio.run(_read_file(data / STORE_FILE))
    url = new_database()
    moved = asyncio.run(move_to_database(data, url))
    assert moved.rows["audit"] == len(before[7])
    assert moved.rows["heads"] == 1
    assert find_database(load_settings({"data": data}).settings) == url

    async def look() -> tuple[object, ...]:
        store = await open_store(load_settings({"data": data}).settings)
        await store.commit(make_event(), [Create(make_agent("new-one"))])
        found = await all_of(store)
        await store.close()
        assert verify_chain(found[7], found[8]).is_sound
        return found

    after = asyncio.run(look())
    assert [one for one in after[0] if one.client_id != "new-one"] == before[0]
    assert [one for one in after[1] if one.agent.client_id != "new-one"] == before[1]
    assert after[2:6] == before[2:6]
    assert after[6] == before[6] + 1
    assert after[7][:-2] == before[7]
    assert [head.chain for head in after[8]] == ["local"]
    assert b'"action":"store.move"' in after[7][-2].payload
    assert len(after[9]) == len(before[9]) > 0
    assert after[10:] == before[10:]
    assert before[11] > len(before[10]) > 0


async def _read_file(path: Path) -> tuple[object, ...]:
    store = SqliteStore.open(path)
    try:
        return await all_of(store)
    finally:
        await store.close()


def test_the_file_is_left_under_another_name(data: Path) -> None:
    content = (data / STORE_FILE).read_bytes()
    moved = asyncio.run(move_to_database(data, new_database()))
    assert not (data / STORE_FILE).exists()
    assert moved.left.read_bytes()[:100] == content[:100]
    assert (data / "database.url").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadSettings) as refused:
        asyncio.run(move_to_database(data, new_database()))
    assert refused.value.reason == "store.moved"


def refusal(data: Path, url: str) -> str:
    before = {path.name: path.read_bytes() for path in data.iterdir() if not path.name.endswith("-shm")}
    with pytest.raises((BadSettings, StoreUnavailable)) as refused:
        asyncio.run(move_to_database(data, url))
    after = {path.name: path.read_bytes() for path in data.iterdir() if not path.name.endswith("-shm")}
    assert after.keys() - before.keys() <= {f"{STORE_FILE}-wal"}
    assert all(after[name] == content for name, content in before.items())
    return refused.value.reason


def test_a_database_that_has_a_store_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    url = new_database()
    asyncio.run(initialise(tmp_path / "other", ISSUER, database=url))
    assert refusal(data, url) == "store.exists"
    asyncio.run(_is_whole(url))


async def _is_whole(url: str) -> None:
    store = await PostgresStore.open(url)
    assert len(await store.operators()) == 1
    await store.close()


def test_a_broken_trail_is_not_moved(data: Path) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute("DROP TRIGGER audit_no_update; UPDATE audit SET payload = payload || ' ' WHERE cursor = 9")
    db.close()
    url = new_database()
    assert refusal(data, url) == "store.differs"
    with pytest.raises(BadSettings) as nothing:
        asyncio.run(PostgresStore.open(url))
    assert nothing.value.reason == "store.missing"


def test_what_does_not_arrive_as_it_was_is_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = postgres_load._copy

    async def lose_one(db, table, names, records):
        await copy(db, table, names, records[:-1] if table == "credentials" else records)

    monkeypatch.setattr(postgres_load, "_copy", lose_one)
    url = new_database()
    assert refusal(data, url) == "store.differs"
    monkeypatch.undo()
    asyncio.run(move_to_database(data, url))


def test_a_store_that_is_served_is_not_moved(data: Path) -> None:
    async def serve_and_move() -> str:
        async with in_use(data):
            try:
                await move_to_database(data, "postgresql://a@127.0.0.1:1/x")
            except BadSettings as refused:
                return refused.reason
        return ""

    assert asyncio.run(serve_and_move()) == "store.in_use"


def test_a_database_that_is_away_changes_nothing(data: Path) -> None:
    assert refusal(data, "postgresql://a@127.0.0.1:1/x") == "store.unreachable"
    assert refusal(data, "mysql://x") == "settings.database"

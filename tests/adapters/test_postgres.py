"""What the store in PostgreSQL promises beyond the contract: several nodes, lost connections, foreign and older databases."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests import rule
from tests.postgres import new_database, require_postgres, shared_server
from watchword.adapters import postgres, postgres_writer
from watchword.adapters.postgres import PostgresStore, with_database
from watchword.adapters.postgres_migrations import MIGRATIONS
from watchword.adapters.postgres_schema import migrate, read_plan
from watchword.adapters.postgres_upgrade import upgrade
from watchword.adapters.postgres_url import check_url, has_password, is_on_the_wire, masked
from watchword.errors import BadSettings, Conflict, StoreUnavailable
from watchword.ports.agents import AgentState
from watchword.ports.schema import Migration
from watchword.ports.store import LONGEST_LAG, Create, Replace
from watchword.server.audit_chain import verify_chain
from watchword.testing.clock import FrozenClock
from watchword.testing.postgres import PostgresServer
from watchword.testing.records import make_agent, make_credential, make_event

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def url() -> str:
    url = new_database()
    await (await PostgresStore.create(url, clock=FrozenClock())).close()
    return url


@pytest.fixture
async def nodes(url: str) -> AsyncGenerator[list[PostgresStore]]:
    opened = [await PostgresStore.open(url) for _ in range(4)]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    require_postgres()
    with PostgresServer(fsync="off") as server:
        yield server


def database_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


async def until(is_so, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_every_node_writes_a_chain_of_its_own_and_all_verify(nodes: list[PostgresStore]) -> None:
    commits = [
        store.commit(make_event(), [Create(make_agent(f"a-{n}-{place}"))] if n % 5 == 0 else [])
        for place, store in enumerate(nodes)
        for n in range(50)
    ]
    await asyncio.gather(*commits)
    events = await nodes[0].events(limit=1000)
    heads = await nodes[1].heads()
    assert [head.chain for head in heads] == ["writer-1", "writer-2", "writer-3", "writer-4"]
    assert [head.position for head in heads] == [50, 50, 50, 50]
    assert len({event.cursor for event in events}) == 200
    assert verify_chain(events, heads).is_sound
    assert {await store.epoch() for store in nodes if await store.registration("a-0-0")} == {40}


async def test_of_nodes_that_change_the_same_version_one_wins(nodes: list[PostgresStore]) -> None:
    await nodes[0].commit(make_event(), [Create(make_agent())])
    changes = [Replace(replace(make_agent(name=f"by {n}"), version=2)) for n in range(4)]
    commits = [store.commit(make_event(), [change]) for store, change in zip(nodes, changes, strict=True)]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 3
    winner = outcomes.index(None)
    found = await nodes[3 - winner].find_agent("agent-1")
    assert found is not None
    assert found.name == f"by {winner}"


async def test_a_chain_that_was_given_back_is_gone_on_with(url: str) -> None:
    for _ in range(3):
        store = await PostgresStore.open(url)
        await store.commit(make_event())
        await store.close()
    store = await PostgresStore.open(url)
    assert [(head.chain, head.position) for head in await store.heads()] == [("writer-1", 3)]
    await store.close()


async def test_who_lost_its_chain_to_another_takes_a_new_one(nodes: list[PostgresStore], url: str) -> None:
    first, second = nodes[:2]
    await first.commit(make_event(reason="first"))
    shared_server().sql("UPDATE watchword.heads SET used_at = now() - interval '1 hour'", database_of(url))
    await second.commit(make_event(reason="second"))
    await first.commit(make_event(reason="third"))
    events = await first.events()
    assert [(event.chain, event.position) for event in events] == [("writer-1", 1), ("writer-1", 2), ("writer-2", 1)]
    assert verify_chain(events, await first.heads()).is_sound


@rule("U7")
async def test_what_was_credited_to_a_request_is_seen_by_its_read(nodes: list[PostgresStore]) -> None:
    first, second = nodes[:2]
    second._watch._hear = lambda *_: None
    await first.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    for version in range(2, 30):
        before = await second.epoch()
        agent = make_agent(state=AgentState.SUSPENDED if version % 2 else AgentState.ACTIVE)
        await first.commit(make_event(), [Replace(replace(agent, version=version))])
        await second.credentials("agent-1")
        assert await second.epoch() > before


@pytest.mark.parametrize("listens", [True, False])
async def test_a_change_is_noticed_in_time_without_any_read(url: str, listens: bool) -> None:
    writer, watcher = await PostgresStore.open(url), await PostgresStore.open(url, listens=listens)
    for number in range(5):
        before = await watcher.epoch()
        await writer.commit(make_event(), [Create(make_agent(f"a-{number}"))])

        async def has_moved(before: int = before) -> bool:
            return await watcher.epoch() > before

        await until(
            has_moved, LONGEST_LAG.total_seconds() * 5
        )  # the machine may be busy: the figure is the benchmark's
    await writer.close()
    await watcher.close()


async def test_a_lost_connection_costs_no_read(nodes: list[PostgresStore], url: str) -> None:
    store = nodes[0]
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    for _ in range(3):
        await store.credentials("agent-1")
        await store.find_agent("agent-1")
        shared_server().sql(
            f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database_of(url)}'"
        )
        assert await store.credentials("agent-1") == (make_credential(),)
        assert await store.find_agent("agent-1") == make_agent()
        await store.commit(make_event())


async def test_connections_lost_under_load_lose_and_double_nothing(nodes: list[PostgresStore], url: str) -> None:
    acknowledged: list[str] = []
    stop = False

    async def work(store: PostgresStore, name: str) -> None:
        number = 0
        while not stop:
            number += 1
            changes = [Create(make_agent(f"{name}-{number}"))] if number % 3 == 0 else []
            try:
                await store.commit(make_event(reason=f"{name}-{number}"), changes)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                acknowledged.append(f"{name}-{number}")

    tasks = [asyncio.create_task(work(store, f"n{place}w{n}")) for place, store in enumerate(nodes) for n in range(4)]
    kill = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database_of(url)}'"
    for _ in range(15):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(shared_server().sql, kill)
    stop = True
    await asyncio.gather(*tasks)
    assert len(acknowledged) > 100
    events = await nodes[0].events(limit=1_000_000)
    reasons = [event.payload.decode().split('"reason":"')[1].split('"')[0] for event in events]
    assert len(reasons) == len(set(reasons)), "written twice"
    assert set(acknowledged) <= set(reasons)
    assert verify_chain(events, await nodes[0].heads()).is_sound
    made = {agent.client_id for agent in await nodes[0].agents(after="", limit=1_000_000)}
    assert made == {reason for reason in reasons if int(reason.partition("w")[2].partition("-")[2]) % 3 == 0}


async def test_a_restarted_database_is_found_again(own_server: PostgresServer) -> None:
    store = await PostgresStore.create(new_database(own_server), clock=FrozenClock())
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    before = await store.epoch()
    own_server.stop()
    for refused in (store.credentials("agent-1"), store.commit(make_event()), store.events(), store.check()):
        with pytest.raises(StoreUnavailable) as caught:
            await refused
        assert caught.value.reason == "store.unreachable"
    with pytest.raises(StoreUnavailable) as caught:
        await store.epoch()
    assert caught.value.reason == "store.stale"
    own_server.start()

    async def is_back() -> bool:
        try:
            await store.epoch()
        except StoreUnavailable:
            return False
        return True

    await until(is_back)
    await store.check()
    await store.commit(make_event())
    assert await store.epoch() not in (before, before - 1), "what was kept before must not seem to hold"
    assert len(await store.events()) == 2
    await store.close()


async def test_what_the_database_was_doing_when_it_died_is_found_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a batch that was committed never comes: the batch is not written again, and its commit succeeds."""
    store = await PostgresStore.open(url)
    await store.commit(make_event(reason="before"))
    write, lost = postgres_writer.Writer._write, []

    async def lose_the_answer(self, db, *args, **kwargs):
        done = await write(self, db, *args, **kwargs)
        if not lost:
            lost.append(done)
            db.terminate()
            raise ConnectionResetError("lost")
        return done

    monkeypatch.setattr(postgres_writer.Writer, "_write", lose_the_answer)
    await asyncio.gather(*(store.commit(make_event(reason=f"{n}")) for n in range(3)))
    assert lost
    events = await store.events()
    assert len(events) == 4
    assert verify_chain(events, await store.heads()).is_sound
    await store.close()


async def test_a_database_that_may_lose_what_it_acknowledges_is_refused() -> None:
    url = new_database()
    shared_server().sql(f"ALTER DATABASE {database_of(url)} SET synchronous_commit = off")
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.create(url, clock=FrozenClock())
    assert caught.value.reason == "store.not_durable"


async def test_a_database_without_a_store_is_said_to_have_none() -> None:
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.open(new_database())
    assert caught.value.reason == "store.missing"


async def test_a_store_is_made_once(url: str) -> None:
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.create(url, clock=FrozenClock())
    assert caught.value.reason == "store.exists"


async def test_a_database_in_another_encoding_is_refused() -> None:
    require_postgres()
    shared_server().sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.create(shared_server().url("latin"), clock=FrozenClock())
    assert caught.value.reason == "store.encoding"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            (
                "INSERT INTO watchword.migrations SELECT max(number) + 1, 'of tomorrow', 'x', 1 FROM watchword.migrations;"
                "UPDATE watchword.counters SET compatible_from = 99"
            ),
            "store.newer",
        ),
        ("INSERT INTO watchword.migrations VALUES (99, 'far', 'x', 1)", "store.checksum"),
        ("UPDATE watchword.migrations SET checksum = 'x'", "store.checksum"),
        ("DELETE FROM watchword.migrations", "store.older"),
    ],
)
async def test_another_versions_tables_are_refused(url: str, damage: str, reason: str) -> None:
    shared_server().sql(damage, database_of(url))
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.open(url)
    assert caught.value.reason == reason


async def test_a_database_is_brought_forward_step_by_step(url: str) -> None:
    number = len(MIGRATIONS) + 1
    more = (*MIGRATIONS, Migration(number, "more", "CREATE TABLE more (id bigint PRIMARY KEY)", number))
    assert await upgrade(url, clock=FrozenClock()) == 0
    for missing in (1, 0):
        plan = await with_database(url, lambda db: read_plan(db, now=FrozenClock()(), migrations=more))
        assert len(plan.missing) == missing
        assert await with_database(url, lambda db: migrate(db, applied_at=1, migrations=more)) == missing
    with pytest.raises(BadSettings) as caught:
        await PostgresStore.open(url)
    assert caught.value.reason == "store.newer"


async def test_a_step_that_fails_changes_nothing(url: str) -> None:
    number = len(MIGRATIONS) + 1
    broken = (*MIGRATIONS, Migration(number, "broken", "CREATE TABLE half (id bigint); SELECT nonsense", number))
    with pytest.raises(StoreUnavailable):
        await with_database(url, lambda db: migrate(db, applied_at=1, migrations=broken))
    assert shared_server().sql("SELECT to_regclass('watchword.half') IS NULL", database_of(url)) == "t"
    await (await PostgresStore.open(url)).close()


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE watchword.audit SET payload = ''",
        "DELETE FROM watchword.audit",
        "TRUNCATE watchword.audit",
        "DELETE FROM watchword.heads",
    ],
)
async def test_the_trail_is_append_only(url: str, command: str) -> None:
    store = await PostgresStore.open(url)
    await store.commit(make_event())
    await store.close()
    with pytest.raises(AssertionError, match="append-only"):
        shared_server().sql(command, database_of(url))


async def test_nobody_answers_where_there_is_no_database() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await PostgresStore.open("postgresql://watchword@127.0.0.1:1/none")
    assert caught.value.reason == "store.unreachable"


async def test_the_store_does_not_wait_for_a_database_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailable) as caught:
            await PostgresStore.open(f"postgresql://watchword@127.0.0.1:{port}/x")
    assert caught.value.reason == "store.unreachable"


def test_an_url_is_shown_without_its_password() -> None:
    url = "postgresql://app:s3cret@db.example.com:5432,other:5433/ww?sslmode=verify-full&password=s3cret"
    assert masked(url) == "postgresql://app:***@db.example.com:5432,other:5433/ww?sslmode=verify-full&password=***"
    assert has_password(url)
    assert has_password("postgresql:///ww?password=x")
    plain = "postgresql://app@db.example.com/ww?sslmode=verify-full"
    assert masked(plain) == plain
    assert not has_password(plain)


@pytest.mark.parametrize("url", ["", "sqlite:///x", "postgresql:/", "postgresql://s3cret", "host/db", "mysql://h/db"])
def test_what_is_no_url_of_a_database_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(BadSettings) as caught:
        check_url(url)
    assert caught.value.reason == "settings.database"
    assert "s3cret" not in caught.value.detail


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a@127.0.0.1/x", False),
        ("postgresql://a@localhost:5432/x", False),
        ("postgresql:///x?host=/run/postgresql", False),
        ("postgresql://a@db.example.com/x", True),
        ("postgresql://a@db.example.com/x?sslmode=require", True),
        ("postgresql://a@db.example.com/x?sslmode=verify-full", False),
        ("postgresql://a@127.0.0.1,db.example.com/x", True),
    ],
)
def test_it_is_told_whether_the_wire_is_safe(url: str, expected: bool) -> None:
    assert is_on_the_wire(url) is expected


def test_names_that_postgresql_cannot_hold_keep_their_order() -> None:
    names = [
        "",
        "\x00",
        "\x00\x00",
        "\x00\x01",
        "\x00a",
        "\x01",
        "\x01\x00",
        "\x01\x01",
        "\x01\x02",
        "\x01a",
        "\x02",
        "a",
    ]
    held = [postgres.rows.held(name) for name in names]
    assert held == sorted(held)
    assert [postgres.rows._text(text) for text in held] == names
    assert not any("\x00" in text for text in held)

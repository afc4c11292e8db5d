"""Programs of two ages on one store, and steps of the tables taken under them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests import rule
from tests.postgres import new_database
from watchword.adapters import postgres_migrations, postgres_schema, sqlite_migrations, sqlite_schema
from watchword.adapters.postgres import PostgresStore, with_database
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_dump import dumped
from watchword.adapters.sqlite_upgrade import upgrade_file
from watchword.errors import BadSettings, Conflict, StoreUnavailable
from watchword.ports.agents import AgentState
from watchword.ports.cluster import NeedsStep
from watchword.ports.schema import Migration
from watchword.ports.store import Create, Replace, Store
from watchword.server.audit_chain import ChainVerifier
from watchword.server.offices import LEASE, Attendance, Ending
from watchword.testing.clock import FrozenClock
from watchword.testing.records import NOON, make_agent, make_event, make_node

pytestmark = pytest.mark.anyio

CLOCK = FrozenClock()
ADDS = (
    "ALTER TABLE agents ADD COLUMN remark TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE counters ADD COLUMN later BIGINT;"
    "ALTER TABLE audit ADD COLUMN later BIGINT;"
    "CREATE TABLE remarks (id TEXT PRIMARY KEY)"
)
STRICT_ADDS = ADDS.replace("BIGINT", "INTEGER")
"""As SQLite spells it in a strict table."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Kept:
    """A store of this version, and what the next version does to it."""

    path: Path | None
    url: str

    async def open(self) -> Store:
        return await PostgresStore.open(self.url) if self.path is None else SqliteStore.open(self.path)

    @property
    def known(self) -> int:
        return (postgres_migrations if self.path is None else sqlite_migrations).KNOWN

    async def migrate(self, *steps: tuple[str, int], patience: float = 1) -> int:
        """Take steps that this version does not know: their SQL, and how far from the newest known they are compatible."""
        known = self.known
        more = tuple(
            Migration(known + 1 + turn, f"later {turn}", sql, known + compatible)
            for turn, (sql, compatible) in enumerate(steps)
        )
        if self.path is None:
            migrations = (*postgres_migrations.MIGRATIONS, *more)
            applied_at = round(CLOCK().timestamp() * 1_000_000)
            return await with_database(
                self.url,
                lambda db: postgres_schema.migrate(db, applied_at=applied_at, migrations=migrations, patience=patience),
            )
        db = apsw.Connection(str(self.path))
        db.set_busy_timeout(2000)
        try:
            return sqlite_schema.migrate(db, now=CLOCK(), migrations=(*sqlite_migrations.MIGRATIONS, *more))
        finally:
            db.close()

    async def ask(self, query: str) -> object:
        """Do something by hand; return the first value of the answer."""
        if self.path is None:
            return await with_database(self.url, lambda db: db.fetchval(query))
        db = apsw.Connection(str(self.path))
        try:
            return db.execute(query).get
        finally:
            db.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "sqlite":
        path = tmp_path / "watchword.db"
        await SqliteStore.create(path, clock=CLOCK).close()
        return Kept(path, "")
    url = new_database()
    await (await PostgresStore.create(url, clock=CLOCK)).close()
    return Kept(None, url)


@pytest.fixture
async def store(kept: Kept) -> AsyncGenerator[Store]:
    store = await kept.open()
    yield store
    await store.close()


def adds(kept: Kept) -> tuple[str, int]:
    return (ADDS if kept.path is None else STRICT_ADDS, 0)


async def create(store: Store, name: str) -> None:
    await store.commit(make_event("agent.create", client_id=name), [Create(make_agent(name))])


async def suspend(store: Store, name: str) -> None:
    agent = await store.find_agent(name)
    assert agent is not None
    after = replace(agent, state=AgentState.SUSPENDED, version=agent.version + 1)
    await store.commit(make_event("agent.suspend", client_id=name), [Replace(after)])


async def check_chains(store: Store) -> int:
    """Fail unless the audit trail is whole; return how many events it has."""
    verifier, events = ChainVerifier(await store.heads()), await store.events(limit=100_000)
    for event in events:
        verifier.add(event)
    assert verifier.finish(await store.heads()).findings == ()
    return len(events)


def steps_that_only_add() -> list[tuple[str, Migration]]:
    sources = {"sqlite": sqlite_migrations.MIGRATIONS, "postgres": postgres_migrations.MIGRATIONS}
    return [(name, step) for name, steps in sources.items() for step in steps if step.compatible_from < step.number]


Columns = dict[tuple[str, str], tuple[str, bool]]


async def columns_before_and_after(kind: str, step: Migration) -> list[Columns]:
    """The type of every column, and whether a row may leave it out."""
    found: list[Columns] = []
    numbers = (step.number - 1, step.number)
    if kind == "sqlite":
        for number in numbers:
            db = apsw.Connection(":memory:")
            sqlite_schema.migrate(db, now=NOON, migrations=sqlite_migrations.MIGRATIONS[:number])
            query = (
                "SELECT t.name, c.name, c.type, c.dflt_value IS NOT NULL OR NOT c.'notnull' FROM pragma_table_list t,"
                " pragma_table_xinfo(t.name) c WHERE t.schema = 'main'"
            )
            found.append({(str(row[0]), str(row[1])): (str(row[2]), bool(row[3])) for row in db.execute(query)})
        return found
    for number in numbers:
        url = new_database()
        steps = postgres_migrations.MIGRATIONS[:number]
        await with_database(url, lambda db: postgres_schema.create(db, applied_at=1, migrations=steps))  # noqa: B023
        query = (
            "SELECT table_name, column_name, data_type, column_default IS NOT NULL OR is_nullable = 'YES'"
            " FROM information_schema.columns WHERE table_schema = 'watchword'"
        )
        rows = await with_database(url, lambda db: db.fetch(query))  # noqa: B023
        found.append({(str(row[0]), str(row[1])): (str(row[2]), bool(row[3])) for row in rows})
    return found


@rule("N5", "N9")
@pytest.mark.parametrize(("kind", "step"), steps_that_only_add(), ids=lambda one: getattr(one, "name", one))
async def test_a_step_that_says_that_it_only_adds_does(kind: str, step: Migration) -> None:
    before, after = await columns_before_and_after(kind, step)
    assert {column: after.get(column) for column in before} == before
    tables = {table for table, _ in before}
    assert [
        column
        for column, (_, may_miss) in after.items()
        if column[0] in tables and column not in before and not may_miss
    ] == []


@rule("N5", "N9", "O14")
async def test_a_program_goes_on_when_a_step_only_adds(kept: Kept, store: Store) -> None:
    await create(store, "before")
    assert await kept.migrate(adds(kept)) == 1
    await create(store, "after")
    later = await kept.open()
    for one in (store, later):
        schema = await one.schema()
        assert (schema.present, schema.known, schema.is_newer) == (kept.known + 1, kept.known, True)
        await one.check()
    await create(later, "later")
    await suspend(store, "later")
    agent = await later.find_agent("later")
    assert agent is not None
    assert agent.state is AgentState.SUSPENDED
    await later.report(make_node())
    assert list(await store.nodes()) == [make_node()]
    assert await check_chains(later) == 4
    await later.close()


@rule("N5")
async def test_a_program_keeps_what_columns_that_it_does_not_know_hold(kept: Kept, store: Store) -> None:
    await create(store, "agent")
    node = replace(make_node(), schema=kept.known)
    await store.report(node)
    sql, compatible = adds(kept)
    await kept.migrate((f"{sql}; ALTER TABLE nodes ADD COLUMN place TEXT NOT NULL DEFAULT ''", compatible))
    schema = "watchword." if kept.path is None else ""
    for table, column in (("agents", "remark"), ("nodes", "place")):
        await kept.ask(f"UPDATE {schema}{table} SET {column} = 'kept'")
    await suspend(store, "agent")
    await store.report(replace(node, version="2.0"))
    for table, column in (("agents", "remark"), ("nodes", "place")):
        assert await kept.ask(f"SELECT {column} FROM {schema}{table}") == "kept"


@rule("N5", "O14")
async def test_a_program_that_would_misread_the_tables_writes_nothing_more(kept: Kept, store: Store) -> None:
    await create(store, "before")
    assert await kept.migrate(("CREATE TABLE nothing_of_it_matters (id TEXT PRIMARY KEY)", 1)) == 1
    for attempt in (create(store, "after"), store.check(), store.commit(make_event())):
        with pytest.raises(StoreUnavailable) as caught:
            await attempt
        assert caught.value.reason == "store.newer"

    async def is_told() -> bool:
        try:
            await store.epoch()
        except StoreUnavailable as error:
            return error.reason == "store.newer"
        return False

    until = time.monotonic() + 2
    while not await is_told():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    with pytest.raises(BadSettings) as refused:
        await kept.open()
    assert refused.value.reason == "store.newer"
    schema = "watchword." if kept.path is None else ""
    assert await kept.ask(f"SELECT count(*) FROM {schema}audit") == 1
    assert await kept.ask(f"SELECT count(*) FROM {schema}agents") == 1


class Silent:
    """A node's witness to whom nothing is told but what failed."""

    def __init__(self) -> None:
        self.missed_because: list[str] = []
        self.terms: list[int] = []

    def saw(self, nodes: int) -> None: ...
    def lost(self, office: str, term: int) -> None: ...
    def ended(self, job: str, ending: Ending, error: Exception | None) -> None: ...

    def missed(self, error: Exception) -> None:
        self.missed_because.append(getattr(error, "reason", str(error)))

    def took(self, office: str, term: int) -> None:
        self.terms.append(term)


@rule("N9")
async def test_a_program_that_is_shut_out_holds_no_office(kept: Kept, store: Store) -> None:
    await kept.migrate(("CREATE TABLE nothing_of_it_matters (id TEXT PRIMARY KEY)", 1))
    until = time.monotonic() + 2
    while True:
        try:
            await store.epoch()
        except StoreUnavailable:
            break
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    witness = Silent()
    await Attendance(store, make_node(), (), clock=CLOCK, witness=witness).beat()
    assert (witness.missed_because, witness.terms) == (["store.newer"], [])
    assert list(await store.offices()) == []


@rule("N5", "N9")
async def test_what_an_older_program_would_not_honour_shuts_it_out(kept: Kept, store: Store) -> None:
    steps = (postgres_migrations if kept.path is None else sqlite_migrations).MIGRATIONS
    (keys,) = [step for step in steps if step.name == "keys"]
    assert (await store.schema()).compatible_from == keys.number - 1
    older = replace(make_node(), schema=keys.number - 1)
    await store.report(older)
    for since in (NOON - LEASE, NOON):
        bound = (NeedsStep("keys", since), Create(replace(make_agent(), dpop_bound=True)))
        if since < NOON:
            with pytest.raises(Conflict) as caught:
                await store.commit(make_event(), bound)
            assert caught.value.reason == "node.older"
            assert (await store.schema()).compatible_from == keys.number - 1
        else:
            await store.commit(make_event(), bound)
    assert (await store.schema()).compatible_from == keys.number
    await store.commit(make_event(), (NeedsStep("keys", NOON - LEASE),))  # it is shut out, and in nobody's way
    await create(store, "other")


@rule("N5", "N9")
async def test_a_step_that_takes_away_waits_for_an_older_program(kept: Kept, store: Store) -> None:
    later = replace(make_node("node-2"), schema=kept.known + 2)
    older = replace(make_node("node-1", name="older:8020"), schema=kept.known + 1, seen_at=CLOCK())
    await store.report(later)
    await store.report(older)
    steps = (adds(kept), ("DROP TABLE remarks", 2))
    with pytest.raises(StoreUnavailable) as caught:
        await kept.migrate(*steps)
    assert caught.value.reason == "store.older_nodes"
    assert "older:8020" in caught.value.detail
    assert "node-2" not in caught.value.detail
    await create(store, "meanwhile")
    await store.report(replace(older, seen_at=CLOCK() - LEASE))
    assert await kept.migrate(*steps) >= 1
    with pytest.raises(BadSettings) as refused:
        await kept.open()
    assert refused.value.reason == "store.newer"


@rule("N5")
async def test_commits_go_on_while_steps_are_taken(kept: Kept, store: Store) -> None:
    """Changes, events and reads without a pause; none fails, and none waits long."""
    other, is_over, longest = await kept.open(), asyncio.Event(), 0.0

    async def work(one: Store, name: str) -> int:
        nonlocal longest
        count = 0
        while not is_over.is_set():
            began = time.monotonic()
            await create(one, f"{name}-{count}")
            assert await one.registration(f"{name}-{count}") is not None
            await one.commit(make_event())
            longest = max(longest, time.monotonic() - began)
            count += 1
        return count

    working = [asyncio.create_task(work(one, f"{number}")) for number, one in enumerate((store, other, store, other))]
    await asyncio.sleep(0.3)
    taken = 0
    for number in range(1, 4):
        steps = [adds(kept), *((f"ALTER TABLE agents ADD COLUMN more_{one} TEXT", 0) for one in range(number))]
        taken += await kept.migrate(*steps, patience=20)
        await asyncio.sleep(0.1)
    is_over.set()
    counts = await asyncio.gather(*working)
    assert taken == 4
    assert min(counts) > 0
    assert longest < 2
    assert await check_chains(other) == 2 * sum(counts)
    await other.close()


@pytest.fixture
async def database() -> AsyncGenerator[tuple[Kept, PostgresStore]]:
    url = new_database()
    store = await PostgresStore.create(url, clock=CLOCK)
    yield Kept(None, url), store
    await store.close()


@rule("N5")
async def test_a_step_that_cannot_have_its_lock_gives_up_and_nobody_waits_for_it(
    database: tuple[Kept, PostgresStore],
) -> None:
    kept, store = database
    holder = await asyncpg.connect(kept.url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(holder.close)
        async with holder.transaction():
            await holder.execute("SELECT count(*) FROM watchword.agents")
            trying = asyncio.create_task(kept.migrate(adds(kept)))
            longest = 0.0
            while not trying.done():
                began = time.monotonic()
                await create(store, f"agent-{began}")
                longest = max(longest, time.monotonic() - began)
            with pytest.raises(StoreUnavailable) as caught:
                await trying
            assert caught.value.reason == "store.busy"
            assert "nothing was changed" in caught.value.detail
            assert longest < 1
            assert (await store.schema()).present == kept.known
        assert await kept.migrate(adds(kept)) == 1


@rule("N5")
async def test_a_step_that_takes_long_is_not_taken_beside_others(database: tuple[Kept, PostgresStore]) -> None:
    kept, store = database
    await store.report(replace(make_node(), schema=kept.known, seen_at=CLOCK()))
    parts = "SELECT pg_sleep(0.2);" * 5
    slow = (f"LOCK TABLE agents; {parts} CREATE TABLE slow (id bigint)", 0)
    for step in (slow, (slow[0].replace(parts, "SELECT pg_sleep(1.5);"), 0)):
        with pytest.raises(StoreUnavailable) as caught:
            await kept.migrate(step)
        assert caught.value.reason == "store.busy"
        assert "takes too long" in caught.value.detail
    await create(store, "agent")
    await store.leave("node-1")
    assert await kept.migrate(slow) == 1


@rule("N5")
async def test_statements_prepared_for_tables_that_changed_are_prepared_anew(
    database: tuple[Kept, PostgresStore],
) -> None:
    """A column of another type changes what the prepared statements return, in transactions as outside of them."""
    kept, store = database
    await create(store, "agent")
    await suspend(store, "agent")
    for kind in ("varchar", "text", "varchar"):
        await kept.ask(f"ALTER TABLE watchword.agents ALTER COLUMN purpose TYPE {kind}")
        assert await store.registration("agent") is not None
        await kept.ask(f"ALTER TABLE watchword.agents ALTER COLUMN owner TYPE {kind}")
        await kept.ask("ALTER TABLE watchword.counters ALTER COLUMN probes TYPE bigint")
        await suspend(store, "agent")
        await kept.ask(f"ALTER TABLE watchword.identity ALTER COLUMN issuer TYPE {kind}")
        identity = await store.identity()
        event = make_event("server.test")
        await store.commit(event, [Replace(replace(identity, version=identity.version + 1))])
    assert (await store.registration("agent")) is not None


@rule("N5")
async def test_a_store_whose_tables_are_newer_is_not_copied_without_what_is_new(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "watchword.db", "")
    path = tmp_path / "watchword.db"
    await SqliteStore.create(path, clock=CLOCK).close()
    await kept.migrate(adds(kept))
    with pytest.raises(BadSettings) as caught, dumped(path):
        pass
    assert caught.value.reason == "store.newer"
    assert upgrade_file(path, now=CLOCK()) == 0

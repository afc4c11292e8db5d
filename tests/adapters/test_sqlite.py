import asyncio
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from tests import rule
from watchword.adapters import sqlite, sqlite_file, sqlite_registration, sqlite_rows, sqlite_schema
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_migrations import MIGRATIONS
from watchword.adapters.sqlite_upgrade import integrity_problems, plan_upgrade, upgrade_file
from watchword.adapters.sqlite_writer import Unit
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.schema import Migration
from watchword.ports.store import Create, RevokeCredential, StoreIdentity
from watchword.testing.clock import FrozenClock
from watchword.testing.records import (
    make_agent,
    make_credential,
    make_event,
    make_permission,
    make_resource,
)

pytestmark = pytest.mark.anyio
CLOCK = FrozenClock()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore.create(tmp_path / "data" / "watchword.db", clock=CLOCK)
    yield store
    await store.close()


@pytest.fixture
def path(store: SqliteStore, tmp_path: Path) -> Path:
    return tmp_path / "data" / "watchword.db"


async def test_it_is_there_when_opened_again(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent())])
    await store.close()
    again = SqliteStore.open(path)
    assert await again.find_agent("agent-1") == make_agent()
    assert (await again.epoch(), len(await again.events())) == (1, 1)
    await again.close()


async def test_only_the_owner_may_look(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent())])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    names = ("watchword.db", "watchword.db-lock", "watchword.db-shm", "watchword.db-turn", "watchword.db-wal")
    assert found == dict.fromkeys(names, 0o600)


@rule("DR-7", "KF-123")
@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.44.6", "3.50.7", "3.51.2"])
def test_an_sqlite_that_can_corrupt_is_refused(version: str) -> None:
    with pytest.raises(BadSettings) as caught:
        sqlite_file.check_sqlite(version)
    assert caught.value.reason == "store.sqlite"


@rule("DR-7", "KF-123")
@pytest.mark.parametrize("version", ["3.51.3", "3.53.0", "3.54.1", "4.0.0"])
def test_a_sound_sqlite_is_used(version: str) -> None:
    sqlite_file.check_sqlite(version)


@rule("DR-7", "KF-123")
@pytest.mark.parametrize("make", [SqliteStore.open, lambda path: SqliteStore.create(path, clock=CLOCK)])
def test_the_version_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(BadSettings) as caught:
        make(tmp_path / "watchword.db")
    assert (caught.value.reason, list(tmp_path.iterdir())) == ("store.sqlite", [])


@rule("DR-7")
@pytest.mark.parametrize("is_reader", [True, False])
async def test_every_connection_is_durable_and_strict(store: SqliteStore, path: Path, is_reader: bool) -> None:
    db = sqlite_file.connect(path, is_reader=is_reader)
    found = {name: db.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    assert db.pragma("query_only") == int(is_reader)
    db.close()


@rule("O4")
@pytest.mark.parametrize("existing", ["file", "directory", "dangling link"])
def test_nothing_is_created_over_what_exists(tmp_path: Path, existing: str) -> None:
    path = tmp_path / "watchword.db"
    match existing:
        case "file":
            path.write_bytes(b"")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadSettings) as caught:
        SqliteStore.create(path, clock=CLOCK)
    assert caught.value.reason == "store.exists"
    assert [entry.name for entry in tmp_path.iterdir()] == ["watchword.db"]


@rule("O4")
def test_a_creation_that_failed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise apsw.FullError("disk full")

    monkeypatch.setattr(sqlite_file, "migrate", full)
    with pytest.raises(StoreUnavailable) as caught:
        SqliteStore.create(tmp_path / "watchword.db", clock=CLOCK)
    assert (caught.value.reason, list(tmp_path.iterdir())) == ("store.full", [])


def test_a_released_migration_is_never_edited() -> None:
    assert [(step.number, step.name, step.checksum) for step in MIGRATIONS] == [
        (1, "initial", "3611e919ad7e13666e7b7817e0a20dc4b39edf42b216b42ab48179caf4367916"),
        (2, "identity", "2a71bf96e264a9b0146aea789cae8e24ef2a69a15d7b42efa819101f5d463b27"),
        (3, "mark", "0b453a77f924b90a519bdcfdfefce368dc964961be404292cb258503ae9bb493"),
        (4, "by client", "a2742faff70ad532c70fccc69c77ae7f0525ee9ce05d66c7855f5743d2abf9be"),
        (5, "cluster", "511af3ac20484f7bdda40d96c2694970086b06d05846cd2a798e8991c0272721"),
        (6, "keys", "d20974bb35528a4946f9d12806b596a8065e25595e145cc813e313d133809139"),
        (7, "compatibility", "bdd33995fd800bb2bc2a473e5a715937f0a57d2318fcc8f9431aef9ab6a72ff4"),
        (8, "rotation", "ae9d89f8f238891fbcfd713c397b9d828ebd58a73bdf608ab7b67b03f1a09acd"),
        (9, "custody", "49901a73185719e6e23d9067f4c627b3ce20b138457ff83ec95b571bf74094a5"),
        (10, "overlap", "671779086871ca113c6d7b2800850f7c91a379d21297e26f102c51b0b181c580"),
        (11, "revocation", "098ac88ef0d5e3294ec858756b359744cb8e79af51b3c4b79f0084766e445248"),
    ]


NEWER = (
    "INSERT INTO migrations SELECT max(number) + 1, 'newer', 'x', 0 FROM migrations;"
    "UPDATE counters SET compatible_from = 99"
)
"""A step that the next version has taken, and this one must not work on."""

LATER = (
    "INSERT INTO migrations SELECT max(number) + 1, 'later', 'x', 0 FROM migrations;"
    "ALTER TABLE agents ADD COLUMN remark TEXT NOT NULL DEFAULT ''"
)
"""A step of the next version that only adds."""


@rule("O14")
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE migrations SET checksum = 'other'", "store.checksum"),
        ("UPDATE migrations SET number = 99 WHERE number = 2", "store.checksum"),
        (NEWER, "store.newer"),
        ("INSERT INTO migrations SELECT 99, 'far', 'x', 0", "store.checksum"),
        ("DELETE FROM migrations", "store.older"),
        ("DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)", "store.older"),
        ("DROP TABLE migrations", "store.older"),
    ],
)
async def test_another_schema_is_refused(store: SqliteStore, path: Path, statement: str, reason: str) -> None:
    await store.close()
    db = apsw.Connection(str(path))
    db.execute(statement)
    db.close()
    content = path.read_bytes()
    with pytest.raises(BadSettings) as caught:
        SqliteStore.open(path)
    assert caught.value.reason == reason
    assert path.read_bytes() == content


@rule("O14")
def test_migrations_go_forward_only_and_all_at_once() -> None:
    db = apsw.Connection(":memory:")
    number = len(MIGRATIONS) + 1
    second = Migration(number, "next", "ALTER TABLE agents ADD COLUMN more TEXT", number)
    broken = Migration(number, "next", "ALTER TABLE agents ADD COLUMN more TEXT; DROP TABLE no_such", number)
    assert sqlite_schema.migrate(db, now=CLOCK()) == len(MIGRATIONS)
    assert sqlite_schema.migrate(db, now=CLOCK()) == 0
    with pytest.raises(BadSettings) as caught:
        sqlite_schema.check_schema(db, (*MIGRATIONS, second))
    assert caught.value.reason == "store.older"
    with pytest.raises(apsw.SQLError):
        sqlite_schema.migrate(db, now=CLOCK(), migrations=(*MIGRATIONS, broken))
    sqlite_schema.check_schema(db)
    assert sqlite_schema.migrate(db, now=CLOCK(), migrations=(*MIGRATIONS, second)) == 1
    sqlite_schema.check_schema(db, (*MIGRATIONS, second))
    for older in (MIGRATIONS, (*MIGRATIONS, broken)):
        with pytest.raises(BadSettings) as caught:
            sqlite_schema.migrate(db, now=CLOCK(), migrations=older)
        assert caught.value.reason in {"store.newer", "store.checksum"}


def missing_steps(path: Path) -> int:
    """How many steps ``watchword migrate`` would take."""
    return len(plan_upgrade(path, now=CLOCK()).missing)


def first_release(path: Path, *names: str) -> None:
    """A database as the first release made it, with operators of these names."""
    db = apsw.Connection(str(path))
    db.pragma("application_id", sqlite_schema.APPLICATION_ID)
    db.pragma("journal_mode", "wal")
    sqlite_schema.migrate(db, now=CLOCK(), migrations=MIGRATIONS[:1])
    for number, name in enumerate(names):
        db.execute(
            "INSERT INTO operators VALUES (?, ?, 'admin', 0, NULL, 0, ?)", (f"op-{number}", name, b"%d" % number)
        )
    db.close()


async def test_of_two_keys_that_signed_before_there_were_times_the_newer_goes_on(tmp_path: Path) -> None:
    """A race of an older version may have made both; that one has signed with the newer."""
    path = tmp_path / "watchword.db"
    first_release(path, "alice")
    db = apsw.Connection(str(path))
    for kid, algorithm, state, at in (
        ("a", "ES256", "active", 3),
        ("b", "ES256", "active", 2),
        ("c", "RS256", "active", 1),
    ):
        db.execute("INSERT INTO signing_keys VALUES (?, ?, ?, '{}', ?, ?, x'', 1)", (kid, algorithm, state, at, at))
    db.close()
    upgrade_file(path, now=CLOCK())
    store = SqliteStore.open(path)
    keys = {key.kid: key for key in await store.signing_keys()}
    assert {kid: key.state.value for kid, key in keys.items()} == {"a": "active", "b": "retiring", "c": "active"}
    assert all(key.published_at == key.activated_at for key in keys.values())
    assert (keys["b"].retiring_at, keys["a"].retiring_at) == (keys["b"].activated_at, None)
    await store.close()


@rule("O14", "A13")
async def test_a_database_of_the_first_release_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "watchword.db"
    first_release(path, "alice", "bob", "alice")
    with pytest.raises(BadSettings) as caught:
        SqliteStore.open(path)
    assert f"`watchword migrate --data {tmp_path}`" in caught.value.detail
    steps = len(MIGRATIONS) - 1
    assert (missing_steps(path), upgrade_file(path, now=CLOCK()), missing_steps(path)) == (steps, steps, 0)
    store = SqliteStore.open(path)
    assert [(one.id, one.name, one.version) for one in await store.operators()] == [
        ("op-0", "alice", 1),
        ("op-2", "alice-op-2", 1),
        ("op-1", "bob", 1),
    ]
    assert await store.identity() == StoreIdentity()
    await store.close()


@rule("O14")
async def test_what_belongs_to_clients_is_kept_when_it_moves_together(tmp_path: Path) -> None:
    path = tmp_path / "watchword.db"
    first_release(path)
    db = apsw.Connection(str(path))
    sqlite_schema.migrate(db, now=CLOCK(), migrations=MIGRATIONS[:3])
    agents = [make_agent(f"agent-{number}", name=f"name {number}") for number in (2, 1)]
    credentials = [
        replace(make_credential(f"cred-{number}", client_id=agent.client_id), label=f"label {number}")
        for number, agent in enumerate((*agents, *agents))
    ]
    permissions = [make_permission(f"perm-{agent.client_id}", client_id=agent.client_id) for agent in agents]
    for table, columns, values in (
        ("resources", sqlite_rows.RESOURCE, [sqlite_rows.resource_values(make_resource())]),
        ("agents", sqlite_rows.AGENT, map(sqlite_rows.agent_values, agents)),
        ("credentials", sqlite_rows.CREDENTIAL, map(sqlite_rows.credential_values, credentials)),
        ("permissions", sqlite_rows.PERMISSION, map(sqlite_rows.permission_values, permissions)),
    ):
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        kept = [place for place, column in enumerate(columns.split(", ")) if column in there]
        names, places = ", ".join(columns.split(", ")[place] for place in kept), ", ".join("?" * len(kept))
        rows = ([row[place] for place in kept] for row in values)
        db.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)
    db.close()
    assert upgrade_file(path, now=CLOCK()) == len(MIGRATIONS) - 3
    store = SqliteStore.open(path)
    for agent in agents:
        registration = await store.registration(agent.client_id)
        assert registration is not None
        assert registration.agent == agent
        assert list(registration.credentials) == [one for one in credentials if one.client_id == agent.client_id]
        assert list(registration.permissions) == [one for one in permissions if one.client_id == agent.client_id]
    await store.close()
    assert integrity_problems(path) == []


async def test_a_current_database_needs_no_migration(store: SqliteStore, path: Path) -> None:
    assert upgrade_file(path, now=CLOCK()) == 0


@rule("U1")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET payload = '{}'",
        "UPDATE audit SET chain = 'other'",
        "DELETE FROM audit",
        "DELETE FROM heads",
        "INSERT INTO audit (chain, position, payload, hash) VALUES ('local', 1, '{}', x'00')",
        "INSERT INTO audit (chain, position, payload, hash) VALUES ('local', 3, '{}', x'00')",
        "INSERT INTO audit (chain, position, payload, hash) VALUES ('other', 2, '{}', x'00')",
    ],
)
async def test_the_trail_is_append_only(store: SqliteStore, path: Path, statement: str) -> None:
    await store.commit(make_event())
    before = await store.events()
    db = apsw.Connection(str(path))
    with pytest.raises(apsw.ConstraintError):
        db.execute(statement)
    db.close()
    assert await store.events() == before
    await store.commit(make_event())


async def test_another_process_may_append_between(store: SqliteStore, path: Path) -> None:
    other = SqliteStore.open(path)
    for n in range(6):
        await (store, other)[n % 2].commit(make_event(reason=f"{n}"))
        await asyncio.gather(*(one.commit(make_event()) for one in (store, other)))
    assert await store.events() == await other.events()
    assert len(await store.events()) == 18
    await other.close()


async def test_a_change_by_another_process_is_seen_at_once(store: SqliteStore, path: Path) -> None:
    other = SqliteStore.open(path)
    await other.commit(make_event(), [Create(make_agent())])
    assert (await store.epoch(), await store.find_agent("agent-1")) == (1, make_agent())
    await other.close()


async def test_the_epoch_is_looked_at_in_every_turn_of_the_loop(store: SqliteStore, path: Path) -> None:
    before = await store.epoch()
    db = apsw.Connection(str(path))
    db.execute("UPDATE counters SET epoch = epoch + 1")
    same_turn = await store.epoch()
    await asyncio.sleep(0)
    assert (same_turn, await store.epoch()) == (before, before + 1)
    db.close()


async def test_a_registration_is_of_one_moment(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    await store.commit(make_event(), [Create(make_resource()), Create(make_permission())])
    before = await store.registration("agent-1")
    other, statements = apsw.Connection(str(path)), []

    def change_meanwhile(_: apsw.Cursor, statement: str, __: object) -> bool:
        statements.append(statement)
        if len(statements) == 2:
            other.execute("DELETE FROM permissions; DELETE FROM resources; UPDATE credentials SET state = 'revoked'")
        return True

    with store._reader as db:
        db.exec_trace = change_meanwhile
    assert await store.registration("agent-1") == before
    assert len(statements) == 4
    after = await store.registration("agent-1")
    assert (after.permissions, after.credentials[0].state.value) == ((), "revoked")
    other.close()


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_a_value_that_cannot_be_held_fails_alone(store: SqliteStore, failing: int) -> None:
    changes = [
        Create(replace(make_agent("\ud800"), version=1)),
        Create(replace(make_agent("big"), version=2**63)),
        Create(replace(make_agent("early"), created_at=datetime(1970, 1, 1))),  # noqa: DTZ001 -- no time zone is the point
    ]
    commits = [
        store.commit(make_event(), [Create(make_agent("other"))]),
        store.commit(make_event(), [changes[failing]]),
    ]
    outcomes = await asyncio.gather(*commits, store.commit(make_event()), return_exceptions=True)
    assert isinstance(outcomes[1], (ValueError, TypeError, OverflowError))
    assert outcomes[::2] == [None, None]
    assert (len(await store.events()), await store.epoch()) == (2, 1)


async def test_early_and_late_times_come_back(store: SqliteStore) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for n, moment in enumerate((first, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), last)):
        agent = replace(make_agent(f"agent-{n}"), created_at=moment)
        await store.commit(make_event(), [Create(agent)])
        assert await store.find_agent(agent.client_id) == agent


async def test_two_event_loops_may_share_a_store(store: SqliteStore) -> None:
    async def commit(count: int) -> None:
        await asyncio.gather(*(store.commit(make_event()) for _ in range(count)))

    thread = threading.Thread(target=asyncio.run, args=(commit(50),))
    thread.start()
    await commit(50)
    await asyncio.to_thread(thread.join)
    assert len(await store.events(limit=1000)) == 100


def transactions(path: Path) -> int:
    """Count the frames of the write-ahead log that end a transaction: they hold the database's size."""
    log = path.with_name(path.name + "-wal").read_bytes()
    frame = 24 + int.from_bytes(log[8:12], "big")
    return sum(log[start + 4 : start + 8] != bytes(4) for start in range(32, len(log), frame))


async def test_commits_of_one_turn_of_the_loop_share_one_flush(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent())])
    before = transactions(path)

    async def commit() -> None:
        for _ in range(20):  # a read lets other threads run
            await store.epoch()
        await store.commit(make_event())

    await asyncio.gather(*(commit() for _ in range(50)))
    assert (transactions(path) - before, len(await store.events(limit=1000))) == (1, 51)


async def test_commits_that_are_a_few_turns_apart_share_one_flush(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent())])
    before = transactions(path)

    async def commit(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await store.commit(make_event())

    await asyncio.gather(*(commit(turns) for turns in (0, 0, 3, 6, 6)))
    assert (transactions(path) - before, len(await store.events(limit=1000))) == (1, 6)


async def test_a_commit_that_is_alone_waits_for_nobody(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, batches = store._writer.submit, []

    def record(units: list[Unit]) -> None:
        batches.append(len(units))
        submit(units)

    monkeypatch.setattr(store._writer, "submit", record)

    async def commit_after(*turns: int) -> None:
        async def commit(number: int) -> None:
            for _ in range(number):
                await asyncio.sleep(0)
            await store.commit(make_event())

        await asyncio.gather(*map(commit, turns))

    await commit_after(0, 4)
    assert batches == [1, 1]
    await commit_after(0, 0)
    await commit_after(0, 4)
    assert batches == [1, 1, 2, 2]


async def test_commits_that_never_cease_keep_none_waiting(store: SqliteStore) -> None:
    waiting = [asyncio.create_task(store.commit(make_event()))]
    while not waiting[0].done():
        waiting.append(asyncio.create_task(store.commit(make_event())))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)


async def test_closing_finishes_what_has_just_begun(store: SqliteStore, path: Path) -> None:
    begun = asyncio.create_task(store.commit(make_event(), [Create(make_agent())]))
    await asyncio.sleep(0)
    await store.close()
    await begun
    again = SqliteStore.open(path)
    assert await again.find_agent("agent-1") == make_agent()
    await again.close()


async def test_a_loop_that_has_gone_disturbs_no_other(store: SqliteStore) -> None:
    gone = asyncio.new_event_loop()
    task = gone.create_task(store.commit(make_event(reason="gone")))
    gone.call_soon(gone.stop)
    await asyncio.to_thread(gone.run_forever)
    task.cancel()
    gone.close()
    await store.commit(make_event())


async def test_a_row_that_makes_no_sense_is_damage(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    await store.commit(make_event(), [Create(make_resource()), Create(make_permission())])
    db = apsw.Connection(str(path))
    db.execute("PRAGMA foreign_keys = OFF; DELETE FROM resources")
    with pytest.raises(StoreUnavailable) as caught:
        await store.registration("agent-1")
    assert caught.value.reason == "store.damaged"
    db.execute("UPDATE agents SET auth_methods = 'no json'")
    with pytest.raises(StoreUnavailable) as caught:
        await store.find_agent("agent-1")
    assert caught.value.reason == "store.damaged"
    db.close()


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (sqlite_registration.ONE_AGENT, 1),
        (sqlite._NAMED_AGENT, 1),
        (sqlite_registration._CREDENTIALS_OF, 1),
        (sqlite_registration._PERMISSIONS_OF, 1),
        (sqlite_registration.ONE_RESOURCE, 1),
        (sqlite._ONE_OPERATOR, 1),
        (sqlite._search(0, 9, {"client_id": "x"}, newest_first=True)[0], 2),
        (sqlite._search(5, 9, {"jti": "x"}, newest_first=False)[0], 3),
        (sqlite._search(5, 9, {"request_id": "x"}, newest_first=True)[0], 3),
    ],
)
async def test_what_is_asked_often_is_not_searched_for(store: SqliteStore, path: Path, query: str, values: int) -> None:
    db = apsw.Connection(str(path))
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", ("x",) * values)]
    assert all("SEARCH" in step for step in plan), plan
    db.close()


@pytest.mark.parametrize("query", [sqlite_registration._CREDENTIALS_OF, sqlite_registration._PERMISSIONS_OF])
async def test_what_belongs_to_a_client_is_found_in_one_search(store: SqliteStore, path: Path, query: str) -> None:
    db = apsw.Connection(str(path))
    (step,) = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", ("x",))]
    db.close()
    assert "USING PRIMARY KEY (client_id=?)" in step


async def test_revoking_is_durable(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    await store.commit(make_event(), [RevokeCredential("agent-1", "credential-1")])
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(path.with_name("watchword.db-wal").read_bytes())
    found = SqliteStore.open(copy)
    registration = await found.registration("agent-1")
    assert registration.credentials[0].state.value == "revoked"
    await found.close()


@rule("C8", "KF-92", "FI-26")
async def test_an_unknown_client_is_the_same_work_as_one_with_a_credential(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
    made = []
    build = sqlite_rows.build_credential
    monkeypatch.setattr(sqlite_rows, "build_credential", lambda row: made.append(row) or build(row))
    assert await store.credentials("agent-1") == (make_credential(),)
    assert len(made) == 1
    assert await store.credentials("nobody") is None
    assert len(made) == 2
    assert len(made[0]) == len(made[1])

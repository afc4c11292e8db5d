"""Which tables a PostgreSQL database has, and bringing it forward: numbered migrations whose checksums it remembers.

They stand in a schema of their own, so that they collide with nobody's.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_failures import AGAIN, TooLong
from watchword.adapters.postgres_link import Connection
from watchword.adapters.postgres_migrations import CLUSTER, COMPATIBILITY, KNOWN, MIGRATIONS
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.cluster import Node
from watchword.ports.schema import Migration, Schema
from watchword.server.schema import OUTDATED, Plan, check_way, compare, floor_of, heard_of

SCHEMA: Final = "watchword"

_CREATE: Final = """
CREATE SCHEMA IF NOT EXISTS watchword;
CREATE TABLE IF NOT EXISTS migrations (
    number      bigint PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  bigint NOT NULL
);
"""
_LOCK: Final = "LOCK TABLE migrations IN SHARE ROW EXCLUSIVE MODE"
_LOCK_WRITERS: Final = "LOCK TABLE counters IN ACCESS EXCLUSIVE MODE"
"""Every writer begins with this table. Who changes others first would have a writer in front of it that waits for it."""
_RECORD: Final = "INSERT INTO migrations (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)"
RAISE_FLOOR: Final = "UPDATE counters SET compatible_from = greatest(compatible_from, $1)"

_ALONE: Final = "SET LOCAL statement_timeout = '10min'"
_BESIDE_OTHERS: Final = "SET LOCAL statement_timeout = '500ms'; SET LOCAL lock_timeout = '100ms'"
_QUICKLY: Final = 0.5
"""Seconds that a step may take beside nodes. They wait meanwhile, and give up a database that says nothing for a second."""
_PATIENCE: Final = 30.0
"""Seconds for which a step tries to get its locks, again and again."""
_PAUSE: Final = 0.1


async def create(db: Connection, *, applied_at: int, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Make the tables in a database that has none, in one transaction.

    Raises:
        BadSettings: store.exists
    """
    async with db.transaction():
        await db.execute(_ALONE)
        await db.execute(_CREATE)
        await db.execute(_LOCK)
        if await _read_applied(db):
            detail = "the database has a store already: use that one, with its master key, or name another database"
            raise BadSettings("store.exists", detail=detail)
        for step in migrations:
            await _take(db, step, applied_at, migrations)


async def migrate(
    db: Connection,
    *,
    applied_at: int,
    migrations: tuple[Migration, ...] = MIGRATIONS,
    patience: float = _PATIENCE,
) -> int:
    """Take the steps that are missing, each in a transaction of its own; return how many that were.

    Others may work on the tables meanwhile. A step that cannot have them for a moment gives up at once, lets the others through,
    and tries again.

    Raises:
        BadSettings: store.missing, store.newer, store.checksum.
        StoreUnavailable: store.older_nodes, store.busy; the step that is named was not taken.
    """
    await _check_there(db)
    taken, until = 0, time.monotonic() + patience
    while True:
        try:
            if not await _take_next(db, applied_at, migrations):
                return taken
            taken, until = taken + 1, time.monotonic() + patience
        except AGAIN as error:
            if time.monotonic() >= until:
                raise _refused("the tables are in use by others all the time", taken, error) from error
        except TooLong as error:
            raise _refused("it takes too long beside those who work", taken, error) from error
        await asyncio.sleep(_PAUSE * (1 + secrets.randbelow(100) / 100))


def _refused(why: str, taken: int, error: Exception) -> StoreUnavailable:
    done = f"the {taken} before it stay" if taken else "nothing was changed"
    detail = (
        f"a step could not be taken: {why}; {done}. Try again when there is less to do, or stop the nodes ({error})"
    )
    return StoreUnavailable("store.busy", detail=detail)


async def _take_next(db: Connection, applied_at: int, migrations: tuple[Migration, ...]) -> bool:
    """Take one step, if one is missing; tell whether one was."""
    async with db.transaction():
        await db.execute(_BESIDE_OTHERS)
        await db.execute(_LOCK)
        plan = await read_plan(db, now=rows.moment(applied_at), migrations=migrations)
        if not plan.missing:
            return False
        check_way(plan.missing[0], plan.nodes)
        if not plan.nodes:
            await db.execute(_ALONE)
        async with asyncio.timeout(_QUICKLY if plan.nodes else None):
            await db.execute(_LOCK_WRITERS)
            await _take(db, plan.missing[0], applied_at, migrations)
    return True


async def _take(db: Connection, step: Migration, applied_at: int, migrations: tuple[Migration, ...]) -> None:
    await db.execute(step.sql)
    await db.execute(_RECORD, step.number, step.name, step.checksum, applied_at)
    if step.number >= COMPATIBILITY:
        await db.execute(RAISE_FLOOR, floor_of(migrations[: step.number]))


async def read_plan(db: Connection, *, now: datetime, migrations: tuple[Migration, ...] = MIGRATIONS) -> Plan:
    """Return what ``migrate`` would do, and who is there.

    Raises:
        BadSettings: store.newer, store.checksum, store.missing.
    """
    schema = await read_schema(db, migrations)
    nodes: Sequence[Node] = ()
    if schema.present >= CLUSTER:
        told = "schema" if schema.present >= COMPATIBILITY else f"{schema.present}::bigint"
        query = f"SELECT id, name, version, {told}, started_at, seen_at FROM nodes ORDER BY name, id"  # noqa: S608 -- no values
        nodes = [rows.build_node(row) for row in await db.fetch(query)]
    return Plan(schema, migrations[schema.present :], heard_of(nodes, now=now))


async def check_schema(db: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> Schema:
    """Return how the database stands to this program, if this may work on it: its own tables, or newer ones that let it.

    Raises:
        BadSettings: store.newer, store.older, store.checksum, store.missing.
    """
    schema = await read_schema(db, migrations)
    if schema.present < schema.known:
        detail = "the database is from an older version: run `watchword migrate --data DIR`"
        raise BadSettings("store.older", detail=detail)
    return schema


async def read_schema(db: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> Schema:
    """Return how the database stands to this program, which has to understand it.

    Raises:
        BadSettings: store.newer, store.checksum, store.missing.
    """
    await _check_there(db)
    applied = await _read_applied(db)
    floor = floor_of(migrations[: len(applied)])
    if len(applied) >= COMPATIBILITY:
        floor = max(floor, cast("int", await db.fetchval("SELECT compatible_from FROM counters")))
    return compare(applied, migrations, compatible_from=floor, place="the database")


async def check_floor(db: Connection) -> None:
    """Return while this program may work on the tables.

    Raises:
        StoreUnavailable: store.newer; they were brought forward under it.
    """
    if cast("int", await db.fetchval("SELECT compatible_from FROM counters")) > KNOWN:
        raise StoreUnavailable("store.newer", detail=OUTDATED)


async def _check_there(db: Connection) -> None:
    if await db.fetchval("SELECT to_regclass('watchword.migrations') IS NULL"):
        detail = "the database has no store: make one with `watchword init --database URL`, or correct the URL"
        raise BadSettings("store.missing", detail=detail)


async def _read_applied(db: Connection) -> list[tuple[int, str]]:
    found = await db.fetch("SELECT number, checksum FROM migrations ORDER BY number")
    return [(cast("int", row[0]), cast("str", row[1])) for row in found]

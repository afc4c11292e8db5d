"""Which tables a PostgreSQL database has, and bringing it forward: numbered migrations whose checksums it remembers.

They stand in a schema of their own, so that they collide with nobody's.
"""

from __future__ import annotations

from typing import Final

from watchword.adapters.postgres_link import Connection
from watchword.adapters.postgres_migrations import MIGRATIONS
from watchword.errors import BadSettings
from watchword.ports.schema import Migration

SCHEMA: Final = "watchword"

_RECORD: Final = "INSERT INTO migrations VALUES ($1, $2, $3, $4)"
_TABLE: Final = """
CREATE SCHEMA IF NOT EXISTS watchword;
CREATE TABLE IF NOT EXISTS migrations (
    number      bigint PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  bigint NOT NULL
);
LOCK TABLE migrations IN SHARE ROW EXCLUSIVE MODE;
"""
_PATIENT: Final = "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '30s'"


async def migrate(
    db: Connection, *, applied_at: int, is_new: bool = False, migrations: tuple[Migration, ...] = MIGRATIONS
) -> int:
    """Apply what is missing, all in one transaction; return how many steps that were. ``is_new``: there may be nothing yet.

    Raises:
        BadSettings: store.newer, store.checksum, store.exists, store.missing.
    """
    async with db.transaction():
        await db.execute(_PATIENT)
        if not is_new:
            await _check_there(db)
        await db.execute(_TABLE)
        applied = await _check_applied(db, migrations)
        if is_new and applied:
            raise BadSettings(
                "store.exists",
                detail="the database has a store already: use that one, with its master key, or name another database",
            )
        for step in migrations[len(applied) :]:
            await db.execute(step.sql)
            await db.execute(_RECORD, step.number, step.name, step.checksum, applied_at)
    return len(migrations) - len(applied)


async def count_missing(db: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Return how many steps ``migrate`` would take.

    Raises:
        BadSettings: store.newer, store.checksum, store.missing.
    """
    await _check_there(db)
    return len(migrations) - len(await _check_applied(db, migrations))


async def check_schema(db: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Return if the database has exactly this version's tables.

    Raises:
        BadSettings: store.newer, store.older, store.checksum, store.missing.
    """
    if await count_missing(db, migrations):
        detail = "the database is from an older version: run `watchword migrate --data DIR`"
        raise BadSettings("store.older", detail=detail)


async def _check_there(db: Connection) -> None:
    if await db.fetchval("SELECT to_regclass('watchword.migrations') IS NULL"):
        detail = "the database has no store: make one with `watchword init --database URL`, or correct the URL"
        raise BadSettings("store.missing", detail=detail)


async def _check_applied(db: Connection, migrations: tuple[Migration, ...]) -> list[tuple[object, object]]:
    found = await db.fetch("SELECT number, checksum FROM migrations ORDER BY number")
    applied: list[tuple[object, object]] = [(row[0], row[1]) for row in found]
    if len(applied) > len(migrations):
        detail = f"the database has schema {applied[-1][0]}, this version knows {len(migrations)}: upgrade watchword"
        raise BadSettings("store.newer", detail=detail)
    if applied != [(step.number, step.checksum) for step in migrations[: len(applied)]]:
        detail = "the schema's recorded checksums are not this version's: the database was altered; restore a backup"
        raise BadSettings("store.checksum", detail=detail)
    return applied

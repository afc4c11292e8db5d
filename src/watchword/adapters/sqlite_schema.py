"""Which tables a database has, and bringing it forward: numbered migrations whose checksums it remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_migrations import MIGRATIONS
from watchword.errors import BadSettings
from watchword.ports.schema import Migration

APPLICATION_ID: Final = 0x77772D31
"""Stands in the file's header: this database is watchword's and no other program's."""

BACKUP_ID: Final = 0x77772D42
"""The same for a backup, which is no store before it is put back."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def migrate(db: apsw.Connection, *, now: datetime, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Apply what is missing, all in one transaction; return how many steps that were.

    Raises:
        BadSettings: store.newer, store.checksum.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        missing = migrations[len(_check_applied(db, migrations)) :]
        for step in missing:
            db.execute(step.sql)
            applied_at = (now - _EPOCH) // timedelta(microseconds=1)
            db.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, ?)", (step.number, step.name, step.checksum, applied_at)
            )
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return len(missing)


def count_missing(db: apsw.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Return how many steps ``migrate`` would take.

    Raises:
        BadSettings: store.newer, store.checksum.
    """
    return len(migrations) - len(_check_applied(db, migrations))


def check_schema(db: apsw.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Return if the database has exactly this version's tables.

    Raises:
        BadSettings: store.newer, store.older, store.checksum.
    """
    if count_missing(db, migrations):
        command = f"watchword migrate --data {Path(db.filename).parent}"
        raise BadSettings("store.older", detail=f"the data directory is from an older version: run `{command}`")


def _check_applied(db: apsw.Connection, migrations: tuple[Migration, ...]) -> list[tuple[int, str]]:
    if not db.table_exists(None, "migrations"):
        return []
    applied = [
        (int(row[0]), str(row[1])) for row in db.execute("SELECT number, checksum FROM migrations ORDER BY number")
    ]
    if len(applied) > len(migrations):
        raise BadSettings(
            "store.newer",
            detail=f"the data directory has schema {applied[-1][0]}, this version knows {len(migrations)}: upgrade watchword",
        )
    if applied != [(step.number, step.checksum) for step in migrations[: len(applied)]]:
        raise BadSettings(
            "store.checksum",
            detail="the schema's recorded checksums are not this version's: the file was altered; restore a backup",
        )
    return applied

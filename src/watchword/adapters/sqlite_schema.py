"""Which tables a database has, and bringing it forward: numbered migrations whose checksums it remembers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, cast

import apsw

from watchword.adapters.sqlite_migrations import CLUSTER, COMPATIBILITY, KNOWN, MIGRATIONS
from watchword.adapters.sqlite_values import moment, time_value
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.cluster import Node
from watchword.ports.schema import Migration, Schema
from watchword.server.schema import OUTDATED, Plan, check_way, compare, floor_of, heard_of

APPLICATION_ID: Final = 0x77772D31
"""Stands in the file's header: this database is watchword's and no other program's."""

BACKUP_ID: Final = 0x77772D42
"""The same for a backup, which is no store before it is put back."""

_RECORD: Final = "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)"
RAISE_FLOOR: Final = "UPDATE counters SET compatible_from = max(compatible_from, ?)"
_COUNTED: Final = f"SELECT CASE WHEN compatible_from <= {KNOWN} THEN epoch ELSE -1 END FROM counters"  # noqa: S608


def migrate(db: apsw.Connection, *, now: datetime, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Apply what is missing, all in one transaction; return how many steps that were.

    Raises:
        BadSettings: store.newer, store.checksum.
        StoreUnavailable: store.older_nodes; nothing was changed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        plan = read_plan(db, now=now, migrations=migrations)
        for step in plan.missing:
            check_way(step, plan.nodes)
            db.execute(step.sql)
            db.execute(_RECORD, (step.number, step.name, step.checksum, time_value(now)))
        if plan.missing and plan.missing[-1].number >= COMPATIBILITY:
            db.execute(RAISE_FLOOR, (floor_of(migrations),))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return len(plan.missing)


def read_plan(db: apsw.Connection, *, now: datetime, migrations: tuple[Migration, ...] = MIGRATIONS) -> Plan:
    """Return what ``migrate`` would do, and who is there.

    Raises:
        BadSettings: store.newer, store.checksum.
    """
    schema = read_schema(db, migrations)
    nodes: Sequence[Node] = ()
    if schema.present >= CLUSTER:
        nodes = read_nodes(db, "schema" if schema.present >= COMPATIBILITY else str(schema.present))
    return Plan(schema, migrations[schema.present :], heard_of(nodes, now=now))


def check_schema(db: apsw.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> Schema:
    """Return how the database stands to this program, if this may work on it: its own tables, or newer ones that let it.

    Raises:
        BadSettings: store.newer, store.older, store.checksum.
    """
    schema = read_schema(db, migrations)
    if schema.present < schema.known:
        command = f"watchword migrate --data {Path(db.filename).parent}"
        raise BadSettings("store.older", detail=f"the data directory is from an older version: run `{command}`")
    return schema


def read_schema(db: apsw.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> Schema:
    """Return how the database stands to this program, which has to understand it.

    Raises:
        BadSettings: store.newer, store.checksum.
    """
    applied: list[tuple[int, str]] = []
    if db.table_exists(None, "migrations"):
        found = db.execute("SELECT number, checksum FROM migrations ORDER BY number")
        applied = [(cast("int", row[0]), cast("str", row[1])) for row in found]
    floor = floor_of(migrations[: len(applied)])
    if len(applied) >= COMPATIBILITY:
        floor = max(floor, cast("int", db.execute("SELECT compatible_from FROM counters").get))
    return compare(applied, migrations, compatible_from=floor, place="the data directory")


def read_epoch(db: apsw.Connection) -> int:
    """Return the number of commits that changed something, to a program that may work on these tables.

    Raises:
        StoreUnavailable: store.newer; the tables were brought forward under it.
        TypeError: the counters are gone.
    """
    count = db.execute(_COUNTED).get
    if not isinstance(count, int):
        raise TypeError("the counters are gone")
    if count < 0:
        raise StoreUnavailable("store.newer", detail=OUTDATED)
    return count


def read_nodes(db: apsw.Connection, schema: str = "schema") -> list[Node]:
    """Return every node, by name and id. ``schema`` is where their program says what it knows."""
    query = f"SELECT id, name, version, {schema}, started_at, seen_at FROM nodes ORDER BY name, id"  # noqa: S608 -- no values
    return [_build_node(row) for row in db.execute(query)]


def _build_node(row: Sequence[apsw.SQLiteValue]) -> Node:
    node_id, name, version, schema, started_at, seen_at = cast("tuple[str, str, str, int, int, int]", tuple(row))
    return Node(
        id=node_id,
        name=name,
        version=version,
        schema=schema,
        started_at=moment(started_at),
        seen_at=moment(seen_at),
    )

"""Nodes and offices in the SQLite store: each change is one statement in the writer's transaction, which other commits share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeAlias, cast

import apsw

from watchword.adapters.sqlite_migrations import MIGRATIONS
from watchword.adapters.sqlite_reader import Reader
from watchword.adapters.sqlite_schema import RAISE_FLOOR, read_nodes
from watchword.adapters.sqlite_values import Row, Values, moment, time_value
from watchword.errors import Conflict
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep, Node, Office
from watchword.server.schema import numbered

Work: TypeAlias = "Callable[[apsw.Connection], int | None]"

_REPORT: Final = """
INSERT INTO nodes (id, name, version, schema, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, schema = excluded.schema,
    started_at = excluded.started_at, seen_at = excluded.seen_at
"""
_OFFICES: Final = "SELECT name, holder, term, until FROM offices ORDER BY name"
_LEAVE: Final = "DELETE FROM nodes WHERE id = ?"
_RESIGN_ALL: Final = "UPDATE offices SET holder = '' WHERE holder = ?"
_RESIGN: Final = "UPDATE offices SET holder = '' WHERE name = ? AND holder = ?"
_HOLD: Final = """
INSERT INTO offices (name, holder, term, until) VALUES (?1, ?2, 1, ?4)
ON CONFLICT (name) DO UPDATE
SET term = term + (offices.holder = '' OR offices.until <= ?3), holder = excluded.holder, until = excluded.until
WHERE offices.holder IN ('', excluded.holder) OR offices.until <= ?3
RETURNING term
"""
_IN_TERM: Final = "SELECT 1 FROM offices WHERE name = ? AND term = ? AND holder <> ''"
_OLDER: Final = """
SELECT 1 FROM counters, nodes WHERE counters.compatible_from < ?1 AND nodes.schema < ?1 AND nodes.seen_at > ?2
"""
_FORGET: Final = "DELETE FROM nodes WHERE id = ? AND seen_at < ?"


class ClusterPart:
    """What ``SqliteStore`` says of the ``Cluster`` port."""

    _reader: Reader

    async def _do(self, work: Work) -> int | None:
        """Do something in the transaction of whoever writes next, and return what came of it."""
        raise NotImplementedError

    async def report(self, node: Node) -> None:
        """Remember that this node was there."""
        times = (time_value(node.started_at), time_value(node.seen_at))
        await self._do(_statement(_REPORT, (node.id, node.name, node.version, node.schema, *times)))

    async def leave(self, node_id: str) -> None:
        """Forget this node, and what it holds."""

        def work(db: apsw.Connection) -> None:
            db.execute(_LEAVE, (node_id,))
            db.execute(_RESIGN_ALL, (node_id,))

        await self._do(work)

    async def nodes(self) -> Sequence[Node]:
        """Return every node, by name and id."""
        with self._reader as db:
            return read_nodes(db)

    async def offices(self) -> Sequence[Office]:
        """Return every office, by name."""
        with self._reader as db:
            return [_build_office(row) for row in db.execute(_OFFICES)]

    async def hold(self, office: str, holder: str, *, now: datetime, until: datetime) -> int | None:
        """Take or keep an office, or be refused."""
        return await self._do(_statement(_HOLD, (office, holder, time_value(now), time_value(until))))

    async def resign(self, office: str, holder: str) -> None:
        """Give up an office."""
        await self._do(_statement(_RESIGN, (office, holder)))


def apply(db: apsw.Connection, change: InTerm | ForgetNode | NeedsStep) -> None:
    """Refuse the commit out of its term, or beside those who would not honour it; forget a node.

    Raises:
        Conflict: office.term, node.missing, node.older
    """
    if isinstance(change, InTerm):
        if db.execute(_IN_TERM, (change.office, change.term)).fetchone() is None:
            raise Conflict("office.term")
    elif isinstance(change, NeedsStep):
        number = numbered(change.step, MIGRATIONS)
        if db.execute(_OLDER, (number, time_value(change.since))).fetchone() is not None:
            raise Conflict("node.older")
        db.execute(RAISE_FLOOR, (number,))
    else:
        db.execute(_FORGET, (change.node_id, time_value(change.before)))
        if not db.changes():
            raise Conflict("node.missing")


def _statement(query: str, values: Values) -> Work:
    def work(db: apsw.Connection) -> int | None:
        return cast("int | None", db.execute(query, values).get)

    return work


def _build_office(row: Row) -> Office:
    name, holder, term = cast("tuple[str, str, int]", tuple(row[:3]))
    return Office(name, holder, term, moment(row[3]))

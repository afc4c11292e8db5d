"""Nodes and offices in PostgreSQL: one statement each, outside the transactions of the writer.

A commit in a term locks the row of its office until it is through: whoever would take the office waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_failures import Failed, unavailable
from watchword.adapters.postgres_link import Connection, Link, Row
from watchword.adapters.postgres_migrations import MIGRATIONS
from watchword.adapters.postgres_schema import RAISE_FLOOR
from watchword.errors import Conflict
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep, Node, Office
from watchword.server.schema import numbered

T = TypeVar("T")

_REPORT: Final = """
INSERT INTO nodes (id, name, version, schema, started_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, schema = excluded.schema,
    started_at = excluded.started_at, seen_at = excluded.seen_at
"""
_NODES: Final = "SELECT id, name, version, schema, started_at, seen_at FROM nodes ORDER BY name, id"
_OFFICES: Final = "SELECT name, holder, term, until FROM offices ORDER BY name"
_LEAVE: Final = """
WITH gone AS (DELETE FROM nodes WHERE id = $1) UPDATE offices SET holder = '' WHERE holder = $1
"""
_RESIGN: Final = "UPDATE offices SET holder = '' WHERE name = $1 AND holder = $2"
_HOLD: Final = """
INSERT INTO offices (name, holder, term, until) VALUES ($1, $2, 1, $4)
ON CONFLICT (name) DO UPDATE
SET term = offices.term + CASE WHEN offices.holder = '' OR offices.until <= $3 THEN 1 ELSE 0 END,
    holder = excluded.holder, until = excluded.until
WHERE offices.holder IN ('', excluded.holder) OR offices.until <= $3
RETURNING term
"""
_IN_TERM: Final = "SELECT 1 FROM offices WHERE name = $1 AND term = $2 AND holder <> '' FOR SHARE"
_OLDER: Final = """
SELECT 1 FROM counters, nodes WHERE counters.compatible_from < $1 AND nodes.schema < $1 AND nodes.seen_at > $2 LIMIT 1
"""
_FORGET: Final = "DELETE FROM nodes WHERE id = $1 AND seen_at < $2 RETURNING id"


class ClusterPart:
    """What ``PostgresStore`` says of the ``Cluster`` port."""

    _reads: Link

    async def _many(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> list[T]:
        raise NotImplementedError

    async def report(self, node: Node) -> None:
        """Remember that this node was there."""
        times = (rows.time_value(node.started_at), rows.time_value(node.seen_at))
        await self._write_now(_REPORT, node.id, node.name, node.version, node.schema, *times)

    async def leave(self, node_id: str) -> None:
        """Forget this node, and what it holds."""
        await self._write_now(_LEAVE, node_id)

    async def nodes(self) -> Sequence[Node]:
        """Return every node, by name and id."""
        return await self._many(rows.build_node, _NODES)

    async def offices(self) -> Sequence[Office]:
        """Return every office, by name."""
        return await self._many(rows.build_office, _OFFICES)

    async def hold(self, office: str, holder: str, *, now: datetime, until: datetime) -> int | None:
        """Take or keep an office, or be refused."""
        term = await self._write_now(_HOLD, office, holder, rows.time_value(now), rows.time_value(until))
        return cast("int | None", term)

    async def resign(self, office: str, holder: str) -> None:
        """Give up an office."""
        await self._write_now(_RESIGN, office, holder)

    async def _write_now(self, query: str, *values: rows.Value) -> object:
        """Do it once. When the connection is lost, nobody knows whether it was done: it may be done again."""
        try:
            return await self._reads.write(lambda db: db.fetchval(query, *rows.columns(values)))
        except Failed as error:
            raise unavailable(error) from error


async def apply(db: Connection, change: InTerm | ForgetNode | NeedsStep) -> None:
    """Refuse the commit out of its term, or beside those who would not honour it; forget a node.

    Raises:
        Conflict: office.term, node.missing, node.older
    """
    if isinstance(change, InTerm):
        if await db.fetchval(_IN_TERM, rows.held(change.office), change.term) is None:
            raise Conflict("office.term")
    elif isinstance(change, NeedsStep):
        number = numbered(change.step, MIGRATIONS)
        if await db.fetchval(_OLDER, number, rows.time_value(change.since)) is not None:
            raise Conflict("node.older")
        await db.execute(RAISE_FLOOR, number)
    elif await db.fetchval(_FORGET, rows.held(change.node_id), rows.time_value(change.before)) is None:
        raise Conflict("node.missing")

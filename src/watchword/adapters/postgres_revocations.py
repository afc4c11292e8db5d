"""Revocations in PostgreSQL. Whoever adds one has locked the row of the counters: sequences come in the order of commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters import sqlite_revocations as values
from watchword.adapters.postgres_link import Connection, Row
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.protocol.revocation import Revocation

T = TypeVar("T")

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_REVOKE: Final = f"""
INSERT INTO revocations ({values.COLUMNS}) SELECT sequence + 1, $1, $2, $3, $4, $5, $6 FROM revocation_counters
ON CONFLICT (kind, target) DO UPDATE SET sequence = excluded.sequence, cutoff = excluded.cutoff,
    created_at = excluded.created_at, expires_at = greatest(revocations.expires_at, excluded.expires_at),
    status = excluded.status
WHERE excluded.cutoff > revocations.cutoff RETURNING 1
"""
_COUNT: Final = "UPDATE revocation_counters SET sequence = sequence + 1"
_PRUNE: Final = "DELETE FROM revocations WHERE expires_at <= $1"
_AFTER: Final = f"SELECT {values.COLUMNS} FROM revocations WHERE sequence > $1 ORDER BY sequence LIMIT $2"
_LAST: Final = "SELECT sequence FROM revocation_counters"
_BLOCKS: Final = "SELECT status_blocks FROM revocation_counters"
_TAKE: Final = "UPDATE revocation_counters SET status_blocks = status_blocks + 1 RETURNING status_blocks - 1"


class RevocationPart:
    """What ``PostgresStore`` says of the ``Revocations`` port."""

    async def _many(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> list[T]:
        raise NotImplementedError

    async def _write_now(self, query: str, *values: rows.Value) -> object:
        raise NotImplementedError

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """Return revocations by sequence."""
        return await self._many(_build, _AFTER, after, max(limit, 0))

    async def revocation_sequence(self) -> int:
        """Return the sequence that was given last."""
        return (await self._many(_number, _LAST))[0]

    async def status_blocks(self) -> int:
        """Return how many blocks of places have been taken."""
        return (await self._many(_number, _BLOCKS))[0]

    async def take_status_block(self) -> int:
        """Return a block of places that is nobody else's; one whose number was lost with the connection is nobody's."""
        return cast("int", await self._write_now(_TAKE))


async def apply(db: Connection, change: Revoke | PruneRevocations) -> None:
    """Store a revocation whose cut-off is later than that of the one before it, or remove those that are over."""
    if isinstance(change, PruneRevocations):
        await db.execute(_PRUNE, rows.time_value(change.now))
    elif await db.fetchval(_REVOKE, *rows.columns(values.revocation_values(change.revocation))) is not None:
        await db.execute(_COUNT)


def _build(stored: Row) -> Revocation:
    return values.build_revocation(rows.given(stored))


def _number(stored: Row) -> int:
    return cast("int", stored[0])

"""Revocations in the SQLite store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import apsw

from watchword.adapters.sqlite_cluster import Work
from watchword.adapters.sqlite_reader import Reader
from watchword.adapters.sqlite_values import Row, Values, moment, time_value
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.protocol.revocation import Revocation, RevocationKind

COLUMNS: Final = "sequence, kind, target, cutoff, created_at, expires_at, status"
COUNTERS: Final = "id, sequence, status_blocks"

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_REVOKE: Final = f"""
INSERT INTO revocations ({COLUMNS}) SELECT sequence + 1, ?, ?, ?, ?, ?, ? FROM revocation_counters WHERE true
ON CONFLICT (kind, target) DO UPDATE SET sequence = excluded.sequence, cutoff = excluded.cutoff,
    created_at = excluded.created_at, expires_at = max(revocations.expires_at, excluded.expires_at), status = excluded.status
WHERE excluded.cutoff > revocations.cutoff
"""
_COUNT: Final = "UPDATE revocation_counters SET sequence = sequence + 1"
_PRUNE: Final = "DELETE FROM revocations WHERE expires_at <= ?"
_AFTER: Final = f"SELECT {COLUMNS} FROM revocations WHERE sequence > ? ORDER BY sequence LIMIT ?"
_LAST: Final = "SELECT sequence FROM revocation_counters"
_BLOCKS: Final = "SELECT status_blocks FROM revocation_counters"
_TAKE: Final = "UPDATE revocation_counters SET status_blocks = status_blocks + 1 RETURNING status_blocks - 1"


class RevocationPart:
    """What ``SqliteStore`` says of the ``Revocations`` port."""

    _reader: Reader

    async def _do(self, work: Work) -> int | None:
        raise NotImplementedError

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """Return revocations by sequence."""
        with self._reader as db:
            return [build_revocation(row) for row in db.execute(_AFTER, (after, max(limit, 0)))]

    async def revocation_sequence(self) -> int:
        """Return the sequence that was given last."""
        with self._reader as db:
            return cast("int", db.execute(_LAST).get)

    async def status_blocks(self) -> int:
        """Return how many blocks of places have been taken."""
        with self._reader as db:
            return cast("int", db.execute(_BLOCKS).get)

    async def take_status_block(self) -> int:
        """Return a block of places that is nobody else's."""
        return cast("int", await self._do(lambda db: cast("int", db.execute(_TAKE).get)))


def apply(db: apsw.Connection, change: Revoke | PruneRevocations) -> None:
    """Store a revocation whose cut-off is later than that of the one before it, or remove those that are over."""
    if isinstance(change, PruneRevocations):
        db.execute(_PRUNE, (time_value(change.now),))
        return
    db.execute(_REVOKE, revocation_values(change.revocation))
    if db.changes():
        db.execute(_COUNT)


def revocation_values(revocation: Revocation) -> Values:
    """Return the values of ``COLUMNS`` but for the sequence."""
    return (
        revocation.kind.value,
        revocation.target,
        time_value(revocation.cutoff),
        time_value(revocation.created_at),
        time_value(revocation.expires_at),
        revocation.status,
    )


def build_revocation(row: Row) -> Revocation:
    """Return the revocation of a row with ``COLUMNS``."""
    return Revocation(
        sequence=cast("int", row[0]),
        kind=RevocationKind(cast("str", row[1])),
        target=cast("str", row[2]),
        cutoff=moment(row[3]),
        created_at=moment(row[4]),
        expires_at=moment(row[5]),
        status=cast("int | None", row[6]),
    )

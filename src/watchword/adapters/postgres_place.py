"""Where a store is in PostgreSQL, so that one that was put back from a copy can be told from one that was never away."""

from __future__ import annotations

from typing import Final

from watchword.adapters.postgres_link import Connection

_HERE: Final = (
    "(SELECT system_identifier FROM pg_control_system())::text || ' ' || 'watchword.audit'::regclass::oid::text"
)
"""The cluster and the table. A standby that takes over is the same place; what ``pg_restore`` has made is another."""

# ruff: noqa: S608 -- a constant of this adapter
_IS_ELSEWHERE: Final = f"SELECT place <> {_HERE} FROM home"
_SETTLE: Final = f"UPDATE home SET place = {_HERE}"


async def is_elsewhere(db: Connection) -> bool:
    """Tell whether the store is not where it began its present generation."""
    return bool(await db.fetchval(_IS_ELSEWHERE))


async def settle(db: Connection) -> None:
    """A generation begins here."""
    await db.execute(_SETTLE)

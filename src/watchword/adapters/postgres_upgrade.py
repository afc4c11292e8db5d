"""Bringing an older PostgreSQL database forward, also while nodes work on it, and asking how far it is behind."""

from __future__ import annotations

from typing import Final

from watchword.adapters.postgres import with_database
from watchword.adapters.postgres_rows import time_value
from watchword.adapters.postgres_schema import migrate, read_plan
from watchword.clock import Clock
from watchword.server.schema import Plan

_SECONDS: Final = 600.0


async def upgrade(url: str, *, clock: Clock) -> int:
    """Bring a database up to this version, while nodes work on it; return the number of steps taken.

    Raises:
        BadSettings: store.missing, store.newer, store.checksum
        StoreUnavailable: store.older_nodes, store.busy; or it cannot be reached or written.
    """
    applied_at = time_value(clock()) or 0
    return await with_database(url, lambda db: migrate(db, applied_at=applied_at), seconds=_SECONDS)


async def plan_upgrade(url: str, *, clock: Clock) -> Plan:
    """Return what ``upgrade`` would do, and which nodes are there.

    Raises:
        BadSettings, StoreUnavailable: as ``upgrade``.
    """
    return await with_database(url, lambda db: read_plan(db, now=clock()))

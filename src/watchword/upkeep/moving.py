"""Moving a store from the file in its data directory to a PostgreSQL database, with all it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from watchword.adapters.data_directory import alone
from watchword.adapters.local_user import local_user
from watchword.adapters.postgres_url import check_url, masked
from watchword.adapters.sqlite_dump import TABLES, dumped
from watchword.adapters.sqlite_values import time_value
from watchword.clock import Clock, system_clock
from watchword.config import FILE_NAME, read_file
from watchword.errors import BadSettings
from watchword.operations.context import OperationContext, Peppers, Principal
from watchword.operations.store_identity import RecordMove, record_move
from watchword.ports.agents import Role
from watchword.stores import DATABASE_FILE, STORE_FILE, engine
from watchword.upkeep.settings_file import write_setting

MOVED: str = STORE_FILE + ".moved"


@dataclass(frozen=True, slots=True)
class Moved:
    """``rows`` are how many of each table; ``left`` is what the file is called now."""

    database: str
    rows: Mapping[str, int]
    left: Path


async def move_to_database(data: Path, database: str, *, clock: Clock = system_clock) -> Moved:
    """Copy all of a store into an empty database, prove the copy, and let the data directory name it from now on.

    No server may be running. The file stays, under another name, so that nobody takes it for the store.

    Raises:
        BadSettings: store.in_use, store.exists, store.moved, settings.database, store.*
        StoreUnavailable: store.differs, store.*
    """
    check_url(database)
    settings = data / FILE_NAME
    if read_file(settings).values.keys() & {"database", "database_file"}:
        raise BadSettings("store.moved", detail=f"{settings} names a database already: the store is there")
    store = engine()
    from watchword.adapters.postgres_load import load

    with alone(data):
        with dumped(data / STORE_FILE) as dump:
            applied_at = time_value(clock()) or 0
            rows = await load(database, TABLES, dump.read, epoch=dump.epoch(), applied_at=applied_at)
        opened = await store.open(database)
        try:
            principal = Principal(f"local:{local_user()}", Role.ADMIN)
            context = OperationContext(
                store=opened, clock=clock, issuer="", peppers=Peppers(b"", b""), principal=principal
            )
            await record_move(context, RecordMove(database=masked(database)))
        finally:
            await opened.close()
        _name_database(data, database)
        (data / STORE_FILE).rename(data / MOVED)
    return Moved(masked(database), rows, data / MOVED)


def _name_database(data: Path, database: str) -> None:
    descriptor = os.open(data / DATABASE_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(f"{database}\n")
    write_setting(data / FILE_NAME, "database_file", json.dumps(DATABASE_FILE))

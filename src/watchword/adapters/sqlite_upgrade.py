"""Bringing an older database forward, also while others work on it, and asking how far it is behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_file import check_header, check_sqlite, connect, unavailable
from watchword.adapters.sqlite_gate import Gate
from watchword.adapters.sqlite_schema import migrate, read_plan
from watchword.server.schema import Plan

_PATIENCE: Final = 10.0  # seconds that it waits for its turn


def upgrade_file(path: Path, *, now: datetime) -> int:
    """Bring a database up to this version, in one transaction and in turn with who writes; return the number of steps taken.

    Raises:
        BadSettings: as ``SqliteStore.open``, but for ``store.older``.
        StoreUnavailable: store.older_nodes; or it cannot be written, or is damaged. Nothing was changed.
    """
    with _opened(path) as db, closing(Gate(path)) as gate:
        gate.acquire(time.monotonic() + _PATIENCE)
        try:
            return migrate(db, now=now)
        finally:
            gate.release()


def check_library() -> None:
    """Return if the SQLite at hand may be trusted.

    Raises:
        BadSettings: store.sqlite
    """
    check_sqlite(apsw.sqlite_lib_version())


def renew_mark(path: Path) -> None:
    """Give a database another mark, so that a write-ahead log of an earlier life does not fit it."""
    with _opened(path) as db, db:
        db.execute("UPDATE identity SET mark = randomblob(16); UPDATE heads SET mark = (SELECT mark FROM identity)")


def plan_upgrade(path: Path, *, now: datetime) -> Plan:
    """Return what ``upgrade_file`` would do, and which nodes are there.

    Raises:
        BadSettings, StoreUnavailable: as ``upgrade_file``.
    """
    with _opened(path) as db:
        return read_plan(db, now=now)


def integrity_problems(path: Path) -> list[str]:
    """Return what SQLite finds wrong with the whole file, ten lines at most.

    Raises:
        BadSettings, StoreUnavailable: as ``upgrade_file``.
    """
    with _opened(path) as db:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else found


@contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    check_header(path)
    db = connect(path.resolve())
    try:
        yield db
    except apsw.Error as error:
        raise unavailable(error) from error
    finally:
        db.close()

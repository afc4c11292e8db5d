"""Bringing an older database forward, and asking how far it is behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from watchword.adapters.sqlite_file import check_header, check_sqlite, connect, unavailable
from watchword.adapters.sqlite_schema import count_missing, migrate


def upgrade_file(path: Path, *, now: datetime) -> int:
    """Bring a database up to this version, in one transaction; return the number of steps taken.

    Raises:
        BadSettings: as ``SqliteStore.open``, but for ``store.older``.
        StoreUnavailable: it cannot be written, or is damaged.
    """
    with _opened(path) as db:
        return migrate(db, now=now)


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


def missing_steps(path: Path) -> int:
    """Return the number of steps that ``upgrade_file`` would take.

    Raises:
        BadSettings, StoreUnavailable: as ``upgrade_file``.
    """
    with _opened(path) as db:
        return count_missing(db)


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

"""Bringing an older database forward, and asking how far it is behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from watchword.adapters.sqlite_file import check_header, connect, unavailable
from watchword.adapters.sqlite_schema import count_missing, migrate


def upgrade_file(path: Path, *, now: datetime) -> int:
    """Bring a database up to this version, in one transaction; return the number of steps taken.

    Raises:
        BadSettings: as ``SqliteStore.open``, but for ``store.older``.
        StoreUnavailable: it cannot be written, or is damaged.
    """
    with _opened(path) as db:
        return migrate(db, now=now)


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

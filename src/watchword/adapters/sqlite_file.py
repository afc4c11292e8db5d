"""The database file: made once, opened with suspicion, and never made anew over something that is not understood."""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_schema import APPLICATION_ID, BACKUP_ID, check_schema, migrate
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.schema import Schema

OLDEST_SQLITE: Final = (3, 51, 3)
"""Before it, connections that checkpoint at once can corrupt the write-ahead log."""

_MAGIC: Final = b"SQLite format 3\x00"
_BUSY_MILLISECONDS: Final = 2000
_READER_BUSY_MILLISECONDS: Final = 250
_RESTORE: Final = "restore a backup"
_LOOKS: Final = 5
_FOREIGN_LOG: Final = "SELECT 1 FROM heads WHERE mark <> (SELECT mark FROM identity)"
_STATE_TABLES: Final = (
    "migrations",
    "counters",
    "agents",
    "credentials",
    "resources",
    "permissions",
    "operators",
    "signing_keys",
    "trusted_issuers",
    "heads",
    "identity",
    "nodes",
    "offices",
)


def check_sqlite(version: str) -> None:
    """Return if this SQLite may be trusted with several processes on one file.

    Raises:
        BadSettings: store.sqlite.
    """
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        raise BadSettings(
            "store.sqlite",
            detail=f"SQLite {version} can corrupt the database: install an apsw with SQLite 3.51.3 or newer",
        )


def create_file(path: Path, *, now: datetime) -> None:
    """Make a new database at ``path``, complete or not at all: file 0600, a missing directory 0700.

    Raises:
        BadSettings: store.exists, store.sqlite.
        StoreUnavailable: it cannot be written.
    """
    check_sqlite(apsw.sqlite_lib_version())
    if os.path.lexists(path):
        raise _exists(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        _fill(draft, now)
        os.link(draft, path)
        _sync_directory(path.parent)
    except FileExistsError as error:
        raise _exists(path) from error
    except (OSError, apsw.Error) as error:
        raise unavailable(error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _fill(draft: Path, now: datetime) -> None:
    db = apsw.Connection(str(draft), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("journal_mode", "wal")
        migrate(db, now=now)
    finally:
        db.close()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path) -> BadSettings:
    return BadSettings("store.exists", detail=f"{path} exists already: choose another data directory, or use this one")


def check_file(path: Path) -> Schema:
    """Return how the tables stand to this program, if a sound database that it may work on is at ``path``.

    It looks before SQLite touches it.

    Raises:
        BadSettings: store.missing, store.foreign, store.backup_copy, store.permission, store.newer, store.older, store.checksum,
            store.sqlite.
        StoreUnavailable: store.damaged, store.wal, or it cannot be read.
    """
    check_header(path)
    has_log = _check_log(path)
    db = connect(path)
    try:
        if has_log:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # what is refused stays as it is
        schema = check_schema(db)
        if db.execute(_FOREIGN_LOG).fetchone() is not None:
            raise StoreUnavailable("store.wal", detail=f"{path}-wal is another database's: {_RESTORE}")
        for table in _STATE_TABLES:
            if db.pragma("quick_check", table) != "ok":
                raise StoreUnavailable("store.damaged", detail=f"{path}: table {table} is damaged: {_RESTORE}")
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    except apsw.Error as error:
        raise unavailable(error) from error
    finally:
        db.close()
    return schema


def check_header(path: Path) -> None:
    """Return if the file's first bytes say that it is a database of watchword."""
    check_sqlite(apsw.sqlite_lib_version())
    try:
        is_regular, header = read_header(path)
    except FileNotFoundError as error:
        raise BadSettings(
            "store.missing",
            detail=f"{path} does not exist: make it with `watchword init`, or correct the data directory",
        ) from error
    except PermissionError as error:
        raise BadSettings("store.permission", detail=f"{path} is not readable: run as its owner") from error
    except OSError as error:
        raise unavailable(error) from error
    if is_regular and len(header) < 100 and _MAGIC.startswith(header[:16]):
        raise StoreUnavailable("store.damaged", detail=f"{path} is empty or cut short: {_RESTORE}")
    if header[:16] == _MAGIC and int.from_bytes(header[68:72], "big") == BACKUP_ID:
        raise BadSettings("store.backup_copy", detail=f"{path} is a backup: put it back with `watchword restore`")
    if header[:16] != _MAGIC or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise BadSettings("store.foreign", detail=f"{path} is not a database of watchword: correct the data directory")


def _check_log(path: Path) -> bool:
    """Tell whether there is a write-ahead log.

    SQLite makes it before its index (``-shm``) and removes it after: an index alone says that the log was taken away. Looked
    at several times, for another process may be opening or closing the database just now.

    Raises:
        StoreUnavailable: store.wal
    """
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    for _ in range(_LOOKS):
        if log.exists() or not index.exists():
            return log.exists()
        time.sleep(0.01)
    raise StoreUnavailable(
        "store.wal",
        detail=f"{log} is missing, and with it what was committed last: {_RESTORE}; or, to lose that, remove {index}",
    )


def read_header(path: Path) -> tuple[bool, bytes]:
    """Return whether it is a file at all, and its first 100 bytes.

    Raises:
        OSError
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_regular, os.read(descriptor, 100) if is_regular else b""
    finally:
        os.close(descriptor)


def connect(path: Path, *, is_reader: bool = False) -> apsw.Connection:
    """Open one connection: durable at every commit, strict about foreign keys, refusing what a damaged schema could do.

    Raises:
        StoreUnavailable: it cannot be opened.
    """
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        db.set_busy_timeout(_READER_BUSY_MILLISECONDS if is_reader else _BUSY_MILLISECONDS)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        db.execute(
            "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"
            " PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
            " PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864"
        )
        if db.pragma("journal_mode", "wal") != "wal":
            raise StoreUnavailable("store.io", detail=f"{path}: this file system cannot hold a write-ahead log")
        if is_reader:
            db.execute("PRAGMA query_only = ON")
    except apsw.Error as error:
        raise unavailable(error) from error
    return db


_REASONS: Final = (
    (apsw.BusyError, "store.busy", "another process has held the database for too long"),
    (apsw.LockedError, "store.busy", "another connection has held the database for too long"),
    (apsw.FullError, "store.full", "the disk is full: make room"),
    (apsw.ReadOnlyError, "store.read_only", "the database cannot be written: check owner, mode and mount"),
    (PermissionError, "store.read_only", "the database cannot be written: check owner, mode and mount"),
    (apsw.PermissionsError, "store.read_only", "the database cannot be written: check owner, mode and mount"),
    (apsw.CorruptError, "store.damaged", f"the database is damaged: {_RESTORE}"),
    (apsw.NotADBError, "store.damaged", f"the database is damaged: {_RESTORE}"),
    (apsw.SQLError, "store.damaged", f"the tables are not what was made: {_RESTORE}"),
)


def unavailable(error: Exception) -> StoreUnavailable:
    """Return what a failure of SQLite or of the file system means to a caller."""
    for kind, reason, advice in _REASONS:
        if isinstance(error, kind):
            return StoreUnavailable(reason, detail=f"{advice} ({error})")
    return StoreUnavailable("store.io", detail=f"the database cannot be used now ({type(error).__name__}: {error})")

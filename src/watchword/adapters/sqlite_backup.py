"""Copying a database while others write to it, and proving that a copy is whole.

A backup is one SQLite file with an application id of its own, so that no server takes it for a store: it has to be put back,
which says so in the store. What goes with it (the settings, the master key if it is asked for) lies in a table of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import apsw

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_file import check_sqlite, read_header, unavailable
from watchword.adapters.sqlite_schema import APPLICATION_ID, BACKUP_ID
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.audit import ChainHead
from watchword.server.audit_chain import ChainVerifier

_ENCLOSED: Final = "CREATE TABLE enclosed (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID"
_EVENTS: Final = f"SELECT {rows.EVENT} FROM audit ORDER BY cursor"  # noqa: S608 -- a constant of this adapter


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds. ``last_event`` is the time of its newest event, as it stands there; ``enclosed`` what goes with it."""

    events: int
    last_event: str
    enclosed: Mapping[str, bytes] = field(repr=False)


def copy_file(source: Path, target: Path, enclosed: Mapping[str, bytes]) -> Copied:
    """Write a consistent copy of a database, as of one moment, to a file that is not there yet; return what it holds.

    Nobody who reads or writes the source is held up. The copy has mode 0600, is proved whole, and appears complete or not at
    all.

    Raises:
        BadSettings: backup.exists
        StoreUnavailable: backup.unwritable; backup.damaged (the source is); store.*
    """
    if os.path.lexists(target):
        raise BadSettings(
            "backup.exists", detail=f"{target} exists already, and is never overwritten: name another file"
        )
    with _draft_beside(target) as draft:
        with _opened(source) as db, _opened(draft) as copy:
            with copy.backup("main", db, "main") as backup:
                backup.step(-1)
            copy.pragma("journal_mode", "delete")
            copy.pragma("application_id", BACKUP_ID)
            copy.execute(_ENCLOSED)
            copy.executemany("INSERT INTO enclosed VALUES (?, ?)", list(enclosed.items()))
        with _opened(draft, apsw.SQLITE_OPEN_READONLY) as copy:
            found = _prove_whole(copy, source)
        _publish(draft, target)
    return found


def take_out(source: Path, target: Path) -> Copied:
    """Write the database that a backup holds to ``target``, proved whole; return what it holds.

    A plain copy of a store's file, made by other means, is taken too.

    Raises:
        BadSettings: backup.missing, backup.foreign
        StoreUnavailable: backup.damaged
    """
    _check_backup(source)
    try:
        for name in ("", "-wal"):
            copied_from = source.with_name(source.name + name)
            if name == "" or copied_from.exists():
                _copy_bytes(copied_from, target.with_name(target.name + name))
    except OSError as error:
        raise _unwritable(target, error) from error
    with _opened(target) as copy:
        found = _prove_whole(copy, source)
        copy.execute("DROP TABLE IF EXISTS enclosed")
        copy.pragma("application_id", APPLICATION_ID)
        copy.pragma("journal_mode", "wal")
    return found


def _copy_bytes(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    shutil.copyfile(source, target)


def _prove_whole(db: apsw.Connection, source: Path) -> Copied:
    """Return what a copy holds if SQLite finds nothing wrong with it and its audit trail is unbroken.

    Raises:
        StoreUnavailable: backup.damaged
    """
    problems = [str(row[0]) for row in db.execute("PRAGMA integrity_check(1)")]
    problems += [f"a row of {row[0]} lacks what it names" for row in db.execute("PRAGMA foreign_key_check")][:1]
    if problems != ["ok"]:
        raise _damaged(source, problems[-1])
    heads = [
        ChainHead(cast("str", row[0]), cast("int", row[1]), cast("bytes", row[2]))
        for row in db.execute("SELECT chain, position, hash FROM heads ORDER BY chain")
    ]
    verifier, last = ChainVerifier(heads), b""
    for event in map(rows.build_event, db.execute(_EVENTS)):
        verifier.add(event)
        last = event.payload
    found = verifier.finish(heads)
    if not found.is_sound:
        first = found.findings[0]
        raise _damaged(source, f"position {first.position} of the audit trail is {first.problem}")
    time = str(db.execute("SELECT ? ->> '$.time'", (last.decode(),)).get or "") if last else ""
    return Copied(found.events, time, _enclosed(db))


def _enclosed(db: apsw.Connection) -> dict[str, bytes]:
    if not db.table_exists(None, "enclosed"):
        return {}
    return {cast("str", row[0]): cast("bytes", row[1]) for row in db.execute("SELECT name, content FROM enclosed")}


def _check_backup(path: Path) -> None:
    check_sqlite(apsw.sqlite_lib_version())
    try:
        is_regular, header = read_header(path)
    except FileNotFoundError as error:
        raise BadSettings("backup.missing", detail=f"there is no file {path}: name a backup") from error
    except OSError as error:
        raise StoreUnavailable("backup.unreadable", detail=f"{path} cannot be read: {error.strerror}") from error
    if not is_regular or int.from_bytes(header[68:72], "big") not in (APPLICATION_ID, BACKUP_ID):
        raise BadSettings(
            "backup.foreign", detail=f"{path} is not a backup of watchword, or its beginning is destroyed"
        )


@contextmanager
def _draft_beside(target: Path) -> Iterator[Path]:
    """Give an empty file of mode 0600 in the directory of ``target``, which is removed in the end.

    Raises:
        StoreUnavailable: backup.unwritable
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        yield draft
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        for path in (draft, *(draft.with_name(draft.name + end) for end in ("-journal", "-wal", "-shm"))):
            with suppress(OSError):
                path.unlink()


def _publish(draft: Path, target: Path) -> None:
    """Let a complete file appear under its name, durably, in nobody's place."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(draft, target)
    except FileExistsError as error:
        raise BadSettings("backup.exists", detail=f"{target} exists already, and is never overwritten") from error
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _opened(path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE) -> Iterator[apsw.Connection]:
    """Give a connection that trusts nothing in the file.

    Raises:
        StoreUnavailable
    """
    try:
        db = apsw.Connection(str(path), flags=flags)
    except apsw.Error as error:
        raise unavailable(error) from error
    try:
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        db.set_busy_timeout(2000)
        db.execute("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0")
        yield db
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise _damaged(path, str(error)) from error
    except apsw.Error as error:
        raise unavailable(error) from error
    finally:
        db.close()


def _damaged(path: Path, problem: str) -> StoreUnavailable:
    return StoreUnavailable("backup.damaged", detail=f"{path} is damaged ({problem}): use a backup that is whole")


def _unwritable(target: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable("backup.unwritable", detail=f"{target} cannot be written: {error.strerror}")

"""The file of presented ids: made when it is missing, and honest about whether it may have forgotten something.

Its commits are not flushed one by one, so a loss of power takes the last of them away. Whoever opens it first therefore asks
whether the last one to leave had closed it properly; if not, the memory begins anew at that moment, its horizon. A lock that
everybody holds who has it open tells the first and the last from the others, and a process that dies lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_file import connect, read_header, unavailable
from watchword.adapters.sqlite_gate import Gate
from watchword.errors import BadSettings, ReplayUnavailable, StoreUnavailable

APPLICATION_ID: Final = 0x57575250
VERSION: Final = 1

_MAGIC: Final = b"SQLite format 3\x00"
_SCHEMA: Final = (
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), horizon INTEGER NOT NULL, swept INTEGER NOT NULL,"
    " seen INTEGER NOT NULL, claims INTEGER NOT NULL, closed_as INTEGER NOT NULL) STRICT;"
    "CREATE TABLE claims (key BLOB PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX claims_by_end ON claims (until);"
)
"""``closed_as``: the number of the file, as its file system counts, when it was closed properly; a copy has another."""

_LOSE: Final = "UPDATE state SET horizon = max(horizon, swept, seen, ?)"


def connect_replay(path: Path) -> apsw.Connection:
    """Open one connection, whose commits are in order but flushed only now and then. The file is not closed from now on.

    Raises:
        StoreUnavailable, apsw.Error
    """
    db = connect(path)
    if db.execute("SELECT closed_as FROM state").get:
        db.execute("UPDATE state SET closed_as = 0")  # flushed: before anything is claimed
    db.execute("PRAGMA synchronous = NORMAL")
    return db


class ReplayFile:
    """The file while a process has it open."""

    def __init__(self, path: Path, gate: Gate) -> None:
        """Use ``enter``."""
        self._path = path
        self._gate = gate
        self._presence = -1

    def enter(self, now: int, deadline: float) -> None:
        """Make the file if there is none, be the first or one more, and lose what may be lost. ``now`` in milliseconds.

        Raises:
            BadSettings: replay.foreign
            ReplayUnavailable: replay.unavailable
        """
        try:
            self._gate.acquire(deadline)
            try:
                self._enter(now)
            except BaseException:
                self._let_go()
                raise
            finally:
                self._gate.release()
        except StoreUnavailable as error:
            raise out_of_reach(error) from error
        except (apsw.Error, OSError) as error:
            raise out_of_reach(unavailable(error)) from error

    def _enter(self, now: int) -> None:
        if not os.path.lexists(self._path):
            _create(self._path, now, horizon=now)
        _check_header(self._path)
        place = self._path.with_name(self._path.name + "-open")
        self._presence = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if _is_alone(self._presence):
            db = connect(self._path)  # every commit is flushed
            try:
                if db.pragma("user_version") != VERSION or db.pragma("quick_check", "state") != "ok":
                    raise _foreign(self._path)
                if db.execute("SELECT closed_as FROM state").get != _number(self._path):
                    db.execute(_LOSE, (now,))
            finally:
                db.close()
        fcntl.flock(self._presence, fcntl.LOCK_SH)

    def leave(self, deadline: float) -> None:
        """Let go of it; the last one flushes everything and says that nothing is lost. Never raises: it stays unsaid then."""
        with suppress(StoreUnavailable, apsw.Error, OSError):
            self._gate.acquire(deadline)
            try:
                fcntl.flock(self._presence, fcntl.LOCK_UN)
                if _is_alone(self._presence):
                    self._finish()
            finally:
                self._gate.release()
        self._let_go()

    def _let_go(self) -> None:
        presence, self._presence = self._presence, -1
        if presence >= 0:
            os.close(presence)

    def _finish(self) -> None:
        db = connect(self._path)
        try:
            if db.execute("SELECT closed_as FROM state").get == 0:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                db.execute("UPDATE state SET closed_as = ?", (_number(self._path),))
        finally:
            db.close()


def out_of_reach(error: StoreUnavailable) -> ReplayUnavailable:
    """Return what a failure of the file means to whoever wants to claim."""
    return ReplayUnavailable("replay.unavailable", detail=error.detail or error.reason)


def make_replay(path: Path, now: int) -> None:
    """Make the file of a store that was made a moment ago: nothing was ever presented there, so nothing can be forgotten.

    Raises:
        OSError, apsw.Error
    """
    _create(path, now, horizon=-1)


def _create(path: Path, now: int, *, horizon: int) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        db = apsw.Connection(str(draft), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.pragma("synchronous", "off")
            db.pragma("application_id", APPLICATION_ID)
            db.pragma("user_version", VERSION)
            db.execute(_SCHEMA)
            db.execute("INSERT INTO state VALUES (1, ?, -1, ?, 0, ?)", (horizon, now, _number(draft)))
            db.pragma("journal_mode", "wal")
        finally:
            db.close()
        with draft.open("rb") as made:
            os.fsync(made.fileno())
        os.link(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()


def _check_header(path: Path) -> None:
    is_regular, header = read_header(path)
    if not is_regular or header[:16] != _MAGIC or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise _foreign(path)


def _foreign(path: Path) -> BadSettings:
    detail = (
        f"{path} is not this version's memory of presented ids, or is damaged: remove it; what was issued before the next start "
        "is then not accepted"
    )
    return BadSettings("replay.foreign", detail=detail)


def _is_alone(descriptor: int) -> bool:
    """Take the lock for oneself if nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number(path: Path) -> int:
    return path.stat().st_ino

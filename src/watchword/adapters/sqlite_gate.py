"""Turns between the processes that write: two file locks beside the database.

Whoever waits for the write lock holds the turn lock, so that a busy writer cannot take the write lock again before the other
has had it. SQLite's own lock would keep the file sound without them, but starves one of two busy writers.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from watchword.adapters.sqlite_file import unavailable
from watchword.errors import StoreUnavailable

_POLL: Final = 0.0005  # seconds


class Gate:
    """Lets one process write at a time. Held by one thread."""

    def __init__(self, path: Path) -> None:
        self._turn = _open_lock(path.with_name(path.name + "-turn"))
        self._lock = _open_lock(path.with_name(path.name + "-lock"))

    def acquire(self, deadline: float) -> None:
        """Wait until the monotonic ``deadline``; try at least once.

        Raises:
            StoreUnavailable: store.busy.
        """
        _wait_for(self._turn, deadline)
        try:
            _wait_for(self._lock, deadline)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the files."""
        os.close(self._turn)
        os.close(self._lock)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unavailable(error) from error


def _wait_for(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    "store.busy", detail="another process has held the database for too long"
                ) from error
        time.sleep(_POLL)

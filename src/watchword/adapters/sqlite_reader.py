"""Reading: a connection that one thread has at a time, and what its failures mean."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import apsw

from watchword.adapters.sqlite_file import connect, unavailable
from watchword.errors import StoreUnavailable


class Reader:
    """One reading connection; ``with`` gives it to one thread at a time and says what its failures mean."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db: apsw.Connection | None = connect(path, is_reader=True)

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        if self._db is None:
            self._lock.release()
            raise StoreUnavailable("store.closed")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._lock.release()
        if isinstance(error, apsw.Error):
            raise unavailable(error) from error
        if isinstance(error, (ValueError, TypeError)) and not isinstance(error, UnicodeEncodeError):
            raise StoreUnavailable(
                "store.damaged", detail=f"a row cannot be read ({error}): restore a backup"
            ) from error

    def close(self) -> None:
        """Wait for who has it, and release it. Idempotent."""
        with self._lock:
            db, self._db = self._db, None
        if db is not None:
            db.close()

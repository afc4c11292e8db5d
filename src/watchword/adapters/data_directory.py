"""Who is at work in a data directory, told by a lock on the directory itself: it holds even when its files are gone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from watchword.errors import BadSettings, StoreUnavailable


@asynccontextmanager
async def in_use(directory: Path) -> AsyncIterator[None]:
    """Say that a server runs on this directory. Several may, and a process that ends says so by ending.

    Raises:
        BadSettings: store.missing, store.in_use (it is being moved or restored just now)
        StoreUnavailable: store.io
    """
    with _locked(directory, fcntl.LOCK_SH, "is being moved or restored just now: try again"):
        yield


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Be the only one at work on this directory.

    Raises:
        BadSettings: store.missing, store.in_use (a server runs on it)
        StoreUnavailable: store.io
    """
    with _locked(directory, fcntl.LOCK_EX, "has a server running on it: stop that first"):
        yield


@contextmanager
def _locked(directory: Path, kind: int, otherwise: str) -> Iterator[None]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        detail = f"there is no data directory {directory}: make one with `watchword init --data {directory}`"
        raise BadSettings("store.missing", detail=detail) from error
    except OSError as error:
        raise StoreUnavailable("store.io", detail=f"{directory} cannot be opened: {error.strerror}") from error
    try:
        _lock(descriptor, kind, f"{directory} {otherwise}")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, otherwise: str) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadSettings("store.in_use", detail=otherwise) from error
    except OSError as error:
        raise StoreUnavailable("store.io", detail=f"this file system cannot lock ({error.strerror})") from error

"""A data directory appears when it is complete, and in nobody's place."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from watchword.errors import BadSettings
from watchword.stores import STORE_FILE

_OF_FILE_SYSTEMS: Final = frozenset({"lost+found"})


def find_place(data: Path) -> tuple[Path, Path]:
    """Return where the directory is filled, and where it goes then: both on one file system.

    A directory that is there may be a volume's mount, or stand where only root may make another: it is filled from inside.

    Raises:
        BadSettings: init.occupied
    """
    if data.exists() and (not data.is_dir() or {path.name for path in data.iterdir()} - _OF_FILE_SYSTEMS):
        detail = (
            f"{data} is not empty: choose another directory, or run `watchword serve --data {data}` if it is a store."
        )
        raise BadSettings("init.occupied", detail=detail)
    target, mark = data.absolute(), secrets.token_hex(4)
    return (target / f".{mark}" if target.is_dir() else target.with_name(f".{target.name}.{mark}")), target


def publish(unfinished: Path, target: Path) -> None:
    """Put what is complete where it belongs, over nothing; the store last, for it is what makes the directory one.

    Raises:
        FileExistsError: somebody else was there first.
        OSError
    """
    if unfinished.parent != target:
        unfinished.rename(target)
        return
    for path in sorted(unfinished.iterdir(), key=lambda path: (path.name == STORE_FILE, path.name)):
        (target / path.name).hardlink_to(path)

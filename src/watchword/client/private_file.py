"""Files that hold secrets: read only where nobody else can read or change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from watchword.client.errors import LoginMisconfigured

MAX_SIZE: Final = 65_536
"""Bytes."""

GROUP_OR_OTHERS: Final = 0o077
OTHERS: Final = 0o027
"""A mounted secret is often given to the group of the process (0440), so that its group may read it."""

_ROOT = 0


def read_private_file(path: Path, *, forbidden: int = GROUP_OR_OTHERS) -> str:
    """Return the text of a file that belongs to this user or to root, with none of the ``forbidden`` mode bits.

    The file that was judged is the one that is read. Without an owner in the system (not POSIX) only form is checked.

    Raises:
        LoginMisconfigured: file.missing, file.unreadable, file.owner, file.mode, file.form.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise LoginMisconfigured("file.missing", detail=f"{path} does not exist") from None
    except OSError as error:
        raise LoginMisconfigured("file.unreadable", detail=f"{path} cannot be read: {error.strerror}") from None
    try:
        _check(path, os.fstat(descriptor), forbidden)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_SIZE + 1)
    finally:
        os.close(descriptor)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > MAX_SIZE:
        raise LoginMisconfigured("file.form", detail=f"{path} is empty, larger than 64 KiB, or not UTF-8")
    return text


def _check(path: Path, status: os.stat_result, forbidden: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise LoginMisconfigured("file.form", detail=f"{path} is not a regular file")
    if os.name != "posix":
        return
    if status.st_uid not in (_ROOT, os.geteuid()):
        raise LoginMisconfigured("file.owner", detail=f"{path} belongs to another user and is not used")
    if stat.S_IMODE(status.st_mode) & forbidden:
        raise LoginMisconfigured(
            "file.mode",
            detail=f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): change the secret in it if it may "
            f"be known, then run: chmod 600 {path} (or mount it with mode 0400, 0440 for a group)",
        )

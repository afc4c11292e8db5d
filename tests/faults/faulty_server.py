"""The server, with a disk that fails when it is told to: ``python faulty_server.py SWITCH serve ...``.

While the file SWITCH holds ``ENOSPC``, ``EIO``, ``EDQUOT`` or ``EROFS``, SQLite's writes fail with it; ``ENOSPC 7`` lets the
seventh write from then on fail, once.
"""

import ctypes
import errno
import sys
from pathlib import Path

import apsw

from watchword.cli import main

Pwrite = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, use_errno=True
)


class Switch:
    """Reads its file at every write; counts the writes under one text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._count = 0

    def error(self) -> int:
        text = self._path.read_text() if self._path.exists() else ""
        if text != self._text:
            self._text, self._count = text, 0
        name, _, nth = text.partition(" ")
        self._count += 1
        is_failing = bool(name) and (not nth or self._count == int(nth.split(" ")[0]))
        return getattr(errno, name) if is_failing else 0


def install(switch: Switch) -> ctypes.CFUNCTYPE:
    vfs = apsw.VFS("faulty", "unix")
    pwrite = Pwrite(vfs.xGetSystemCall("pwrite64"))

    def call(descriptor: int, buffer: int, size: int, offset: int) -> int:
        error = switch.error()
        if error:
            ctypes.set_errno(error)
            return -1
        return pwrite(descriptor, buffer, size, offset)

    replacement = Pwrite(call)
    vfs.xSetSystemCall("pwrite64", ctypes.cast(replacement, ctypes.c_void_p).value)
    return replacement


if __name__ == "__main__":
    kept = install(Switch(Path(sys.argv.pop(1))))
    main()

"""What the processes of one server tell each other: a piece of memory that all of them see, made before the first fork.

Each worker writes its own place and reads all: when it last took a turn, and what it has counted. A worker that takes the place
of one that died goes on from what that one had counted.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Final

_HALF: Final = 256 * 1024
_HEAD: Final = 64
_PLACE: Final = _HEAD + 2 * _HALF
_BEAT: Final = struct.Struct("<d")
_WHICH: Final = struct.Struct("<B")
_BLOB: Final = struct.Struct("<II")  # length, checksum
_WHICH_AT: Final = _BEAT.size
_ATTEMPTS: Final = 3


class Board:
    """Places of workers, numbered from 0. Memory that is not written costs nothing."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._memory = mmap.mmap(-1, places * _PLACE)

    def beat(self, place: int, now: float) -> None:
        """Say that this worker took a turn now, by the monotonic clock, which all processes share."""
        _BEAT.pack_into(self._memory, place * _PLACE, now)

    def last_beat(self, place: int) -> float:
        """Return when this worker last took a turn; 0 if it never did."""
        moment: float = _BEAT.unpack_from(self._memory, place * _PLACE)[0]
        return moment

    def publish(self, place: int, text: bytes) -> None:
        """Show this text from now on. What is too long is not shown; what was shown before stays.

        It is written beside the text that is shown now: a worker killed in the middle of it leaves that one whole.
        """
        if len(text) > _HALF - _BLOB.size:
            return
        start = place * _PLACE
        which = 1 - _WHICH.unpack_from(self._memory, start + _WHICH_AT)[0]
        at = start + _HEAD + which * _HALF
        _BLOB.pack_into(self._memory, at, len(text), zlib.crc32(text))
        self._memory[at + _BLOB.size : at + _BLOB.size + len(text)] = text
        _WHICH.pack_into(self._memory, start + _WHICH_AT, which)

    def read(self, place: int) -> bytes:
        """Return the text that this worker shows, empty if none."""
        start = place * _PLACE
        for _ in range(_ATTEMPTS):
            at = start + _HEAD + _WHICH.unpack_from(self._memory, start + _WHICH_AT)[0] * _HALF
            length, checksum = _BLOB.unpack_from(self._memory, at)
            text = self._memory[at + _BLOB.size : at + _BLOB.size + length]
            if length and zlib.crc32(text) == checksum:
                return text
        return b""

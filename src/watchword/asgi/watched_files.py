"""Files that are read again when they have changed, and count only as a whole: what cannot be used changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import structlog

from watchword.errors import BadSettings

log = structlog.get_logger("watchword.server")

T = TypeVar("T")


class WatchedFiles(Generic[T]):
    """What stands in some files, as it was last read without fault: ``current``."""

    def __init__(self, *paths: Path) -> None:
        """Read the files.

        Raises:
            BadSettings: from ``_read``
        """
        self._paths = paths
        self._seen = self._settled = self._versions()
        self.current = self._read()

    def _read(self) -> T:
        """Return what the files hold; raise ``BadSettings`` if that cannot be used."""
        raise NotImplementedError

    def watch(self) -> None:
        """Read the files again once they have changed and then stayed the same from one call to the next."""
        before, self._seen = self._seen, self._versions()
        if self._seen == before != self._settled:
            self.reload()

    def catch_up(self) -> None:
        """Read the files again if they have changed since: a process may begin with what another read long ago."""
        if self._versions() != self._settled:
            self.reload()

    def reload(self) -> None:
        """Read the files again. Files that do not go together, or cannot be read, change nothing and are logged."""
        self._seen = self._settled = self._versions()
        try:
            self.current = self._read()
        except BadSettings as error:
            log.error("tls_rejected", reason=error.reason, detail=error.detail)  # noqa: TRY400 -- expected
        else:
            log.info("tls_reloaded", certificate=str(self._paths[0]))

    def _versions(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(map(_version, self._paths))


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)

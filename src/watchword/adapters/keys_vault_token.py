"""The token with which OpenBao or Vault is asked: read from a file that somebody keeps, and renewed while it can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchword.adapters.keys_http import Answer, member
from watchword.errors import CustodyUnavailable

_RETRY: Final = 60.0
"""Seconds after which a renewal that failed is tried again."""

Send = Callable[[str, str, str], Awaitable[Answer]]
"""Sends a request, method and path, with this token."""


@dataclass(slots=True)
class VaultToken:
    """The file is read again whenever it has changed: an agent of Vault's, or a person, has put a new one there."""

    file: Path
    send: Send
    steady: Callable[[], float] = time.monotonic
    _value: str = field(default="", repr=False)
    _seen: tuple[int, int, int] | None = None
    _renew_at: float = 0.0
    _renewal: asyncio.Task[None] | None = field(default=None, repr=False)

    def read(self) -> str:
        """Return the token that is in the file now.

        Raises:
            CustodyUnavailable: custody.denied: there is none, or it cannot be read.
        """
        try:
            stat = self.file.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._value, self._seen, self._renew_at = self.file.read_text("ascii").strip(), seen, 0.0
        except (OSError, ValueError) as error:
            detail = f"the token in {self.file} cannot be read: {error}"
            raise CustodyUnavailable("custody.denied", detail=detail) from error
        if not self._value or not self._value.isprintable() or " " in self._value:
            raise CustodyUnavailable("custody.denied", detail=f"there is no token in {self.file}")
        return self._value

    def forget(self) -> None:
        """Read the file at the next use, changed or not."""
        self._seen = None

    def renew_in_time(self) -> None:
        """Renew the token beside whatever is going on, when half of its time has passed. Whether that works, its end shows."""
        if self.steady() < self._renew_at or (self._renewal is not None and not self._renewal.done()):
            return
        self._renew_at = self.steady() + _RETRY
        self._renewal = asyncio.get_running_loop().create_task(self._renew(self._value))

    def stop(self) -> None:
        """End a renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def _renew(self, token: str) -> None:
        """Ask how long it lives yet, and have it live longer if it may."""
        with suppress(CustodyUnavailable):
            answer = await self.send("GET", "auth/token/lookup-self", token)
            seconds, is_renewable = _life(answer, "data", "ttl"), member(answer.content, "data", "renewable") is True
            if answer.is_good and is_renewable:
                answer = await self.send("POST", "auth/token/renew-self", token)
                seconds = _life(answer, "auth", "lease_duration")
            if answer.is_good and token == self._value:
                self._renew_at = self.steady() + (seconds / 2 if seconds else 3600)


def _life(answer: Answer, *path: str) -> int:
    value = member(answer.content, *path)
    return value if isinstance(value, int) else 0

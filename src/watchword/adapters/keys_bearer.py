"""The access token with which a cloud's custody is asked: fetched when it is needed, kept until shortly before its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchword.errors import CustodyUnavailable

_EARLY: Final = 300.0
"""Seconds before its end that a token is replaced, if it lives for twice as long at least."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A token, and the seconds that it lives."""

    token: str = field(repr=False)
    seconds: float


@dataclass(slots=True)
class BearerTokens:
    """Whoever comes while a token is being fetched waits for it. One belongs to one event loop."""

    fetch: Callable[[], Awaitable[Lent]]
    steady: Callable[[], float] = time.monotonic
    _lent: Lent | None = None
    _replace_at: float = 0.0
    _ends_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def headers(self) -> dict[str, str]:
        """Return the header that carries a token.

        Raises:
            CustodyUnavailable: none can be had, and the last one has ended.
        """
        async with self._lock:
            if self._lent is None or self.steady() >= self._replace_at:
                await self._replace()
            token = "" if self._lent is None else self._lent.token
        return {"authorization": f"Bearer {token}"}

    def forget(self) -> None:
        """Fetch another one at the next use: this one was not taken."""
        self._lent = None

    async def _replace(self) -> None:
        try:
            lent = await self.fetch()
        except CustodyUnavailable:
            if self._lent is None or self.steady() >= self._ends_at:
                raise
            self._replace_at = min(self.steady() + 10, self._ends_at)
            return
        self._lent = lent
        self._ends_at = self.steady() + lent.seconds
        self._replace_at = self._ends_at - min(_EARLY, lent.seconds / 2)


def read_secret(file: Path, what: str) -> str:
    """Return what is in a file that somebody keeps.

    Raises:
        CustodyUnavailable: custody.denied: it cannot be read, or is empty.
    """
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise CustodyUnavailable("custody.denied", detail=f"{what} in {file} cannot be read: {error}") from error
    if not text:
        raise CustodyUnavailable("custody.denied", detail=f"{file} is empty; {what} belongs there")
    return text


def lifetime(value: object) -> float:
    """Return the seconds that an answer says a token lives; some write them as a number, some as text."""
    text = str(value)
    return float(text) if text.isdigit() and len(text) < 10 else 60.0

"""A memory of what was presented in this process alone: for tests, and gone with it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from watchword.clock import Clock, system_clock
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Verdict, build_claim, milliseconds

CAPACITY: Final = 100_000


class MemoryReplay:
    """Implements ``ports.replay.Replay``. Switch ``is_down`` on and it is out of reach; ``lose`` forgets all it knows."""

    def __init__(self, *, clock: Clock = system_clock, capacity: int = CAPACITY) -> None:
        self.is_down = False
        self._clock = clock
        self._capacity = capacity
        self._ends: dict[bytes, int] = {}
        self._horizon = -1
        self._swept = -1

    def __len__(self) -> int:
        """Return how many ids are remembered."""
        return len(self._ends)

    def lose(self) -> None:
        """Forget everything, and know it."""
        self._ends.clear()
        self._horizon = milliseconds(self._clock())

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id, once."""
        await self.check()
        claim, now = build_claim(namespace, identifier, since, until), milliseconds(self._clock())
        if claim.key in self._ends and claim.until >= now:
            return Verdict.REPEATED
        if not claim.is_remembered(now=now, horizon=self._horizon, swept=self._swept):
            return Verdict.UNSURE
        if len(self._ends) >= self._capacity:
            self._sweep(now)
        if len(self._ends) >= self._capacity:
            raise ReplayUnavailable("replay.full")
        self._ends[claim.key] = claim.until
        return Verdict.FIRST

    def _sweep(self, now: int) -> None:
        for key in [key for key, end in self._ends.items() if end < now]:
            self._swept = max(self._swept, self._ends.pop(key))

    async def check(self) -> None:
        """Return unless it was told to be out of reach."""
        if self.is_down:
            raise ReplayUnavailable("replay.unavailable", detail="told to be down")

    async def close(self) -> None:
        """Be out of reach from now on."""
        self.is_down = True

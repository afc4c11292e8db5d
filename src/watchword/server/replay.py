"""Counting what the memory of presented ids answers, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Replay, Verdict

Observe = Callable[[str], None]
"""Told each verdict, and ``unavailable`` when there was none. Must not raise."""


class CountedReplay:
    """Passes everything on to the memory behind it, and tells what came back."""

    def __init__(self, replay: Replay, observe: Observe) -> None:
        self._replay = replay
        self._observe = observe

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id, once."""
        try:
            verdict = await self._replay.claim(namespace, identifier, since=since, until=until)
        except ReplayUnavailable:
            self._observe("unavailable")
            raise
        self._observe(verdict)
        return verdict

    async def check(self) -> None:
        """Return when an id could be claimed now."""
        await self._replay.check()

    async def close(self) -> None:
        """Release everything."""
        await self._replay.close()

"""Counting how often: the two verbs that every limit is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

NO_WAIT: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Rate:
    """``amount`` at once, and as many again over every ``period``, evenly. Printed as ``20/60s``.

    In any time as long as the period, at most twice the amount is admitted.
    """

    amount: int
    period: timedelta

    def __str__(self) -> str:
        return f"{self.amount}/{int(self.period.total_seconds())}s"


class RateLimiter(Protocol):
    """Counts under one rate, by key. A key may be any text, of any length, from anybody.

    Both verbs are atomic among all who share the counters. Memory is bounded whatever keys come; what is forgotten for it is
    what was counted longest ago. Time is what the caller says: a clock set back makes nobody wait for longer than one period.
    An adapter whose counters are out of reach counts by itself until they are back: it never raises, and never admits all.
    """

    async def take(self, key: str, now: datetime) -> timedelta:
        """Count one more, or none when that would be over the rate; return how long to wait, which is nothing when counted."""
        ...

    async def wait(self, key: str, now: datetime) -> timedelta:
        """Return how long until ``take`` would count one. Counts nothing."""
        ...

"""Counters in the memory of this process: the generic cell rate algorithm over a table of fixed size.

For each key one number is kept: the moment at which all that was counted will have drained at the rate.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from watchword.ports.ratelimit import NO_WAIT, Rate

CAPACITY: Final = 32_768
"""Keys remembered at once, of one rate: some 4 MiB when all are taken."""


class MemoryRateLimiter:
    """Reckons in whole nanoseconds, so that a sum of many small steps is exact. Of a key it keeps the hash, seeded by Python."""

    def __init__(self, rate: Rate, *, capacity: int = CAPACITY) -> None:
        self._step = max(1, rate.period // timedelta(microseconds=1) * 1000 // rate.amount)
        self._most = self._step * rate.amount
        self._capacity = capacity
        self._drained_at: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._drained_at)

    async def take(self, key: str, now: datetime) -> timedelta:
        """Count one more unless that is over the rate."""
        slot, moment = hash(key), _nanoseconds(now)
        counted = self._counted(slot, moment) + self._step
        if counted > self._most:
            return _duration(counted - self._most)
        self._drained_at[slot] = moment + counted
        self._drained_at.move_to_end(slot)
        if len(self._drained_at) > self._capacity:
            self._drained_at.popitem(last=False)
        return NO_WAIT

    async def wait(self, key: str, now: datetime) -> timedelta:
        """Say how long until one more would be counted."""
        slot = hash(key)
        if slot not in self._drained_at:
            return NO_WAIT
        over = self._counted(slot, _nanoseconds(now)) + self._step - self._most
        return _duration(over) if over > 0 else NO_WAIT

    def _counted(self, slot: int, moment: int) -> int:
        """More than the most can only be there when the clock was set back: it is cut to that, so that it drains from now on."""
        counted = max(self._drained_at.get(slot, 0) - moment, 0)
        if counted > self._most:
            counted = self._most
            self._drained_at[slot] = moment + counted
        return counted


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000


def _duration(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=-(-nanoseconds // 1000))

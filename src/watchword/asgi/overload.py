"""How many requests are worked on at once: the rest is told to come again before anything is done for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import Final

import structlog

from watchword.clock import Clock
from watchword.errors import Overloaded
from watchword.ports.store import Store, TellsEpochAtOnce
from watchword.server.limits import Observe

LOG_EVERY: Final = timedelta(seconds=10)
CALM: Final = timedelta(seconds=1)
"""How long nobody must have been refused until all places are given out again."""

FEW: Final = 8
"""Requests let in at once while there are more than can be answered: about as many as keep the writer of a file busy."""

FEW_ELSEWHERE: Final = 32
"""The same where the store is another machine's: each waits for longer, and for no processor of ours."""

log = structlog.get_logger("watchword.http")


class Slots:
    """``with slots:`` for the time of the work. A request whose body is still arriving needs none, so a slow sender holds none.

    All places are there for a burst. Once they were not enough, those who are let in would wait behind all the others for as long
    as it goes on; so then ``few`` are let in, who are answered soon, and as many in a second. Without it, always all.

    The log has a line for the first refusal, and then at most one in ``LOG_EVERY``, with the number of refusals since the last.
    """

    def __init__(self, limit: str, number: int, clock: Clock, observe: Observe, *, few: int | None = None) -> None:
        self._limit = limit
        self.number = number
        self._clock = clock
        self._observe = observe
        self._few = number if few is None else min(few, number)
        self._most = number
        self._taken = 0
        self._refused = 0
        self._refused_at: datetime | None = None
        self._logged_at: datetime | None = None

    def __enter__(self) -> None:
        """Take a slot.

        Raises:
            Overloaded: server.overloaded
        """
        if self._taken >= self._most:
            self.refuse()
            raise Overloaded("server.overloaded")
        if self._most < self.number:
            self._relent()
        self._taken += 1

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._taken -= 1

    @property
    def is_crowded(self) -> bool:
        """Whether there are more requests than can be answered."""
        return self._most < self.number

    @property
    def free(self) -> int:
        """How many places are given out now."""
        return self._most - self._taken

    def refuse(self) -> None:
        """Count one that is told to come again."""
        self._observe(self._limit)
        self._refused += 1
        now = self._refused_at = self._clock()
        self._most = self._few
        if self._logged_at is None or abs(now - self._logged_at) >= LOG_EVERY:
            log.warning("overload", limit=self._limit, requests=self.number, refused=self._refused)
            self._logged_at, self._refused = now, 0

    def give_all(self) -> None:
        """Give out all places again."""
        self._most = self.number

    def _relent(self) -> None:
        if self._refused_at is None or abs(self._clock() - self._refused_at) >= CALM:
            self.give_all()


def oauth_slots(number: int, store: Store, clock: Clock, observe: Observe) -> Slots:
    """Return the places at the OAuth endpoints."""
    few = FEW if isinstance(store, TellsEpochAtOnce) else FEW_ELSEWHERE
    return Slots("concurrent_requests", number, clock, observe, few=few)

"""How many requests are worked on at once: the rest is told to come again before anything is done for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import Final

import structlog

from watchword.clock import Clock
from watchword.errors import Overloaded
from watchword.server.limits import Observe

LOG_EVERY: Final = timedelta(seconds=10)

log = structlog.get_logger("watchword.http")


class Slots:
    """``with slots:`` for the time of the work. A request whose body is still arriving needs none, so a slow sender holds none.

    The log has a line for the first refusal, and then at most one in ``LOG_EVERY``, with the number of refusals since the last.
    """

    def __init__(self, limit: str, number: int, clock: Clock, observe: Observe) -> None:
        self._limit = limit
        self._number = number
        self._clock = clock
        self._observe = observe
        self._taken = 0
        self._refused = 0
        self._logged_at: datetime | None = None

    def __enter__(self) -> None:
        """Take a slot.

        Raises:
            Overloaded: server.overloaded
        """
        if self._taken >= self._number:
            self._refuse()
        self._taken += 1

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._taken -= 1

    def _refuse(self) -> None:
        self._observe(self._limit)
        self._refused += 1
        now = self._clock()
        if self._logged_at is None or abs(now - self._logged_at) >= LOG_EVERY:
            log.warning("overload", limit=self._limit, requests=self._number, refused=self._refused)
            self._logged_at, self._refused = now, 0
        raise Overloaded("server.overloaded")

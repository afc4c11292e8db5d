"""How many requests are worked on at once: the rest is told to come again before anything is done for it."""

from __future__ import annotations

from types import TracebackType

import structlog

from watchword.errors import Overloaded
from watchword.server.limits import Observe

log = structlog.get_logger("watchword.http")


class Slots:
    """``with slots:`` for the time of the work. A request whose body is still arriving needs none, so a slow sender holds none.

    The log has one line when the slots run out, and one when half of them are free again.
    """

    def __init__(self, limit: str, number: int, observe: Observe) -> None:
        self._limit = limit
        self._number = number
        self._observe = observe
        self._taken = 0
        self._refused = 0

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
        if self._refused and self._taken <= self._number // 2:
            log.warning("overload_over", limit=self._limit, refused=self._refused)
            self._refused = 0

    def _refuse(self) -> None:
        self._observe(self._limit)
        if not self._refused:
            log.warning("overload", limit=self._limit, requests=self._number)
        self._refused += 1
        raise Overloaded("server.overloaded")

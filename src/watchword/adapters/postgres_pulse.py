"""Whether anything is heard of the database. While nothing is, nobody waits: who asks is refused at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from watchword.errors import StoreUnavailable

log = structlog.get_logger("watchword.server")

BEAT_SECONDS: Final = 0.1
_SILENCE: Final = 10
"""Beats without a word that make a silence. Beats are counted and not seconds: a process that was held up has few of them."""


class Pulse:
    """One for all connections of a store, one of which asks again and again once it is started."""

    def __init__(self) -> None:
        self._fault: tuple[str, str] | None = None  # not the exception, whose frames would stay with it
        self._beats = 0
        self._since = 0.0
        self._losers: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to count."""
        self._beats = 0
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def on_silence(self, lose: Callable[[], None]) -> None:
        """``lose`` is called when it falls silent: what is under way will not be answered."""
        self._losers.append(lose)

    @property
    def is_silent(self) -> bool:
        """Whether nothing has been heard for a second."""
        return self._fault is not None

    def check(self) -> None:
        """Return unless it is silent.

        Raises:
            StoreUnavailable: store.unreachable, or why the last attempt to reach it failed.
        """
        if self._fault is not None:
            reason, detail = self._fault
            raise StoreUnavailable(reason, detail=detail)

    def heard(self) -> None:
        """Take note of a word of the database, whichever it is."""
        self._beats = 0
        if self._fault is not None:
            self._fault = None
            log.info("database_heard", seconds=round(time.monotonic() - self._since, 1))

    def failed(self, fault: StoreUnavailable) -> None:
        """Take note of why it could not be asked."""
        if self._fault is not None:
            self._fault = fault.reason, fault.detail

    def _beat(self) -> None:
        self._beats += 1
        if self._beats >= _SILENCE and self._fault is None:
            self._since = time.monotonic()
            self._fault = "store.unreachable", "the database has said nothing for a second"
            log.warning("database_silent")
            for lose in self._losers:
                lose()
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def close(self) -> None:
        """Beat no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

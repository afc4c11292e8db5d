"""When to ask again: little, later each time, at different moments for different clients, and never past a deadline."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from watchword.client.server_time import parse_http_date

LONGEST_RETRY_AFTER = timedelta(hours=1)
_LONGEST_NUMBER = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most ``attempts`` requests, none begun later than ``deadline`` after the first.

    Pauses double from ``first_pause`` to ``longest_pause`` and are multiplied by ``jitter()``, a number in [0, 1).
    """

    attempts: int = 4
    deadline: timedelta = timedelta(seconds=30)
    first_pause: timedelta = timedelta(milliseconds=500)
    longest_pause: timedelta = timedelta(seconds=8)
    jitter: Callable[[], float] = random.random

    def pause(self, attempt: int, asked: timedelta | None) -> timedelta:
        """Return how long to wait after the ``attempt``-th failure (from 1); never less than the server ``asked``.

        What the server asked is lengthened by up to a quarter, so that all who heard the same do not come back at once.
        """
        backoff = min(self.first_pause * 2.0 ** min(attempt - 1, 16), self.longest_pause)
        if asked is None:
            return backoff * self.jitter()
        return asked + max(backoff, asked / 4) * self.jitter()


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Return the wait a ``Retry-After`` header asks for: RFC 9110 §10.2.3, seconds or a date.

    At most an hour, at least nothing; garbage counts as absent. ``now`` is the server's time.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = int(text) if len(text) <= _LONGEST_NUMBER else int("9" * _LONGEST_NUMBER)
        return min(timedelta(seconds=seconds), LONGEST_RETRY_AFTER)
    moment = parse_http_date(text)
    if moment is None:
        return None
    return min(max(moment - now, timedelta(0)), LONGEST_RETRY_AFTER)

"""Somebody's published keys as they are kept: when they may be used, and when they may be asked for again. Told the time.

- Fresh: used without asking. Stale: still used while somebody asks. Too old: not used.
- A ``kid`` that is not in the set is a reason to ask once per ``COOL_DOWN``, whatever number of kids.
- A failure changes nothing but what is said of it, and is followed by no other attempt for ``RETRY_DELAY``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from watchword.protocol.jwks import KeySet

COOL_DOWN: Final = timedelta(seconds=30)
RETRY_DELAY: Final = timedelta(seconds=5)

DEFAULT_FRESHNESS: Final = timedelta(minutes=5)
"""How long a key set is used without asking again when its answer does not say."""
MIN_FRESHNESS: Final = timedelta(seconds=30)
MAX_FRESHNESS: Final = timedelta(minutes=15)

_MAX_AGE: Final = re.compile(r'max-age="?([0-9]{1,9})"?')
_AGE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Held:
    """A key set, and the times between which it may be used without asking, and at all."""

    keys: KeySet
    fetched_at: datetime
    fresh_until: datetime
    usable_until: datetime

    def is_fresh(self, now: datetime) -> bool:
        """No, too, when the clock was put back behind the fetch: nobody knows how long ago that was."""
        return self.fetched_at <= now < self.fresh_until


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """What is known of one source. ``failure`` is the reason of the last attempt, if that failed."""

    held: Held | None = None
    failure: str = ""
    failed_at: datetime | None = None
    asked_at: datetime | None = None

    def usable(self, now: datetime) -> Held | None:
        """Return the set if it may be used now."""
        return self.held if self.held is not None and now < self.held.usable_until else None

    def is_due(self, now: datetime) -> bool:
        """Say whether it is time to ask: nothing fresh is here, and the last failure is long enough ago."""
        is_fresh = self.held is not None and self.held.is_fresh(now)
        return not is_fresh and has_passed(self.failed_at, RETRY_DELAY, now)

    def may_ask(self, now: datetime, cool_down: timedelta = COOL_DOWN) -> bool:
        """Say whether an unknown ``kid`` is a reason to ask again."""
        return has_passed(self.asked_at, cool_down, now)

    def with_question(self, now: datetime) -> KeptKeys:
        """Return this after asking for an unknown ``kid``."""
        return replace(self, asked_at=now)

    def with_keys(self, keys: KeySet, freshness: timedelta, *, began: datetime, max_stale: timedelta) -> KeptKeys:
        """Return this after a fetch that began then; ``max_stale`` is how long its keys may be used at most."""
        held = Held(keys, began, began + min(freshness, max_stale), began + max_stale)
        return replace(self, held=held, failure="", failed_at=None)

    def with_failure(self, reason: str, *, began: datetime) -> KeptKeys:
        """Return this after a fetch that failed: the last good set stays."""
        return replace(self, failure=reason, failed_at=began)


def has_passed(since: datetime | None, period: timedelta, now: datetime) -> bool:
    """Say whether the period is over. A clock that was put back ends it too, or it could last for hours."""
    return since is None or not since <= now < since + period


def read_freshness(headers: Mapping[str, str]) -> timedelta:
    """Return ``max-age`` less ``Age`` of an answer (RFC 9111 §4.2), between ``MIN_FRESHNESS`` and ``MAX_FRESHNESS``.

    ``no-store`` and ``no-cache`` mean the least; nothing said, or nothing readable, means ``DEFAULT_FRESHNESS``.
    """
    directives = [part.strip().lower() for part in headers.get("cache-control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return MIN_FRESHNESS
    ages = [int(match[1]) for part in directives if (match := _MAX_AGE.fullmatch(part))]
    if not ages:
        return DEFAULT_FRESHNESS
    age = headers.get("age", "").strip()
    left = timedelta(seconds=min(ages) - (int(age) if _AGE.fullmatch(age) else 0))
    return max(MIN_FRESHNESS, min(left, MAX_FRESHNESS))

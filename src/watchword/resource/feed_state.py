"""What an API holds of the revocation feed, and whether an event may be believed. Told the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.revocation import RevocationKind, RevocationView
from watchword.protocol.security_event import PAGE, FeedEvent

MAX_SKEW: Final = timedelta(seconds=30)
"""How far ``iat`` of an event may be from the clock of whoever receives it."""

PRUNE_EVERY: Final = timedelta(minutes=1)

Position = tuple[int, int]
"""A generation, and the sequence up to which it is held."""


class FeedRejected(WatchwordError):
    """An event is dropped: feed.time (not of now), feed.generation, feed.gap (it continues something else), feed.order (it is
    behind what came before), feed.key (signed with a key that was revoked),
    feed.unknown_key (with none that the issuer publishes)."""


class Line:
    """One connection's place in the feed: on a connection sequences do not go back."""

    def __init__(self, start: Position | None) -> None:
        self.place = start
        self.is_snapshot = False


class FeedState:
    """All that is held, by any number of connections. Nothing is ever taken out of it but what can hit nothing any more:
    so neither a server behind the others nor one put back to an earlier day makes a revoked token good again.

    One thread at a time calls ``take``. ``stamp`` goes up with every revocation. ``heard_at`` is when the last event came that
    made this complete: what is older than an API bears is not relied on.
    """

    def __init__(self) -> None:
        self.view: Final = RevocationView()
        self.stamp = 0
        self.position: Position | None = None
        self.heard_at: datetime | None = None
        self._pruned_at: datetime | None = None

    def take(self, event: FeedEvent, *, kid: str, line: Line, now: datetime) -> None:
        """Take an event into account that the issuer has signed with ``kid``.

        Raises:
            FeedRejected
        """
        if abs(now - event.issued_at) > MAX_SKEW:
            raise FeedRejected("feed.time")
        if self.view.hit({names.IAT: event.issued_at.timestamp()}, kid) is RevocationKind.SIGNING_KEY:
            raise FeedRejected("feed.key")
        self._check_place(event, line)
        if event.revocations:
            self.view.add(event.revocations)
            self.stamp = self.view.version
        line.place = event.generation, event.sequence
        line.is_snapshot = event.is_snapshot and not event.is_complete
        if not line.is_snapshot and (event.is_complete or len(event.revocations) < PAGE):  # else there is more to come
            self._advance(event, now)
        self._prune(now)

    def _check_place(self, event: FeedEvent, line: Line) -> None:
        """Events of a snapshot continue each other from 0; any other continues what is held."""
        if event.is_snapshot and event.after == 0:
            return
        if line.place is None or event.generation != line.place[0]:
            raise FeedRejected("feed.generation")
        if event.is_snapshot is not line.is_snapshot or event.after > line.place[1]:
            raise FeedRejected("feed.gap")
        if event.sequence < line.place[1]:
            raise FeedRejected("feed.order")

    def _advance(self, event: FeedEvent, now: datetime) -> None:
        """This is all that there is: it is complete as of now, unless another connection has told more."""
        held = self.position
        if event.is_snapshot or held is None or held[0] != event.generation or held[1] <= event.sequence:
            self.position = event.generation, event.sequence
            self.heard_at = now

    def _prune(self, now: datetime) -> None:
        if self._pruned_at is None or not timedelta(0) <= now - self._pruned_at < PRUNE_EVERY:
            self._pruned_at = now
            self.view.prune(now)

"""What happens to the revocation feed of this process, in metrics and log."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from watchword.errors import WatchwordError

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

log = structlog.get_logger("watchword.feed")


class FeedWitness:
    """Implements ``server.feed.Witness``. A feed that cannot go on is logged once, and once more when it does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._is_down = False
        self._readers = Gauge("watchword_feed_readers", "Readers of the revocation feed.", registry=registry)
        self._ended = Counter(
            "watchword_feed_ended", "Readings of the feed that ended, by why.", ("reason",), registry=registry
        )
        self._revocations = Counter("watchword_feed_revocations", "Revocations that were told.", registry=registry)
        self._seconds = Histogram(
            "watchword_feed_lag_seconds",
            "From the moment this process saw that there was something new to its signed event.",
            buckets=BUCKETS,
            registry=registry,
        )

    def listening(self, readers: int) -> None:
        """So many read."""
        self._readers.set(readers)

    def ended(self, reason: str) -> None:
        """One reads no longer."""
        self._ended.labels(reason).inc()

    def told(self, revocations: int, seconds: float) -> None:
        """So many revocations were told, so long after they were seen."""
        self._revocations.inc(revocations)
        self._seconds.observe(seconds)

    def failed(self, error: Exception) -> None:
        """The store could not be read, or nothing signed."""
        if not self._is_down:
            self._is_down = True
            log.warning(
                "feed_stalled", reason=error.reason if isinstance(error, WatchwordError) else type(error).__name__
            )

    def works(self) -> None:
        """A look at the store went well."""
        if self._is_down:
            self._is_down = False
            log.info("feed_back")

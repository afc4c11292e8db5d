"""What those do who hold the signing keys, in metrics and log."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

log = structlog.get_logger("watchword.custody")

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class CustodyWitness:
    """Implements ``server.custody_guard.Witness``. That one is not asked any more is logged once, and that it is again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "watchword_signing_duration_seconds",
            "What a signature takes that is made outside of this process.",
            ("backend", "alg"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "watchword_signing_failures",
            "Signatures and keys that were asked for outside, and not had.",
            ("backend", "reason"),
            registry=registry,
        )
        self._open = Gauge(
            "watchword_custody_open",
            "Workers that do not ask this custody now, after failures in a row.",
            ("backend",),
            registry=registry,
        )

    def signed(self, custody: str, algorithm: str, seconds: float) -> None:
        """One signature was made."""
        self._seconds.labels(custody, algorithm).observe(seconds)

    def custody_failed(self, custody: str, reason: str) -> None:
        """One was not."""
        self._failures.labels(custody, reason).inc()

    def show_custody(self, custody: str, *, is_open: bool) -> None:
        """It is not asked any more, or is again."""
        self._open.labels(custody).set(is_open)
        if is_open:
            log.error("custody_away", custody=custody)
        else:
            log.info("custody_back", custody=custody)

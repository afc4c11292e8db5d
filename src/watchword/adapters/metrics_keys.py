"""The signing keys in metrics and log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Gauge

from watchword.ports.keys import KeyState
from watchword.server.key_schedule import Step
from watchword.server.key_watch import KeyStanding

log = structlog.get_logger("watchword.keys")


class KeyGauges:
    """Implements ``server.key_watch.KeyWitness``. What changes is logged once; the audit trail says who has done it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._states: dict[str, KeyState] | None = None
        self._overdue: frozenset[Step] = frozenset()
        self._number = Gauge("watchword_signing_keys", "Signing keys.", ("alg", "state"), registry=registry)
        self._age = Gauge(
            "watchword_signing_key_age_seconds",
            "How long the key that signs has been signing.",
            ("alg",),
            registry=registry,
        )
        self._next = Gauge(
            "watchword_signing_key_next_step_seconds",
            "Until a key is published, signs or is retired next; below 0: it is due.",
            ("alg",),
            registry=registry,
        )

    def saw_keys(self, standing: KeyStanding, overdue: Sequence[Step]) -> None:
        """Show how they stand now."""
        for gauge in (self._number, self._age, self._next):
            gauge.clear()
        for (algorithm, state), number in Counter((key.algorithm, key.state) for key in standing.keys).items():
            self._number.labels(algorithm, state).set(number)
        for algorithm, age in standing.ages.items():
            self._age.labels(algorithm).set(age.total_seconds())
        for algorithm, wait in standing.waits.items():
            self._next.labels(algorithm).set(wait.total_seconds())
        self._log_changes(standing)
        for step in frozenset(overdue) - self._overdue:
            log.warning("key_overdue", alg=step.algorithm, kid=step.kid, state=str(step.move), due=step.at.isoformat())
        self._overdue = frozenset(overdue)

    def _log_changes(self, standing: KeyStanding) -> None:
        states = {key.kid: key.state for key in standing.keys}
        if self._states is not None:
            for key in standing.keys:
                if self._states.get(key.kid) is not key.state:
                    log.info("key_state", kid=key.kid, alg=key.algorithm, state=str(key.state))
        self._states = states

"""Warnings of credentials, in metrics and log."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter

from watchword.ports.audit import format_time
from watchword.server.credential_warnings import Alarm, Warned

log = structlog.get_logger("watchword.credentials")


class CredentialCounter:
    """Implements ``server.credential_warnings.CredentialWitness``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._warnings = Counter(
            "watchword_credential_warnings",
            "Credentials that end soon, or are older than they are to become; each said once by one node.",
            ("warning",),
            registry=registry,
        )

    def warned(self, warned: Warned) -> None:
        """A warning was recorded."""
        self._warnings.labels(warned.alarm).inc()
        ends_at = None if warned.ends_at is None else format_time(warned.ends_at)
        if warned.alarm is Alarm.EXPIRING:
            log.warning(
                "credential_expiring",
                client_id=warned.client_id,
                credential_id=warned.credential_id,
                expires_at=ends_at,
            )
        else:
            log.warning("credential_old", client_id=warned.client_id, credential_id=warned.credential_id)

"""Prometheus metrics, told by the audit events themselves: what is counted is what is recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from watchword.adapters.metrics_credentials import CredentialCounter
from watchword.adapters.metrics_custody import CustodyWitness
from watchword.adapters.metrics_feed import FeedWitness
from watchword.adapters.metrics_keys import KeyGauges
from watchword.adapters.metrics_nodes import NodeWitness
from watchword.adapters.metrics_sums import Sums
from watchword.ports.audit import AuditEvent, Outcome
from watchword.protocol import names

_LOGIN_REASONS = ("client.", "basic.", "assertion.", "challenge.", "certificate.", "jws.")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counts token requests. Labels are bounded: what a caller invents is counted as ``other``."""

    def __init__(self, version: str, *, grants: Collection[str], methods: Collection[str]) -> None:
        self._grants = frozenset(grants)
        self._methods = frozenset(methods)
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "watchword_token_requests",
            "Token requests, by how they ended.",
            ("grant", "client_auth", "outcome", "error"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "watchword_token_request_duration_seconds",
            "From the request's arrival to its durable audit event.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._issued = Counter(
            "watchword_tokens_issued", "Tokens issued.", ("grant", "binding", "alg"), registry=self.registry
        )
        self._failures = Counter(
            "watchword_client_auth_failures",
            "Refused client authentications, by internal reason.",
            ("method", "reason"),
            registry=self.registry,
        )
        self._deprecated = Counter(
            "watchword_deprecated",
            "Tokens issued to agents of which something old is accepted, by what it is.",
            ("concession",),
            registry=self.registry,
        )
        self._limited = Counter(
            "watchword_rate_limited",
            "Requests refused by a limit of number or rate, recorded one by one or not.",
            ("limit",),
            registry=self.registry,
        )
        self._connections = Gauge("watchword_connections", "Connections that are open.", registry=self.registry)
        self._refused = Counter(
            "watchword_connections_refused",
            "Connections refused before there was a request.",
            ("reason",),
            registry=self.registry,
        )
        self._count_shared()
        self.witness, self.keys = NodeWitness(self.registry), KeyGauges(self.registry)
        self._sums = Sums(self.registry)
        build = Gauge("watchword_build_info", "The running version.", ("version",), registry=self.registry)
        build.labels(version).set(1)

    def _count_shared(self) -> None:
        self.feed, self.credentials = FeedWitness(self.registry), CredentialCounter(self.registry)
        self.custodies = CustodyWitness(self.registry)
        self._claims = Counter(
            "watchword_replay_claims",
            "Ids of messages that work once, by what the memory of presented ids answered.",
            ("verdict",),
            registry=self.registry,
        )
        self._foreign = Counter(
            "watchword_foreign_key_failures",
            "Fetches of the keys of others that failed, by the reason.",
            ("reason",),
            registry=self.registry,
        )
        self._cache = Gauge(
            "watchword_cache_connected", "Workers that have a connection to the cache.", registry=self.registry
        )

    def observe(self, event: AuditEvent, seconds: float) -> None:
        """Count one event of the token endpoint; others are not counted here."""
        if event.action != "token.issue":
            return
        grant = _bounded(event.grant_type, self._grants)
        method = _bounded(event.client_auth, self._methods)
        is_success = event.outcome is Outcome.SUCCESS
        self._count(self._requests, grant, method, event.outcome, "" if is_success else event.reason)
        self._seconds.observe(seconds)
        if is_success:
            self._count(self._issued, grant, _binding(event.details), event.details.get("alg", ""))
            for concession in event.details.get("deprecated", "").split():
                self._count(self._deprecated, concession)
        elif event.reason.startswith(_LOGIN_REASONS):
            self._count(self._failures, method, event.reason)

    def _count(self, counter: Counter, *labels: str) -> None:
        """Count one under these labels; their counter is found in one step when it was counted before."""
        child = self._children.get((counter, labels))
        if child is None:
            child = self._children[counter, labels] = counter.labels(*labels)
        child.inc()

    def count_limited(self, limit: str) -> None:
        """Count one request that a limit refused."""
        self._limited.labels(limit).inc()

    def count_claim(self, verdict: str) -> None:
        """Count one answer of the memory of presented ids."""
        self._claims.labels(verdict).inc()

    def count_foreign_failure(self, reason: str) -> None:
        """Count one fetch of the keys of others that failed."""
        self._foreign.labels(reason).inc()

    def show_cache(self, is_connected: bool) -> None:
        """Remember whether the cache can be used."""
        self._cache.set(is_connected)

    def count_refused(self, reason: str) -> None:
        """Count one connection that was refused before there was a request."""
        self._refused.labels(reason).inc()

    def show_connections(self, number: int) -> None:
        """Remember how many connections are open."""
        self._connections.set(number)

    def go_on_from(self, dumped: bytes) -> None:
        """Count on from what another process had counted, in whose place this one is. What was open there is not."""
        self._sums.begin_with(dumped)

    def dump(self) -> bytes:
        """Return all numbers, for ``render`` in another process."""
        return self._sums.dump()

    def render(self, others: Iterable[bytes] = ()) -> tuple[bytes, str]:
        """Return the exposition text and its media type: the numbers of this process and of those that dumped theirs."""
        registry = CollectorRegistry()
        registry.register(self._sums.with_others(others))
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _binding(details: Mapping[str, str]) -> str:
    """Say what a token is bound to: the names that ``cnf`` has for it, in ours."""
    bound = [name for member, name in ((names.JKT, "dpop"), (names.X5T_S256, "mtls")) if details.get(member)]
    return "+".join(bound) or "bearer"


def _bounded(value: str, known: frozenset[str]) -> str:
    return value if value in known else "other" if value else "none"

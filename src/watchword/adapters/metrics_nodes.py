"""What happens to this node in its cluster, in metrics and log."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from watchword.errors import WatchwordError
from watchword.server.offices import Ending

log = structlog.get_logger("watchword.nodes")


class NodeWitness:
    """Implements ``server.offices.Witness``. A store out of reach is logged once, and once more when it is back."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._is_unheard = False
        self._nodes = Gauge("watchword_nodes", "Nodes heard of lately, this one too.", registry=registry)
        self._offices = Gauge(
            "watchword_office_held", "1 while this node does the work of the office.", ("office",), registry=registry
        )
        self._runs = Counter(
            "watchword_job_runs", "Runs of periodic work, by how they ended.", ("job", "outcome"), registry=registry
        )

    def saw(self, nodes: int) -> None:
        """A beat went well, and so many nodes were heard of lately."""
        self._nodes.set(nodes)
        if self._is_unheard:
            self._is_unheard = False
            log.info("node_back", nodes=nodes)

    def missed(self, error: Exception) -> None:
        """A beat failed."""
        if not self._is_unheard:
            self._is_unheard = True
            log.warning("node_unheard", reason=_reason(error))

    def took(self, office: str, term: int) -> None:
        """This node holds the office from now on."""
        self._offices.labels(office).set(1)
        log.info("office_taken", office=office, term=term)

    def lost(self, office: str, term: int) -> None:
        """It does not any more."""
        self._offices.labels(office).set(0)
        log.info("office_left", office=office, term=term)

    def ended(self, job: str, ending: Ending, error: Exception | None) -> None:
        """One run of a job has ended."""
        self._runs.labels(job, ending).inc()
        if error is not None:
            log.error("job_failed", job=job, outcome=str(ending), reason=_reason(error))


def _reason(error: Exception) -> str:
    """Of what nobody has foreseen only the kind is told: its words may hold a secret."""
    return error.reason if isinstance(error, WatchwordError) else type(error).__name__

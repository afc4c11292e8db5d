"""What happens to this node in its cluster: counted, and logged without a word too many."""

from collections.abc import MutableMapping

import pytest
import structlog
from structlog.testing import LogCapture

from watchword.adapters import metrics_nodes
from watchword.adapters.metrics import Metrics
from watchword.errors import Conflict, StoreUnavailable
from watchword.server.offices import UPKEEP, Ending


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0", grants=(), methods=())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[MutableMapping[str, object]]:
    """What is logged, before it becomes text."""
    capture = LogCapture()
    monkeypatch.setattr(metrics_nodes, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def test_how_a_node_stands_is_shown(metrics: Metrics) -> None:
    metrics.witness.saw(3)
    metrics.witness.took(UPKEEP, 7)
    metrics.witness.ended("sweep", Ending.DONE, None)
    metrics.witness.ended("sweep", Ending.FAILED, ValueError("secret"))
    text = metrics.render()[0].decode()
    assert "watchword_nodes 3.0" in text
    assert 'watchword_office_held{office="upkeep"} 1.0' in text
    assert 'watchword_job_runs_total{job="sweep",outcome="done"} 1.0' in text
    assert 'watchword_job_runs_total{job="sweep",outcome="failed"} 1.0' in text
    metrics.witness.lost(UPKEEP, 7)
    assert 'watchword_office_held{office="upkeep"} 0.0' in metrics.render()[0].decode()


def test_a_store_out_of_reach_is_told_once(metrics: Metrics, told: list[MutableMapping[str, object]]) -> None:
    for _ in range(3):
        metrics.witness.missed(StoreUnavailable("store.full"))
    metrics.witness.saw(2)
    metrics.witness.saw(2)
    metrics.witness.missed(ValueError("secret"))
    assert told == [
        {"event": "node_unheard", "log_level": "warning", "reason": "store.full"},
        {"event": "node_back", "log_level": "info", "nodes": 2},
        {"event": "node_unheard", "log_level": "warning", "reason": "ValueError"},
    ]


def test_a_job_that_failed_says_why_and_nothing_that_may_be_secret(
    metrics: Metrics, told: list[MutableMapping[str, object]]
) -> None:
    metrics.witness.ended("sweep", Ending.DONE, None)
    metrics.witness.ended("sweep", Ending.FENCED, Conflict("office.term"))
    metrics.witness.ended("sweep", Ending.FAILED, ValueError("secret"))
    common = {"event": "job_failed", "log_level": "error", "job": "sweep"}
    assert told == [
        common | {"outcome": "fenced", "reason": "office.term"},
        common | {"outcome": "failed", "reason": "ValueError"},
    ]

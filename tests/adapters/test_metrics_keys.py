"""The signing keys in metrics and log: how they stand, and once what changes."""

from collections.abc import MutableMapping
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from structlog.testing import LogCapture

from watchword.adapters import metrics_keys
from watchword.adapters.metrics import Metrics
from watchword.ports.keys import KeyState
from watchword.server import key_schedule
from watchword.server.key_schedule import KeyTimes
from watchword.server.key_watch import KeyStanding
from watchword.testing.records import NOON, make_signing_key

TIMES = KeyTimes()
HOUR = timedelta(hours=1)
ACTIVE = replace(make_signing_key("active"), state=KeyState.ACTIVE, published_at=NOON, activated_at=NOON)
NEXT = replace(make_signing_key("next"), state=KeyState.PUBLISHED, published_at=NOON, wanted_at=NOON)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0", grants=(), methods=())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[MutableMapping[str, object]]:
    capture = LogCapture()
    monkeypatch.setattr(metrics_keys, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def show(metrics: Metrics, *keys, now) -> str:
    standing = KeyStanding(keys, key_schedule.plan(keys, TIMES), now)
    metrics.keys.saw_keys(standing, standing.overdue(TIMES))
    return metrics.render()[0].decode()


def test_age_next_step_and_states_are_shown(metrics: Metrics) -> None:
    text = show(metrics, ACTIVE, NEXT, now=NOON + HOUR)
    assert 'watchword_signing_keys{alg="ES256",state="published"} 1.0' in text
    assert 'watchword_signing_key_age_seconds{alg="ES256"} 3600.0' in text
    assert 'watchword_signing_key_next_step_seconds{alg="ES256"} -3180.0' in text
    text = show(metrics, replace(ACTIVE, state=KeyState.RETIRED), now=NOON + HOUR)
    assert 'state="published"' not in text
    assert "watchword_signing_key_age_seconds{" not in text


def test_what_changes_is_logged_once(metrics: Metrics, told: list[MutableMapping[str, object]]) -> None:
    for _ in range(2):
        show(metrics, ACTIVE, now=NOON)
    assert told == []
    for _ in range(2):
        show(metrics, ACTIVE, NEXT, now=NOON)
    assert told == [{"event": "key_state", "log_level": "info", "kid": "next", "alg": "ES256", "state": "published"}]


def test_a_step_that_nobody_takes_is_told_once(metrics: Metrics, told: list[MutableMapping[str, object]]) -> None:
    for _ in range(2):
        show(metrics, ACTIVE, NEXT, now=NOON + HOUR)
    assert told == [
        {
            "event": "key_overdue",
            "log_level": "warning",
            "alg": "ES256",
            "kid": "next",
            "state": "active",
            "due": (NOON + TIMES.notice).isoformat(),
        }
    ]

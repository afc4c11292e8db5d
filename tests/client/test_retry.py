from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.client.retry import LONGEST_RETRY_AFTER, RetryPolicy, parse_retry_after

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = LONGEST_RETRY_AFTER


@rule("Q4")
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        ("0", timedelta(0)),
        ("Tue, 24 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Tue, 24 Nov 2026 11:00:00 GMT", timedelta(0)),
        ("1000000000", HOUR),
        ("9" * 5000, HOUR),
        ("Tue, 24 Nov 2099 12:00:30 GMT", HOUR),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(value: str | None, wait: timedelta | None) -> None:
    assert parse_retry_after(value, now=NOW) == wait


@rule("Q4")
def test_pauses_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_pause=timedelta(seconds=1), longest_pause=timedelta(seconds=5), jitter=lambda: 0.5)
    assert [policy.pause(attempt, None).total_seconds() for attempt in range(1, 6)] == [0.5, 1, 2, 2.5, 2.5]
    assert policy.pause(10_000, None) == timedelta(seconds=2.5)


@rule("Q4")
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 50), st.integers(0, 3600))
def test_never_sooner_than_asked_and_not_much_later(jitter: float, attempt: int, asked: int) -> None:
    policy = RetryPolicy(jitter=lambda: jitter)
    pause = policy.pause(attempt, timedelta(seconds=asked)).total_seconds()
    assert asked <= pause <= asked * 1.25 + policy.longest_pause.total_seconds()


@rule("Q4")
def test_clients_told_the_same_come_back_at_different_moments() -> None:
    policy = RetryPolicy()
    assert len({policy.pause(1, timedelta(seconds=5)) for _ in range(100)}) > 90

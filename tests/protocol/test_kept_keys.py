"""Somebody's published keys as they are kept: what the time, a failure and a question change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import rule
from watchword.protocol.jwks import KeySet
from watchword.protocol.kept_keys import COOL_DOWN, RETRY_DELAY, KeptKeys, read_freshness
from watchword.testing.clock import FrozenClock

KEYS = KeySet({})
NOW = FrozenClock()()
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def kept() -> KeptKeys:
    return KeptKeys().with_keys(KEYS, MINUTE, began=NOW, max_stale=HOUR)


def test_a_set_is_fresh_then_stale_then_not_used():
    assert [
        (kept().usable(NOW + passed) is not None, kept().is_due(NOW + passed))
        for passed in (timedelta(), MINUTE - TICK, MINUTE, HOUR - TICK, HOUR)
    ] == [(True, False), (True, False), (True, True), (True, True), (False, True)]


def test_a_clock_set_back_makes_it_due():
    assert kept().is_due(NOW - TICK)


def test_nothing_is_fresh_for_longer_than_it_may_be_used():
    short = KeptKeys().with_keys(KEYS, 2 * HOUR, began=NOW, max_stale=HOUR)
    assert short.held is not None
    assert short.held.fresh_until == short.held.usable_until == NOW + HOUR


def test_after_a_failure_the_last_good_set_stays_and_the_next_attempt_waits():
    failed = kept().with_failure("http.timeout", began=NOW + MINUTE)
    assert failed.held == kept().held
    assert failed.failure == "http.timeout"
    assert not failed.is_due(NOW + MINUTE + RETRY_DELAY - TICK)
    assert failed.is_due(NOW + MINUTE + RETRY_DELAY)
    assert failed.is_due(NOW - HOUR)
    assert failed.with_keys(KEYS, MINUTE, began=NOW + HOUR, max_stale=HOUR).failure == ""


def test_an_unknown_name_is_a_reason_to_ask_once_in_a_while():
    assert kept().may_ask(NOW)
    asked = kept().with_question(NOW)
    assert not asked.may_ask(NOW + COOL_DOWN - TICK)
    assert asked.may_ask(NOW + COOL_DOWN)
    assert asked.may_ask(NOW - TICK)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 300),
        ({"cache-control": "public, max-age=120"}, 120),
        ({"cache-control": 'MAX-AGE="120"'}, 120),
        ({"cache-control": "max-age=120", "age": "50"}, 70),
        ({"cache-control": "max-age=120", "age": "junk"}, 120),
        ({"cache-control": "max-age=120, max-age=60"}, 60),
        ({"cache-control": "max-age=0"}, 30),
        ({"cache-control": "max-age=120", "age": "119"}, 30),
        ({"cache-control": "no-store"}, 30),
        ({"cache-control": "no-cache, max-age=600"}, 30),
        ({"cache-control": "max-age=86400"}, 900),
        ({"cache-control": "max-age=999999999999999999999"}, 300),
        ({"cache-control": "max-age=-1"}, 300),
        ({"cache-control": "max-age=1e9, s-maxage=7"}, 300),
    ],
)
@rule("V4")
def test_freshness_is_what_the_issuer_says_within_bounds(headers, seconds):
    assert read_freshness(headers) == timedelta(seconds=seconds)

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from watchword.cli.exits import CommandError, ExitCode
from watchword.cli.times import in_words, parse_duration, parse_moment, to_wire

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600), ("30s", 30), ("90m", 5400), ("12h", 43200), ("30d", 2592000), ("2w", 1209600)]
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "0d", "-1d", "1.5h", "1y", "d", "1h30m", "9" * 13, "999999999999w"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(CommandError) as caught:
        parse_duration(text)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("30d", "2026-12-24T12:00:00Z"),
        ("90m", "2026-11-24T13:30:00Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
    ],
)
def test_a_moment_is_a_duration_from_now_or_rfc_3339(text, wire):
    assert to_wire(parse_moment(text, now=NOW)) == wire


@pytest.mark.parametrize("text", ["", "600", "tomorrow", "2027-01-31", "2027-01-31T12:00:00", "2027-13-01T00:00:00Z"])
def test_a_moment_that_could_mean_several_is_refused(text):
    with pytest.raises(CommandError) as caught:
        parse_moment(text, now=NOW)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (590, "in 9 min 50 s"),
        (-10920, "3 h 2 min ago"),
        (86400, "in 1 d"),
        (90061, "in 1 d 1 h"),
        (-1, "1 s ago"),
    ],
)
def test_a_distance_is_told_in_two_units_at_most(seconds, words):
    assert in_words(NOW + timedelta(seconds=seconds), now=NOW) == words

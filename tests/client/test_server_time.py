from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from watchword.client.server_time import ServerTime, parse_http_date

SENT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RECEIVED = SENT + timedelta(seconds=1)


def test_a_date_of_the_standard() -> None:
    # RFC 9110 §5.6.7
    assert parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "0",
        "Sun, 06 Nov 99999999999 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
    ],
)
def test_what_is_no_date_names_no_moment(text: str) -> None:
    assert parse_http_date(text) is None


def test_the_offset_is_how_far_the_server_is_ahead() -> None:
    time = ServerTime()
    time.learn("Tue, 24 Nov 2026 12:05:00 GMT", sent_at=SENT, received_at=RECEIVED)
    assert time.offset == timedelta(minutes=5, seconds=-0.5)
    time.learn("Tue, 24 Nov 2026 11:00:00 GMT", sent_at=SENT, received_at=RECEIVED)
    assert time.offset == timedelta(hours=-1, seconds=-0.5)


@pytest.mark.parametrize("date", [None, "garbage", "Tue, 24 Nov 1970 12:00:00 GMT", "Tue, 24 Nov 9999 12:00:00 GMT"])
def test_a_senseless_date_teaches_nothing(date: str | None) -> None:
    time = ServerTime()
    time.learn("Tue, 24 Nov 2026 12:05:00 GMT", sent_at=SENT, received_at=RECEIVED)
    before = time.offset
    time.learn(date, sent_at=SENT, received_at=RECEIVED)
    assert time.offset == before


def test_clocks_that_agree_have_no_offset() -> None:
    time = ServerTime()
    time.learn("Tue, 24 Nov 2026 12:00:01 GMT", sent_at=SENT, received_at=RECEIVED)
    assert time.offset == timedelta(0)

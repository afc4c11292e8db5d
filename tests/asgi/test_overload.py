"""So many requests at once and no more; what is beyond is told to come again before anything is done for it: ABUSE E6, E9."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

import pytest
import structlog.testing

from tests import rule
from watchword.asgi.overload import Slots
from watchword.errors import Overloaded
from watchword.testing.clock import FrozenClock


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def told() -> Counter[str]:
    return Counter()


@pytest.fixture
def slots(clock: FrozenClock, told: Counter[str]) -> Slots:
    return Slots("concurrent_requests", 4, clock, lambda name: told.update([name]))


def fill(slots: Slots, number: int = 4) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    for _ in range(number):
        stack.enter_context(slots)
    return stack


@rule("E6")
def test_one_more_than_the_number_is_refused_and_counted(slots: Slots, told: Counter[str]) -> None:
    with fill(slots):
        for _ in range(3):
            with pytest.raises(Overloaded) as caught, slots:
                pytest.fail("let in")
            assert caught.value.reason == "server.overloaded"
    assert told == {"concurrent_requests": 3}


@rule("E6")
@pytest.mark.parametrize("error", [None, ValueError, asyncio.CancelledError])
def test_a_slot_is_given_back_however_the_work_ends(slots: Slots, error: type[BaseException] | None) -> None:
    for _ in range(20):
        with contextlib.suppress(ValueError, asyncio.CancelledError), slots:
            if error is not None:
                raise error
    with fill(slots):
        pass


def test_who_was_refused_gives_no_slot_back(slots: Slots) -> None:
    with fill(slots):
        for _ in range(3):
            with contextlib.suppress(Overloaded), slots:
                pytest.fail("let in")
        with pytest.raises(Overloaded), slots:
            pytest.fail("let in")


@rule("E11")
def test_the_log_has_a_line_at_once_and_then_one_in_ten_seconds_that_counts(slots: Slots, clock: FrozenClock) -> None:
    with structlog.testing.capture_logs() as lines, fill(slots):
        for seconds in (0, 3, 3, 3, 3, 3, -60):
            clock.advance(timedelta(seconds=seconds))
            for _ in range(2):
                with contextlib.suppress(Overloaded), slots:
                    pytest.fail("let in")
    assert {(line["event"], line["limit"], line["requests"], line["log_level"]) for line in lines} == {
        ("overload", "concurrent_requests", 4, "warning")
    }
    assert [line["refused"] for line in lines] == [1, 8, 4]

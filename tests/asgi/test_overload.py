"""So many requests at once and no more; what is beyond is told to come again before anything is done for it: ABUSE E6, E9."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

import pytest
import structlog.testing

from tests import rule
from watchword.asgi.overload import CALM, Slots
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


@pytest.fixture
def crowded(clock: FrozenClock) -> Slots:
    """Sixteen places, of which four are given out while they were not enough; and they were not."""
    slots = Slots("concurrent_requests", 16, clock, lambda _: None, few=4)
    with fill(slots, 16), pytest.raises(Overloaded), slots:
        pytest.fail("let in")
    return slots


def room(slots: Slots) -> int:
    """How many may be let in; nobody stays."""
    with contextlib.ExitStack() as stack:
        for number in range(100):
            try:
                stack.enter_context(slots)
            except Overloaded:
                return number
    raise AssertionError


@rule("E6")
def test_when_all_places_were_not_enough_few_are_given_out(crowded: Slots) -> None:
    assert (crowded.is_crowded, crowded.free) == (True, 4)
    assert room(crowded) == 4


@rule("E6")
def test_when_nobody_was_refused_for_a_second_all_places_are_given_out(crowded: Slots, clock: FrozenClock) -> None:
    clock.advance(CALM / 2)
    assert room(crowded) == 4  # somebody was refused
    clock.advance(CALM * 0.9)
    assert room(crowded) == 4
    clock.advance(CALM)
    assert room(crowded) == 16


def test_a_clock_set_back_does_not_keep_the_places_back(crowded: Slots, clock: FrozenClock) -> None:
    clock.advance(-timedelta(days=1))
    assert room(crowded) == 16


def test_places_that_were_all_taken_are_all_given_back(crowded: Slots) -> None:
    room(crowded)
    assert crowded.free == 4
    crowded.give_all()
    assert (crowded.is_crowded, crowded.free, room(crowded)) == (False, 16, 16)


def test_operators_always_have_all_of_theirs(slots: Slots) -> None:
    assert [room(slots), room(slots)] == [4, 4]

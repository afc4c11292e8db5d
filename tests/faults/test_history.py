"""The judge of histories: it lets pass what a right server can have answered, and names everything else."""

from __future__ import annotations

import pytest

from watchword.testing.history import READ, RESUME, SUSPEND, TOKEN, Event, History, Operation, Outcome, judge

A = "agent-a"


def op(action: str, invoked: float, returned: float, outcome: Outcome = Outcome.DONE, fact: str = "") -> Operation:
    return Operation(action=action, subject=A, invoked=invoked, returned=returned, outcome=outcome, fact=fact)


def event(action: str, jti: str = "") -> Event:
    return {"action": action, "outcome": "success", "client_id": A, **({"jti": jti} if jti else {})}


GOOD = [
    op(TOKEN, 0, 1, fact="one"),
    op(SUSPEND, 2, 4),
    op(TOKEN, 3, 5, fact="two"),  # while it was being suspended
    op(TOKEN, 5, 6, Outcome.REFUSED),
    op(RESUME, 7, 8),
    op(TOKEN, 7.5, 9, fact="three"),
    op(TOKEN, 10, 11, Outcome.UNAVAILABLE),
    op(TOKEN, 12, 13, Outcome.UNKNOWN),
    op(READ, 0, 1, fact="3"),
    op(READ, 0.5, 2, fact="2"),
    op(READ, 3, 4, fact="3"),
]
TOLD = [event(TOKEN, "one"), event(TOKEN, "two"), event(SUSPEND), event(RESUME), event(TOKEN, "three")]


def test_what_can_have_been_is_let_pass() -> None:
    assert judge(GOOD, TOLD) == []
    assert judge(GOOD, [*TOLD, event(TOKEN, "unheard")]) == []  # of the one whose end nobody heard
    assert judge([], []) == []


@pytest.mark.parametrize(
    ("operations", "events", "says"),
    [
        ([*GOOD, op(SUSPEND, 14, 15), op(TOKEN, 16, 17, fact="four")], [*TOLD, event(TOKEN, "four"), event(SUSPEND)], "after"),
        ([*GOOD, op(TOKEN, 14, 15, Outcome.REFUSED)], TOLD, "an active agent was refused"),
        ([op(TOKEN, 0, 1, Outcome.REFUSED), op(SUSPEND, 2, 3)], [event(SUSPEND)], "an active agent was refused"),
        ([*GOOD, op(TOKEN, 14, 15, fact="three")], [*TOLD, event(TOKEN, "four")], "2 clients got the token three"),
        ([*GOOD, op(READ, 14, 15, fact="2")], TOLD, "went back"),
        (GOOD, TOLD[1:], "the audit tells of it 0 times"),
        (GOOD, [TOLD[0], *TOLD], "the audit tells of it 2 times"),
        (GOOD, [*TOLD[:2], TOLD[3], TOLD[4]], "0 events agent.suspend"),
        (GOOD, [*TOLD, event(RESUME)], "2 events agent.resume"),
        (GOOD, [*TOLD, event(TOKEN, "a"), event(TOKEN, "b")], "5 events token.issue"),
        (GOOD, [TOLD[4], *TOLD[:4]], "the audit tells of it too early"),
        (GOOD, [TOLD[0], TOLD[2], TOLD[1], *TOLD[3:]], "while it was suspended"),
    ],
)  # fmt: skip
def test_what_cannot_have_been_is_named(operations: list[Operation], events: list[Event], says: str) -> None:
    assert any(says in problem for problem in judge(operations, events)), judge(operations, events)


def test_a_suspension_whose_end_nobody_heard_may_hold_or_not() -> None:
    unheard = op(SUSPEND, 1, 2, Outcome.UNKNOWN)
    refused, given = op(TOKEN, 3, 4, Outcome.REFUSED), op(TOKEN, 3, 4, fact="one")
    assert judge([unheard, refused], [event(SUSPEND)]) == []
    assert judge([unheard, given], [event(TOKEN, "one"), event(SUSPEND)]) == []
    assert judge([unheard, given], [event(TOKEN, "one")]) == []


def test_a_call_is_noted_with_its_times_and_how_it_ended() -> None:
    clock = iter(range(100)).__next__
    history = History(clock)
    with history.call(TOKEN, A) as call:
        call.done("one")
    with history.call(TOKEN, A) as call:
        call.refused()
    with history.call(SUSPEND, A) as call:
        call.unavailable()
    with pytest.raises(ConnectionError), history.call(RESUME, A):
        raise ConnectionError
    assert history.operations == [
        op(TOKEN, 0, 1, fact="one"),
        op(TOKEN, 2, 3, Outcome.REFUSED),
        op(SUSPEND, 4, 5, Outcome.UNAVAILABLE),
        op(RESUME, 6, 7, Outcome.UNKNOWN),
    ]

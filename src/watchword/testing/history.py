"""What clients did and saw, with times, and a judge who says whether a right server can have answered so.

    history = History()
    with history.call(TOKEN, agent) as call:
        call.done(jti_of(ask_for_a_token()))
    with history.call(SUSPEND, agent) as call:
        suspend(agent)
        call.done()
    assert judge(history.operations, events) == []

A call that ends without a word, as by an exception, may have been carried out or not: both must fit. All times are of one clock,
so the clients are threads or tasks of one process; the server may be many.
"""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

TOKEN: Final = "token.issue"  # noqa: S105 -- an action of the audit
SUSPEND: Final = "agent.suspend"
RESUME: Final = "agent.resume"
READ: Final = "read"
"""Looks at something that only grows; its fact is how far it was."""

_STATES: Final = (SUSPEND, RESUME)
Event = Mapping[str, object]


class Outcome(StrEnum):
    """How an operation ended for who asked."""

    DONE = "done"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    """A clean "not now": nothing was done."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing asked of the server. ``subject`` is the agent's ``client_id``, or the name of what was read.

    ``fact`` of a token is its ``jti``, of a read how far it was. Times are in seconds; the effect, if any, came in between.
    """

    action: str
    subject: str
    invoked: float
    returned: float
    outcome: Outcome
    fact: str = ""

    def __str__(self) -> str:
        told = f" {self.fact}" if self.fact else ""
        return f"{self.action} {self.subject}{told}: {self.outcome}, {self.invoked:.6f} to {self.returned:.6f}"


class Call:
    """An operation under way. Say how it ended; nothing said is ``UNKNOWN``."""

    def __init__(self) -> None:
        self.outcome = Outcome.UNKNOWN
        self.fact = ""

    def done(self, fact: str = "") -> None:
        """It was acknowledged."""
        self.outcome, self.fact = Outcome.DONE, fact

    def refused(self) -> None:
        """The server said no."""
        self.outcome = Outcome.REFUSED

    def unavailable(self) -> None:
        """The server said not now."""
        self.outcome = Outcome.UNAVAILABLE


class History:
    """Operations of many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    @property
    def operations(self) -> list[Operation]:
        """Those that have ended, in the order in which they began."""
        with self._lock:
            return sorted(self._operations, key=lambda one: one.invoked)

    @contextmanager
    def call(self, action: str, subject: str) -> Iterator[Call]:
        """Note when it begins and ends. An exception is noted as ``UNKNOWN`` and goes on."""
        call, invoked = Call(), self._clock()
        try:
            yield call
        finally:
            ended = self._clock()
            operation = Operation(
                action=action, subject=subject, invoked=invoked, returned=ended, outcome=call.outcome, fact=call.fact
            )
            with self._lock:
                self._operations.append(operation)


def judge(operations: Sequence[Operation], events: Sequence[Event]) -> list[str]:
    """Return what a right server cannot have answered. ``events`` are those of the audit, in its order.

    A token after an acknowledged suspension; a refusal of an agent that was active throughout; a fact given twice or taken
    back; an acknowledged token or change that the audit does not tell of, tells of twice, or tells of in another order than it
    happened in; an event of a token that nobody can have got.
    """
    possible = [_open_end(one) for one in operations if one.outcome not in (Outcome.REFUSED, Outcome.UNAVAILABLE)]
    return [
        *_tokens_of_the_suspended(operations, possible),
        *_refusals_of_the_active(operations, possible),
        *_twice(operations),
        *_taken_back(operations),
        *_untold(operations, possible, events),
        *_out_of_order(operations, events),
        *_told_while_suspended(events),
    ]


def _open_end(operation: Operation) -> Operation:
    """What nobody heard the end of may still happen."""
    return replace(operation, returned=float("inf")) if operation.outcome is Outcome.UNKNOWN else operation


def _done(operations: Sequence[Operation], *actions: str) -> list[Operation]:
    return [one for one in operations if one.action in actions and one.outcome is Outcome.DONE]


def _by_subject(operations: Sequence[Operation], action: str) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.action == action:
            found[one.subject].append(one)
    return found


def _tokens_of_the_suspended(operations: Sequence[Operation], possible: Sequence[Operation]) -> Iterator[str]:
    suspensions, resumptions = _by_subject(_done(operations, SUSPEND), SUSPEND), _by_subject(possible, RESUME)
    for token in _done(operations, TOKEN):
        for suspension in suspensions[token.subject]:
            lifted = any(
                one.returned > suspension.invoked and one.invoked < token.returned for one in resumptions[token.subject]
            )
            if suspension.returned < token.invoked and not lifted:
                yield f"a token after the suspension was acknowledged: {token}; {suspension}"
                break


def _refusals_of_the_active(operations: Sequence[Operation], possible: Sequence[Operation]) -> Iterator[str]:
    suspensions, resumptions = _by_subject(possible, SUSPEND), _by_subject(_done(operations, RESUME), RESUME)
    for refusal in (one for one in operations if one.action == TOKEN and one.outcome is Outcome.REFUSED):
        may_hold = (
            not any(
                suspension.returned < one.invoked and one.returned < refusal.invoked
                for one in resumptions[refusal.subject]
            )
            for suspension in suspensions[refusal.subject]
            if suspension.invoked < refusal.returned
        )
        if not any(may_hold):
            yield f"an active agent was refused: {refusal}"


def _twice(operations: Sequence[Operation]) -> Iterator[str]:
    for fact, times in Counter(one.fact for one in _done(operations, TOKEN)).items():
        if times > 1:
            yield f"{times} clients got the token {fact}"


def _taken_back(operations: Sequence[Operation]) -> Iterator[str]:
    """Of what only grows, a later look shows no less."""
    for subject, reads in _by_subject(_done(operations, READ), READ).items():
        yield from _decreasing(reads, {one: int(one.fact) for one in reads}, f"{subject} went back")


def _decreasing(operations: Sequence[Operation], places: Mapping[Operation, int], words: str) -> Iterator[str]:
    """Where one operation began after another had ended, its place must not be before that of the other."""
    ended = sorted(operations, key=lambda one: one.returned)
    ends = [one.returned for one in ended]
    highest = list(itertools.accumulate((places[one] for one in ended), max))
    for one in operations:
        before = bisect.bisect_left(ends, one.invoked)
        if before and highest[before - 1] > places[one]:
            yield f"{words}: {one}"


def _succeeded(events: Sequence[Event], action: str) -> list[Event]:
    return [event for event in events if event["action"] == action and event["outcome"] == "success"]


def _untold(operations: Sequence[Operation], possible: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    told = Counter(str(event["jti"]) for event in _succeeded(events, TOKEN))
    for token in _done(operations, TOKEN):
        if told[token.fact] != 1:
            yield f"the audit tells of it {told[token.fact]} times: {token}"
    for action in (TOKEN, *_STATES):
        counted = Counter(str(event["client_id"]) for event in _succeeded(events, action))
        least = Counter(one.subject for one in _done(operations, action))
        most = Counter(one.subject for one in possible if one.action == action)
        for subject in sorted(counted.keys() | least.keys()):
            if not least[subject] <= counted[subject] <= most[subject]:
                yield f"{counted[subject]} events {action} of {subject}, of {least[subject]} to {most[subject]} that can be"


def _out_of_order(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    places = {str(event["jti"]): place for place, event in enumerate(events) if event.get("jti")}
    tokens = [one for one in _done(operations, TOKEN) if one.fact in places]
    yield from _decreasing(tokens, {one: places[one.fact] for one in tokens}, "the audit tells of it too early")


def _told_while_suspended(events: Sequence[Event]) -> Iterator[str]:
    suspended: set[object] = set()
    for event in events:
        if event["outcome"] != "success":
            continue
        if event["action"] == SUSPEND:
            suspended.add(event["client_id"])
        elif event["action"] == RESUME:
            suspended.discard(event["client_id"])
        elif event["action"] == TOKEN and event["client_id"] in suspended:
            yield f"the audit tells of a token of {event['client_id']} while it was suspended: {event['jti']}"

"""Who may work on which tables, and who must leave before a step is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import rule
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.schema import Migration, Schema
from watchword.server.offices import LEASE
from watchword.server.schema import Plan, check_way, compare, describe, floor_of, heard_of
from watchword.testing.records import NOON, make_node

ADDS = Migration(2, "adds", "CREATE TABLE more (id INTEGER)", 1)
TAKES = Migration(3, "takes", "DROP TABLE more", 3)
STEPS = (Migration(1, "initial", "CREATE TABLE first (id INTEGER)", 1), ADDS, TAKES)
APPLIED = [(step.number, step.checksum) for step in STEPS]
OLD, NEW = (replace(make_node(f"node-{number}", name=f"host-{number}:8020"), schema=number) for number in (1, 2))


def compared(applied: list[tuple[int, str]], compatible_from: int, known: int = 2) -> Schema:
    return compare(applied, STEPS[:known], compatible_from=compatible_from, place="the store")


def test_a_checksum_hangs_on_what_is_done_and_not_on_who_may_go_on() -> None:
    assert replace(ADDS, compatible_from=2).checksum == ADDS.checksum
    assert replace(ADDS, sql=f"{ADDS.sql} ").checksum != ADDS.checksum


@pytest.mark.parametrize(("steps", "known"), [(0, 2), (1, 2), (2, 2), (3, 2), (3, 1)])
@rule("O14")
def test_tables_that_let_a_program_go_on_are_understood(steps: int, known: int) -> None:
    assert compared(APPLIED[:steps], 1, known) == Schema(steps, known, 1)
    assert compared(APPLIED[:steps], 1, known).is_newer is (steps > known)


@rule("O14")
def test_tables_that_need_a_later_program_are_refused() -> None:
    with pytest.raises(BadSettings) as caught:
        compared(APPLIED, 3)
    assert caught.value.reason == "store.newer"
    assert caught.value.detail == "the store has schema 3, this version knows 2: upgrade watchword"


@pytest.mark.parametrize(
    "applied",
    [[(1, "other"), *APPLIED[1:]], [APPLIED[0], (2, "other"), APPLIED[2]], APPLIED[1:], [APPLIED[0], APPLIED[2]]],
    ids=["first", "second", "without the first", "with a gap"],
)
def test_tables_that_were_altered_are_refused(applied: list[tuple[int, str]]) -> None:
    with pytest.raises(BadSettings) as caught:
        compared(applied, 1)
    assert caught.value.reason == "store.checksum"


def test_the_floor_is_that_of_the_strictest_step() -> None:
    assert [floor_of(STEPS[:number]) for number in range(4)] == [0, 1, 1, 3]


def test_who_was_heard_of_within_a_lease_is_there() -> None:
    assert heard_of([OLD, replace(NEW, seen_at=NOON - LEASE)], now=NOON) == (OLD,)
    assert heard_of([OLD], now=NOON + LEASE) == ()


@rule("N5")
def test_a_step_waits_for_those_who_would_misread_what_it_leaves() -> None:
    check_way(ADDS, [OLD, NEW])
    with pytest.raises(StoreUnavailable) as caught:
        check_way(TAKES, [OLD, NEW, replace(NEW, schema=3)])
    assert caught.value.reason == "store.older_nodes"
    assert describe(OLD) in caught.value.detail
    assert describe(NEW) in caught.value.detail
    assert describe(replace(NEW, schema=3)) not in caught.value.detail
    check_way(TAKES, [replace(NEW, schema=3)])


def test_it_is_said_when_a_node_that_was_killed_counts_as_gone() -> None:
    assert describe(OLD) == "host-1:8020 (version 1.0, schema 1; if it was killed, gone at 12:00:15 UTC)"


def test_a_plan_says_who_is_older_who_is_in_the_way_and_whether_servers_may_go_on() -> None:
    plan = Plan(Schema(1, 3, 1), (ADDS, TAKES), (OLD, NEW))
    assert (plan.older, plan.in_the_way, plan.is_additive) == ((OLD, NEW), (OLD, NEW), False)
    plan = Plan(Schema(1, 2, 1), (ADDS,), (OLD, NEW))
    assert (plan.older, plan.in_the_way, plan.is_additive) == ((OLD,), (), True)
    plan = Plan(Schema(2, 3, 1), (TAKES,), ())
    assert (plan.older, plan.in_the_way, plan.is_additive) == ((), (), False)

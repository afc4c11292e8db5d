"""The ledger and the tests agree, both ways."""

import ast
import textwrap

import pytest

from tests.ledger import find_marks, marks_in, read_ledger

LEDGER = read_ledger()
MARKS = find_marks()


def test_every_mark_names_a_row():
    assert {id_: sorted(files) for id_, files in MARKS.items() if id_ not in LEDGER} == {}


def test_every_tested_row_has_a_test():
    assert [row.id for row in LEDGER.values() if row.status == "tested" and row.id not in MARKS] == []


def test_a_row_that_is_for_later_has_no_test_and_says_what_it_waits_for():
    later = [row for row in LEDGER.values() if row.status == "later"]
    assert [row.id for row in later if row.id in MARKS] == []
    assert [row.id for row in later if not row.why or row.still] == []


def test_every_row_is_tested_or_for_later_in_our_own_words():
    assert {row.status for row in LEDGER.values()} <= {"tested", "later"}
    assert [row.id for row in LEDGER.values() if not row.section or not row.text] == []
    assert [row.id for row in LEDGER.values() if row.status == "tested" and row.why] == []


@pytest.mark.parametrize(
    "source", ["@rule(ID)\ndef test_x(): ...", "@rule(*IDS)\ndef test_x(): ...", "pytest.mark.rule(f'R{1}')", "rule(1)"]
)
def test_an_id_that_is_computed_is_refused(source):
    with pytest.raises(ValueError, match="literals"):
        list(marks_in(ast.parse(source)))


def test_marks_are_found_wherever_they_stand():
    source = textwrap.dedent(
        """
        pytestmark = rule("A-1")

        @pytest.mark.rule("A-2", "A-3")
        class TestSomething:
            @rule("A-4")
            @pytest.mark.parametrize("x", [pytest.param(1, marks=rule("A-5"))])
            def test_it(self, x): ...
        """
    )
    assert set(marks_in(ast.parse(source))) == {"A-1", "A-2", "A-3", "A-4", "A-5"}

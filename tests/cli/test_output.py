from __future__ import annotations

import json

import pytest
import yaml

from tests import rule
from watchword.cli import audit
from watchword.cli.output import View, print_list, print_record, print_table
from watchword.cli.session import Choices, Session

VIEW = View("id", ("id", "scopes", "labels"))
ITEMS = [{"id": "a", "scopes": ["x", "y"], "labels": {"team": "ops"}, "on": True}, {"id": "b"}]


def test_json_is_the_servers_members_and_nothing_else(capsys):
    print_list(ITEMS, VIEW, "json")
    assert json.loads(capsys.readouterr().out) == ITEMS


def test_yaml_says_the_same(capsys):
    print_record(ITEMS[0], VIEW, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == ITEMS[0]


def test_name_is_one_identifier_a_line(capsys):
    print_list(ITEMS, VIEW, "name")
    assert capsys.readouterr().out == "a\nb\n"


def test_a_table_that_no_terminal_reads_has_aligned_columns_and_cuts_nothing(capsys):
    print_list([*ITEMS, {"id": "c" * 200}], VIEW, "table")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["ID", "SCOPES", "LABELS"],
        ["a", "x", "y", "team=ops"],
        ["b"],
        ["c" * 200],
    ]


def test_a_table_of_nothing_has_its_headings(capsys):
    print_list([], VIEW, "table")
    assert capsys.readouterr().out.split() == ["ID", "SCOPES", "LABELS"]


STEERING = "\x1b[2J\r\x9b31m\u202e"


@rule("U3", "T16")
@pytest.mark.parametrize("form", ["table", "name", "json", "yaml"])
@pytest.mark.parametrize("shown", [print_record, lambda record, *how: print_list([record], *how)])
def test_text_from_elsewhere_cannot_steer_the_terminal(capsys, form, shown):
    shown({"id": f"{STEERING}evil", "scopes": [STEERING], "labels": {STEERING: STEERING}}, VIEW, form)
    out = capsys.readouterr().out
    assert not any(letter in out for letter in STEERING if not letter.isprintable())
    assert "evil" in out


@rule("U3", "T16")
def test_a_table_of_any_words_cannot_steer_the_terminal(capsys):
    print_table(["FINDING"], [[f"{STEERING}evil"]])
    assert "evil" in (out := capsys.readouterr().out)
    assert not any(letter in out for letter in STEERING if not letter.isprintable())


@rule("U3", "T16")
@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_an_event_that_is_followed_cannot_steer_the_terminal(capsys, form):
    audit.print_live(Session(Choices(), form), {"time": "now", "client_id": f"{STEERING}evil"})
    assert "evil" in (out := capsys.readouterr().out)
    assert not any(letter in out for letter in STEERING if not letter.isprintable())


def test_json_and_yaml_keep_letters_and_say_the_same_where_they_escape(capsys):
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        for text in ("Größe", f"Größe {STEERING}"):
            print_record({"id": text}, VIEW, form)
            assert read(out := capsys.readouterr().out) == {"id": text}
            assert ("Größe" in out) is (text == "Größe")


def test_a_terminal_gets_a_drawn_table(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_list(ITEMS, VIEW, "table")
    out = capsys.readouterr().out
    assert "SCOPES" in out
    assert "\x1b[3" not in out

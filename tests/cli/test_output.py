from __future__ import annotations

import json

import pytest
import yaml

from watchword.cli.output import View, print_list, print_record

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


@pytest.mark.parametrize("form", ["table", "name"])
def test_text_from_the_server_cannot_steer_the_terminal(capsys, form):
    print_record({"id": "\x1b[2J\r\u202eevil"}, VIEW, form)
    out = capsys.readouterr().out
    assert not any(letter in out for letter in "\x1b\r\u202e")
    assert "evil" in out


def test_a_terminal_gets_a_drawn_table(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_list(ITEMS, VIEW, "table")
    out = capsys.readouterr().out
    assert "SCOPES" in out
    assert "\x1b[3" not in out

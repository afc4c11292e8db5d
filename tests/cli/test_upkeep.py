"""The commands that work on the data directory itself."""

from __future__ import annotations

import apsw
import pytest

from tests import rule
from tests.adapters.test_sqlite import LATER, first_release
from tests.cli.conftest import ISSUER
from watchword.adapters import sqlite_schema
from watchword.adapters.sqlite_migrations import MIGRATIONS
from watchword.adapters.sqlite_values import time_value
from watchword.clock import system_clock

LATEST = len(MIGRATIONS)
OTHER = "http://127.0.0.1:18021"


def test_a_current_store_has_nothing_to_bring_forward(admin):
    ran = admin("migrate", "--check", "-o", "json")
    assert (ran.code, ran.json()["missing"]) == (0, 0)
    ran = admin("migrate", "-o", "json")
    assert (ran.code, ran.json()["applied"]) == (0, 0)


@rule("O14")
def test_an_older_store_is_brought_forward_when_it_is_asked_for(cli, home):
    (home / "old").mkdir()
    first_release(home / "old/watchword.db", "admin")
    refused = cli("--data", "old", "agent", "list")
    assert refused.code == 2
    before = (home / "old/watchword.db").read_bytes()
    checked = cli("--data", "old", "migrate", "--check", "-o", "json")
    steps = LATEST - 1
    told = {"data": "old", "schema": LATEST, "present": 1, "missing": steps, "under_traffic": False}
    assert (checked.code, checked.json()) == (8, {**checked.json(), **told, "older_nodes": [], "in_the_way": []})
    assert [step["number"] for step in checked.json()["steps"]] == list(range(2, LATEST + 1))
    assert (home / "old/watchword.db").read_bytes() == before
    assert cli("--data", "old", "migrate", "-o", "json").json() == {
        "data": "old",
        "schema": LATEST,
        "applied": steps,
    }
    assert cli("--data", "old", "migrate", "--check").code == 0


def test_a_store_is_moved_to_another_issuer(admin, cli, home):
    ran = admin("config", "set-issuer", OTHER, "-o", "json")
    assert (ran.code, ran.json()) == (0, {"data": str(home / "data"), "issuer": OTHER, "before": ISSUER})
    assert admin("config", "show", "-o", "json").json()["issuer"] == OTHER
    assert admin("agent", "list").code == 0


@pytest.mark.parametrize("command", [("migrate",), ("config", "set-issuer", OTHER)])
def test_what_works_on_the_files_needs_the_machine_itself(cli, command):
    assert cli("--url", "https://auth.example.com", *command).code == 2
    ran = cli("--data", "nowhere", *command)
    assert (ran.code, ran.out) == (6, "")
    assert "watchword init --data nowhere" in ran.err


@rule("O13")
def test_a_store_is_copied_and_put_back_and_what_is_lost_is_said(admin, cli, home):
    admin("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data")
    ran = admin("backup", "a.backup", "-o", "json")
    assert ran.code == 0
    assert ran.json() == {**ran.json(), "file": str(home / "a.backup"), "master_key": False}
    assert "The master key is not in it" in ran.err
    admin("agent", "suspend", "reader")
    ran = cli("restore", "a.backup", "--data", "again", "-o", "json")
    assert (ran.code, ran.json()["generation"], ran.json()["issuer"]) == (0, 2, ISSUER)
    assert "stopped since" in ran.err
    assert "again/master.key" in ran.err
    assert cli("--data", "again", "agent", "list").code == 1
    (home / "again/master.key").write_bytes((home / "data/master.key").read_bytes())
    (home / "again/master.key").chmod(0o600)
    assert cli("--data", "again", "agent", "show", "reader", "-o", "json").json()["state"] == "active"
    assert cli("--data", "again", "audit", "verify").code == 0


def test_a_master_key_in_a_copy_is_warned_of_even_in_quiet(admin, cli, home):
    ran = admin("backup", "a.backup", "--with-master-key", "--quiet")
    assert "can sign tokens as this server" in ran.err
    assert cli("restore", "a.backup", "--data", "again", "-o", "json").json()["master_key"] is True
    assert cli("--data", "again", "agent", "list").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--data", "data", "backup", "data/watchword.db"), 6),
        (("--data", "data", "backup", "nowhere/a"), 1),
        (("--data", "nowhere", "backup", "a"), 6),
        (("--url", "https://auth.example.com", "backup", "a"), 2),
        (("restore", "a"), 2),
        (("restore", "nowhere", "--data", "again"), 6),
        (("restore", "a", "--data", "data"), 6),
        (("restore", "data/watchword.toml", "--data", "again"), 2),
    ],
)
def test_what_cannot_be_copied_or_put_back_has_its_code(admin, cli, home, arguments, code):
    assert admin("backup", "a").code == 0
    before = sorted(path.name for path in home.iterdir())
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in home.iterdir()) == before


def test_an_examination_names_the_command_that_mends(admin, home):
    admin("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data", "--expires", "30d")
    ran = admin("doctor", "-o", "json")
    assert (ran.code, ran.json()["ok"]) == (8, False)
    found = {one["check"]: one for one in ran.json()["findings"]}
    assert found["shared-secret"]["severity"] == "note"
    command = found["agent-owner"]["command"].replace("TEAM", "ops").split()
    assert admin(*command[1:]).code == 0
    again = admin("doctor", "-o", "json")
    assert {one["check"] for one in again.json()["findings"]} == found.keys() - {"agent-owner"}
    assert f"  {found['credential-endless']['command']}\n" in admin("doctor").out


def test_a_store_that_is_well_is_told_so(admin):
    ran = admin("doctor")
    assert (ran.code, ran.out, ran.err) == (0, "", "All is well.\n")
    assert admin("doctor", "--prod", "-o", "json").code == 8


@rule("N5", "N9")
def test_what_has_to_be_done_and_who_is_in_the_way_is_said_in_words(cli, home):
    (home / "old").mkdir()
    first_release(home / "old/watchword.db", "admin")
    db = apsw.Connection(str(home / "old/watchword.db"))
    sqlite_schema.migrate(db, now=system_clock(), migrations=MIGRATIONS[:5])
    seen = time_value(system_clock())
    db.execute(
        "INSERT INTO nodes (id, name, version, started_at, seen_at) VALUES ('n1', 'host-1', '0.1', ?1, ?1)", (seen,)
    )
    checked = cli("--data", "old", "migrate", "--check")
    assert checked.code == 8
    assert "under_traffic  yes" in checked.out
    assert "host-1 (version 0.1, schema 5" in checked.out
    assert "in_the_way " not in checked.out
    assert "Step 6 (keys) only adds: versions that know schema 5 go on." in checked.err
    assert "Servers may go on meanwhile." in checked.err
    db.execute("UPDATE nodes SET seen_at = seen_at - 15000000")
    db.close()
    assert cli("--data", "old", "migrate").code == 0
    db = apsw.Connection(str(home / "old/watchword.db"))
    db.execute(LATER)
    db.close()
    later = cli("--data", "old", "migrate", "--check")
    assert later.code == 0
    assert "of a later version, which lets this one go on" in later.err
    assert cli("--data", "old", "migrate", "-o", "json").json()["applied"] == 0

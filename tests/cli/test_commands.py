from __future__ import annotations

import asyncio
import io
import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests import rule
from tests.cli.conftest import ISSUER
from watchword.adapters.sqlite import SqliteStore
from watchword.cli.profiles import AgentProfile, find_profile
from watchword.clock import system_clock
from watchword.protocol.client_secret import looks_like_secret
from watchword.testing.records import make_node

CREATE = ("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data")


def test_a_resource_is_created_listed_shown_changed_and_deleted(admin):
    made = admin(
        "resource", "create", "billing", "--scope", "a b", "--scope", "c", "--lifetime", "5m", "-o", "json"
    ).json()
    assert (made["identifier"], made["scopes"], made["token_lifetime"]) == ("billing", ["a", "b", "c"], 300)
    assert [item["name"] for item in admin("resource", "list", "-o", "json").json()] == ["billing", "my-api"]
    assert admin("resource", "list", "-o", "name").out == "billing\nmy-api\n"
    changed = admin("resource", "update", "billing", "--lifetime", "60", "--require-pop", "-o", "json").json()
    assert (changed["token_lifetime"], changed["require_pop"], changed["scopes"]) == (60, True, ["a", "b", "c"])
    assert yaml.safe_load(admin("resource", "show", "billing", "-o", "yaml").out) == changed
    assert admin("resource", "delete", "billing").code == 0
    assert admin("resource", "show", "billing").code == 6


def test_an_identifier_and_an_algorithm_may_be_named(admin):
    arguments = ("--identifier", "https://api.example.com", "--alg", "Ed25519", "-o", "json")
    made = admin("resource", "create", "api", "--scope", "x", *arguments).json()
    assert (made["identifier"], made["signing_algorithm"]) == ("https://api.example.com", "Ed25519")


@rule("A16")
def test_a_new_agent_is_told_with_its_secret_once(admin):
    ran = admin(*CREATE, "--owner", "team-data", "--label", "env=prod", "--expires", "30d", "-o", "json")
    made = ran.json()
    assert ran.code == 0
    assert made["token_endpoint"] == f"{ISSUER}/oauth/token"
    assert (made["issuer"], made["name"], made["owner"], made["labels"]) == (
        ISSUER,
        "reader",
        "team-data",
        {"env": "prod"},
    )
    assert made["client_id"].startswith("reader-")
    assert looks_like_secret(made["client_secret"])
    assert made["client_secret"] not in ran.err
    in_thirty_days = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < in_thirty_days <= timedelta(days=30)
    for command in (("agent", "show", "reader"), ("credential", "list", "reader"), ("audit", "tail")):
        assert made["client_secret"] not in admin(*command, "-o", "json").out


def test_a_person_is_shown_a_line_that_gets_a_token(admin):
    ran = admin(*CREATE)
    line = ran.out.splitlines()[-1]
    words = shlex.split(line)
    assert words[:2] == ["echo", words[1]]
    assert words[-1] == f"{ISSUER}/oauth/token"
    assert words[words.index("curl") : -1] == [
        "curl", "-sS", "-K", "-", "-d", "grant_type=client_credentials", "-d", "scope=read:data",
    ]  # fmt: skip
    assert ran.out.count("wws_") == 2
    assert "wws_" not in ran.err


def test_an_agent_without_a_permission_is_told_how_to_get_one(admin):
    ran = admin("agent", "create", "idle")
    assert ran.code == 0
    assert "permission grant idle" in ran.err
    assert "curl" not in ran.out


@rule("A16")
def test_a_secret_kept_in_a_profile_is_not_shown(admin):
    ran = admin(*CREATE, "--default-scope", "read:data", "--save-profile", "r")
    assert "wws_" not in ran.out + ran.err
    profile = find_profile("r")
    assert profile == AgentProfile(
        issuer=ISSUER,
        client_id=profile.client_id,
        auth_method="client_secret_basic",
        client_secret=profile.client_secret,
        resource="my-api",
        scope="read:data",
    )
    assert looks_like_secret(profile.client_secret)


def test_a_profile_that_is_taken_stops_before_the_agent_is_made(admin):
    admin(*CREATE, "--save-profile", "r")
    ran = admin("agent", "create", "second", "--resource", "my-api", "--scope", "read:data", "--save-profile", "r")
    assert ran.code == 6
    assert admin("agent", "show", "second").code == 6


def test_an_agent_is_changed_stopped_let_go_on_and_deleted(admin):
    client_id = admin(*CREATE, "-o", "json").json()["client_id"]
    changed = admin("agent", "update", "reader", "--owner", "me", "--purpose", "reads", "-o", "json").json()
    assert (changed["owner"], changed["purpose"], changed["version"]) == ("me", "reads", 2)
    assert admin("agent", "suspend", client_id, "--reason", "odd", "-o", "json").json()["state"] == "suspended"
    assert admin("agent", "list", "--state", "suspended", "-o", "name").out == f"{client_id}\n"
    assert admin("agent", "resume", "reader", "-o", "json").json()["state"] == "active"
    assert admin("agent", "delete", "reader").code == 0
    assert admin("agent", "list", "-o", "json").json() == []
    assert admin("agent", "show", "reader").code == 6


def test_credentials_overlap_and_are_revoked_one_by_one(admin):
    first = admin(*CREATE, "-o", "json").json()
    second = admin("credential", "add-secret", "reader", "--label", "two", "--expires", "12h", "-o", "json").json()
    assert looks_like_secret(second["client_secret"])
    assert (second["label"], second["state"]) == ("two", "active")
    listed = admin("credential", "list", "reader", "-o", "json").json()
    assert [item["id"] for item in listed] == [first["credential_id"], second["id"]]
    assert all("client_secret" not in item for item in listed)
    revoked = admin("credential", "revoke", "reader", second["id"], "-o", "json").json()
    assert (revoked["id"], revoked["state"]) == (second["id"], "revoked")
    assert admin("credential", "revoke", "reader", "cred-none").code == 6


def test_a_permission_is_granted_with_its_conditions_and_revoked(admin):
    admin("agent", "create", "reader")
    ran = admin(
        "permission", "grant", "reader", "--resource", "my-api", "--scope", "read:data write:data",
        "--default-scope", "read:data", "--for", "1h", "--source-network", "10.0.0.0/8", "--source-network", "192.0.2.7/32",
        "--hours", "22:00-06:00", "--maximum-lifetime", "5m", "--require-sender-constraint", "-o", "json",
    )  # fmt: skip
    made = ran.json()
    assert (made["scopes"], made["default_scopes"]) == (["read:data", "write:data"], ["read:data"])
    conditions = made["conditions"]
    not_after = datetime.fromisoformat(conditions.pop("not_after")) - datetime.now(UTC)
    assert timedelta(minutes=59) < not_after <= timedelta(hours=1)
    assert conditions == {
        "source_networks": ["10.0.0.0/8", "192.0.2.7/32"],
        "hours": "22:00-06:00",
        "maximum_lifetime": 300,
        "require_sender_constraint": True,
    }
    assert [item["id"] for item in admin("permission", "list", "reader", "-o", "json").json()] == [made["id"]]
    assert admin("permission", "revoke", "reader", made["id"]).code == 0
    assert admin("permission", "list", "reader", "-o", "json").json() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("agent", "create", "reader", "--scope", "read:data"), 2),
        (("agent", "create", "reader", "--resource", "my-api"), 2),
        (("agent", "create", "reader", "--resource", "none", "--scope", "x"), 6),
        (("agent", "create", "reader", "--resource", "my-api", "--scope", "other"), 2),
        (("agent", "create", "Bad Name"), 2),
        (("agent", "create", "reader", "--auth", "magic"), 2),
        (("agent", "create", "reader", "--expires", "soon"), 2),
        (("agent", "create", "reader", "--label", "x"), 2),
        (("agent", "update", "reader"), 2),
        (("agent", "show", "none"), 6),
        (("agent", "show", ".."), 2),
        (("agent", "list", "--state", "asleep"), 2),
        (("resource", "create", "my-api", "--scope", "x"), 6),
        (("resource", "create", "two"), 2),
        (("resource", "create", "two", "--scope", "x", "--lifetime", "2h"), 2),
        (("resource", "create", "two", "--scope", "x", "--alg", "none"), 2),
        (("resource", "update", "my-api"), 2),
        (("permission", "grant", "none", "--resource", "my-api", "--scope", "read:data"), 6),
        (("permission", "grant", "x", "--resource", "r", "--scope", "s", "--for", "1h", "--not-after", "2h"), 2),
        (("audit", "export", "--format", "xml"), 2),
        (("audit", "tail", "-n", "0"), 2),
        (("audit", "tail", "-o", "csv"), 2),
        (("nonsense",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_refusal_has_its_code_and_one_line_on_stderr(admin, arguments, code):
    ran = admin(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("watchword: ")
    assert ran.err.count("\n") == 1


def test_the_options_of_every_command_are_taken_before_between_and_after(cli, admin, home):
    data = home / "data"
    for arguments in (
        ("--data", data, "-o", "name", "resource", "list"),
        ("resource", "--data", data, "-o", "name", "list"),
        ("resource", "list", "--data", data, "-o", "name"),
        ("-o", "json", "resource", "list", "--data", data, "--output", "name"),
    ):
        assert cli(*arguments).out == "my-api\n"


def test_help_is_there_for_every_command(cli):
    for arguments in ((), ("agent",), ("agent", "create"), ("token",), ("audit", "tail"), ("serve",), ("dev",)):
        for flag in ("--help", "-h"):
            ran = cli(*arguments, flag)
            assert (ran.code, ran.err) == (0, "")
            assert "--data" in ran.out


def test_an_unknown_name_in_the_environment_stops_every_command(cli, monkeypatch):
    monkeypatch.setenv("WATCHWORD_SERVER__LISEN", "127.0.0.1:1")
    ran = cli("version")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean WATCHWORD_SERVER__LISTEN?" in ran.err


def test_the_dev_directory_is_used_and_said(admin, cli, home):
    (home / "data").rename(home / "watchword-dev")
    ran = cli("resource", "list", "-o", "name")
    assert ran.out == "my-api\n"
    assert "./watchword-dev" in ran.err
    assert cli("resource", "list", "-o", "name", "--quiet").err == ""


def test_a_directory_without_a_store_is_not_found(cli, home):
    ran = cli("agent", "list", "--data", "none")
    assert (ran.code, ran.out) == (6, "")
    assert "watchword init" in ran.err
    assert not (home / "none").exists()


def test_a_person_is_asked_before_what_cannot_be_undone(admin, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert admin("resource", "delete", "my-api").code == 1
    assert admin("resource", "show", "my-api").code == 0
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert admin("resource", "delete", "my-api").code == 0
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert admin("resource", "create", "b", "--scope", "x").code == 0
    assert admin("resource", "delete", "b", "--yes").code == 0


def test_the_newest_events_are_told_oldest_first(admin):
    admin("agent", "create", "one")
    admin("agent", "show", "none")
    events = admin("audit", "tail", "-n", "2", "-o", "json").json()
    assert [(event["action"], event["outcome"], event["reason"]) for event in events] == [
        ("agent.create", "success", "created"),
        ("agent.show", "denied", "agent.missing"),
    ]
    only = admin("audit", "tail", "--reason", "agent.missing", "-o", "json").json()
    assert [event["action"] for event in only] == ["agent.show"]
    assert "agent.missing" in admin("audit", "tail").out


@rule("DR-16")
def test_a_refused_request_is_explained_from_its_audit_event(admin):
    refused = admin("agent", "show", "none")
    trace_id = refused.err.rpartition("[trace id ")[2].rstrip("]\n")
    ran = admin("token", "explain", trace_id, "-o", "json")
    assert ran.code == 8
    assert [event["reason"] for event in ran.json()] == ["agent.missing"]
    assert admin("token", "explain", "no-such-request").code == 6


def test_an_export_verifies_offline_and_a_touched_one_does_not(admin, home):
    admin("agent", "create", "one")
    exported = admin("audit", "export", "--format", "jsonl")
    lines = exported.out.splitlines()
    assert (exported.code, exported.err) == (0, "")
    assert all(set(json.loads(line)) == {"chain", "position", "hash", "event"} for line in lines)
    (home / "good.jsonl").write_text(exported.out)
    (home / "bad.jsonl").write_text(exported.out.replace('"name":"one"', '"name":"two"'))
    assert admin("audit", "verify", "--file", home / "good.jsonl").code == 0
    assert admin("audit", "verify", "--file", home / "bad.jsonl").code == 8


def test_the_trail_is_verified_by_the_server_and_a_flipped_byte_is_found(admin, home):
    admin("agent", "create", "somebody")
    whole = admin("audit", "verify", "-o", "json")
    assert (whole.code, whole.json()["ok"]) == (0, True)
    for file in (home / "data").glob("*.db*"):
        file.write_bytes(file.read_bytes().replace(b'"name":"somebody"', b'"name":"someb0dy"'))
    touched = admin("audit", "verify", "-o", "json")
    assert touched.code == 8
    assert touched.json()["findings"]


def test_settings_are_shown_with_who_said_so(admin, home, monkeypatch):
    monkeypatch.setenv("WATCHWORD_SERVER__LOG_LEVEL", "debug")
    shown = admin("config", "show", "--origin", "-o", "json").json()
    assert shown["issuer"] == {"value": ISSUER, "origin": f"file {home / 'data' / 'watchword.toml'}"}
    assert shown["log_level"] == {"value": "debug", "origin": "environment WATCHWORD_SERVER__LOG_LEVEL"}
    assert shown["listen"] == {"value": ISSUER.removeprefix("http://"), "origin": "default"}
    assert admin("config", "show", "-o", "json").json()["log_level"] == "debug"
    assert "environment WATCHWORD_SERVER__LOG_LEVEL" in admin("config", "show", "--origin").out


@rule("A16")
def test_settings_are_shown_without_their_secrets(admin, monkeypatch):
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY", "5ec4e7" * 8)
    for form in ("table", "json", "yaml"):
        ran = admin("config", "show", "--origin", "-o", form)
        assert ran.code == 0
        assert "5ec4e7" not in ran.out + ran.err


def test_operators_are_created_listed_and_disabled(admin):
    made = admin("operator", "create", "alice", "--role", "manager", "--expires", "30d", "-o", "json").json()
    assert looks_like_secret(made["operator_token"])
    assert (made["name"], made["role"], made["state"]) == ("alice", "manager", "active")
    listed = admin("operator", "list", "-o", "json")
    assert [(one["name"], one["role"]) for one in listed.json()] == [("admin", "admin"), ("alice", "manager")]
    assert made["operator_token"] not in listed.out + admin("audit", "tail", "-o", "json").out
    assert admin("operator", "create", "alice", "--role", "viewer").code == 6
    assert admin("operator", "create", "bob", "--role", "king").code == 2
    gone = admin("operator", "disable", "alice", "--reason", "left", "-o", "json").json()
    assert (gone["id"], gone["state"]) == (made["id"], "disabled")


@rule("A5")
def test_the_last_admin_stays(admin):
    ran = admin("operator", "disable", "admin")
    assert (ran.code, ran.out) == (6, "")
    assert "last admin" in ran.err
    assert admin("operator", "list", "-o", "json").json()[0]["state"] == "active"


def test_the_nodes_of_a_store_are_listed(admin, home):
    assert admin("node", "list", "-o", "json").json() == []

    async def report():
        store = SqliteStore.open(home / "data/watchword.db")
        await store.report(replace(make_node("n1", name="host-1:8020"), seen_at=system_clock()))
        await store.close()

    asyncio.run(report())
    (node,) = admin("node", "list", "-o", "json").json()
    assert (node["id"], node["name"], node["state"], node["offices"]) == ("n1", "host-1:8020", "present", [])
    assert admin("node", "list", "-o", "name").out == "host-1:8020\n"

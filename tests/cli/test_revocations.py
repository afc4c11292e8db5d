"""The kill switch on the command line."""

from __future__ import annotations

import io

import pytest

CREATE = ("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data", "--owner", "team")


class Terminal(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


def trail(admin) -> list[dict]:
    tail = admin("audit", "tail", "--action", "revocation.create", "-o", "json")
    return tail.json()


def test_what_is_named_is_revoked_and_when_is_told(admin):
    made = admin(*CREATE, "--label", "env=prod", "-o", "json").json()
    (credential,) = admin("credential", "list", "reader", "-o", "name").out.split()
    (kid,) = admin("key", "list", "-o", "name").out.split()
    for words, target in (
        (("agent", made["client_id"]), made["client_id"]),
        (("owner", "team"), "team"),
        (("label", "env=prod"), "env=prod"),
        (("resource", "my-api"), "my-api"),
        (("scope", "my-api", "read:data"), "my-api read:data"),
        (("credential", "reader", credential), credential),
        (("key", kid), kid),
        (("everything",), ""),
    ):
        ran = admin("revoke", *words, "--yes", "--reason", "stolen", "-o", "json")
        assert (ran.code, ran.json()["targets"]) == (0, 1), ran.err
        assert f"It took effect at {ran.json()['effective_at']}." in ran.err
        details = trail(admin)[-1]["details"]
        assert (details["kind"], details.get("target", ""), details["note"]) == (words[0], target, "stolen")


def test_before_is_a_time_ago_and_never_ahead(admin):
    admin(*CREATE)
    ran = admin("revoke", "agent", "reader", "--before", "5m", "--yes", "-o", "json").json()
    assert ran["cutoff"] < ran["effective_at"]
    ahead = admin("revoke", "agent", "reader", "--before", "2099-01-01T00:00:00Z", "--yes")
    assert (ahead.code, "revocation.before" in ahead.err or "past" in ahead.err) == (2, True)


def test_without_a_terminal_nothing_happens_but_with_yes(admin):
    admin(*CREATE)
    ran = admin("revoke", "owner", "team")
    assert ran.code == 2
    assert "to 1 agents (reader)" in ran.err
    assert "add --yes" in ran.err
    assert trail(admin) == []


def test_a_person_is_told_what_is_hit_and_may_say_no(admin, monkeypatch):
    made = admin(*CREATE, "-o", "json").json()
    told = Terminal()
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert admin("revoke", "agent", "reader").code == 1
    assert f"to the agent {made['client_id']}. Revoke? [y/N]" in told.getvalue()
    assert trail(admin) == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert admin("revoke", "agent", "reader").code == 0
    assert len(trail(admin)) == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("agent",), 2, "revoke agent REF"),
        (("scope", "my-api"), 2, "revoke scope RESOURCE SCOPE"),
        (("everything", "else"), 2, "revoke everything"),
        (("label", "prod"), 2, "write key=value"),
        (("planet", "x"), 2, "nothing that can be revoked"),
        (("agent", "nobody"), 6, ""),
        (("owner", "nobody"), 6, "nothing was revoked"),
        (("credential", "reader", "cred_other"), 2, "has no credential cred_other"),
    ],
)
def test_what_means_nothing_is_refused(admin, words, code, told):
    admin(*CREATE)
    ran = admin("revoke", *words, "--yes")
    assert ran.code == code
    assert told in ran.err

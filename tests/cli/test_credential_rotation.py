"""Rotating credentials from the command line: shown, kept, counted down."""

from __future__ import annotations

import tomllib

import pytest

from tests import rule
from watchword.protocol.private_keys import read_private_key


def listed(admin, agent="reader"):
    return admin("credential", "list", agent, "-o", "json").json()


@pytest.fixture
def agent(admin):
    return admin("agent", "create", "reader", "-o", "json").json()


@rule("C10")
def test_a_secret_is_replaced_and_the_old_one_counted_down(admin, agent):
    new = admin(
        "credential", "rotate", "reader", "--overlap", "24h", "--silence", "1h", "--label", "2027", "-o", "json"
    ).json()
    old, other = sorted(listed(admin), key=lambda one: one["id"] == new["id"])
    assert new["client_secret"].startswith("wws_")
    assert new["client_secret"] != agent["client_secret"]
    assert (new["label"], new["replaces"]) == ("2027", old)
    assert (old["id"], old["replaced_by"], old["silence"]) == (agent["credential_id"], new["id"], 3600)
    assert "replaced_by" not in other
    table = admin("credential", "list", "reader").out
    assert f"in 23 h 59 min, then {new['id']}" in table or f"in 1 d, then {new['id']}" in table
    assert "client_secret" not in old


def test_a_person_is_told_when_the_old_one_ends(admin, agent):
    shown = admin("credential", "rotate", "reader", "--overlap", "2h")
    assert f"{agent['credential_id']}, which ends in " in shown.out
    assert "shown this once" in shown.err


def test_of_several_one_must_be_named(admin, agent):
    admin("credential", "add-secret", "reader")
    refused = admin("credential", "rotate", "reader")
    assert (refused.code, agent["credential_id"] in refused.err) == (2, True)
    admin("credential", "rotate", "reader", agent["credential_id"])
    again = admin("credential", "rotate", "reader", agent["credential_id"])
    assert (again.code, "is being replaced by" in again.err) == (6, True)
    assert admin("credential", "rotate", "reader", "cred-x").code == 6


def test_an_agent_without_a_credential_that_goes_on_is_told_so(admin, agent):
    admin("credential", "revoke", "reader", agent["credential_id"], "--yes")
    assert "could be rotated" in admin("credential", "rotate", "reader").err


def profile_of(home, name="mine"):
    return tomllib.loads((home / "xdg/watchword/profiles" / f"{name}.toml").read_text())


def test_a_profile_gets_the_new_secret_and_keeps_what_else_it_says(admin, home):
    admin("resource", "create", "my-api", "--scope", "read:data")
    admin("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data", "--save-profile", "mine")
    before = profile_of(home)
    new = admin("credential", "rotate", "reader", "--save-profile", "mine", "-o", "json").json()
    assert profile_of(home) == {**before, "client_secret": new["client_secret"]}
    assert (home / "xdg/watchword/profiles/mine.toml").stat().st_mode & 0o777 == 0o600


def test_a_new_key_is_made_here_and_kept_in_the_profile(admin, home):
    admin("agent", "create", "signer", "--auth", "private_key_jwt", "--save-profile", "mine")
    before = profile_of(home)
    assert admin("credential", "rotate", "signer").code == 2, "nowhere to keep the key"
    new = admin("credential", "rotate", "signer", "--save-profile", "mine", "-o", "json").json()
    after = profile_of(home)
    assert after == {**before, "private_key": after["private_key"]}
    assert read_private_key(after["private_key"]).kid == new["public_key"]["jwk"]["kid"]
    assert read_private_key(before["private_key"]).kid != new["public_key"]["jwk"]["kid"]


def test_somebody_elses_profile_is_not_written_and_nothing_is_made(admin, home):
    admin("agent", "create", "reader", "-o", "json")
    admin("agent", "create", "writer", "--save-profile", "mine")
    before = profile_of(home)
    refused = admin("credential", "rotate", "reader", "--save-profile", "mine")
    assert (refused.code, "somebody else's" in refused.err) == (6, True)
    assert profile_of(home) == before
    assert len(listed(admin)) == 1

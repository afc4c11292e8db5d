from __future__ import annotations

import stat

import pytest

from tests import rule
from watchword.cli.profiles import OperatorProfile, find_profile, write_profile
from watchword.protocol.client_secret import looks_like_secret

ISSUER = "http://127.0.0.1:18020"


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@rule("A16")
def test_init_makes_a_store_and_gives_the_operators_credential_once(cli, home):
    ran = cli("init", "--data", "d", "--issuer", ISSUER, "-o", "json")
    made = ran.json()
    assert ran.code == 0
    assert made == {
        "data": "d",
        "issuer": ISSUER,
        "operator_token": made["operator_token"],
        "profile": "default",
        "signing_key": {"kid": made["signing_key"]["kid"], "alg": "ES256"},
    }
    assert looks_like_secret(made["operator_token"])
    assert made["operator_token"] not in ran.err
    assert find_profile("default") == OperatorProfile(url=ISSUER, token=made["operator_token"])
    assert _mode(home / "d") == 0o700
    assert _mode(home / "d/master.key") == 0o600


def test_init_has_an_issuer_of_its_own_when_none_is_given(cli):
    assert cli("init", "--data", "d", "-o", "json").json()["issuer"] == "http://127.0.0.1:8020"


@rule("A16")
@pytest.mark.parametrize("form", ["table", "json"])
def test_no_print_keeps_the_credential_in_the_profile_alone(cli, form):
    ran = cli("init", "--data", "d", "--no-print", "-o", form)
    assert ran.code == 0
    assert "wwo_" not in ran.out + ran.err
    assert looks_like_secret(find_profile("default").token)


def test_a_store_that_is_there_is_not_touched(cli, home):
    assert cli("init", "--data", "d").code == 0
    before = {path.name: path.read_bytes() for path in (home / "d").iterdir()}
    ran = cli("init", "--data", "d", "--profile", "other")
    assert (ran.code, ran.out) == (6, "")
    assert {path.name: path.read_bytes() for path in (home / "d").iterdir()} == before
    assert find_profile("other") is None


def test_a_second_server_does_not_take_the_first_ones_profile(cli):
    cli("init", "--data", "one")
    first = find_profile("default")
    ran = cli("init", "--data", "two", "-o", "json")
    assert ran.json()["profile"] == "two"
    assert "--profile two" in ran.err
    assert find_profile("default") == first
    assert cli("init", "--data", "sub/two", "-o", "json").json()["profile"] == "two-2"


def test_a_named_profile_that_is_there_stops_init_before_anything_is_made(cli, home):
    write_profile("mine", OperatorProfile(url=ISSUER, token="t"))
    ran = cli("init", "--data", "d", "--profile", "mine")
    assert ran.code == 6
    assert not (home / "d").exists()
    assert cli("init", "--data", "d", "--profile", "mine-2", "-o", "json").json()["profile"] == "mine-2"


def test_a_profile_that_cannot_be_saved_does_not_lose_the_credential(cli, home):
    (home / "xdg").write_text("not a directory")
    ran = cli("init", "--data", "d", "--no-print", "-o", "json")
    assert ran.code == 0
    assert looks_like_secret(ran.json()["operator_token"])
    assert "profile" not in ran.json()
    assert "was not saved" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("init",), 2),
        (("init", "--data", "d", "--issuer", "http://auth.example.com"), 2),
        (("init", "--data", "d", "--issuer", "nonsense"), 2),
        (("init", "--data", "file"), 6),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(cli, home, arguments, code):
    (home / "file").write_text("x")
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert [path.name for path in home.iterdir()] == ["file"]

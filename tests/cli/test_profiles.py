from __future__ import annotations

import os
import stat

import pytest

from tests import rule
from watchword.cli.exits import CommandError, ExitCode
from watchword.cli.profiles import (
    AgentProfile,
    OperatorProfile,
    check_free,
    find_profile,
    operator_profiles,
    write_private,
    write_profile,
)
from watchword.client.errors import LoginMisconfigured

OPERATOR = OperatorProfile(url="https://auth.example.com", token="wwo_secret")
AGENT = AgentProfile(
    issuer="https://auth.example.com",
    client_id="reader-1",
    auth_method="client_secret_basic",
    client_secret='wws_"quoted\\" \u00e9\U0001f511',
)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@rule("A16")
@pytest.mark.parametrize("profile", [OPERATOR, AGENT], ids=["operator", "agent"])
def test_a_profile_is_read_as_it_was_written_and_by_its_owner_only(home, profile):
    path = write_profile("mine", profile)
    assert find_profile("mine") == profile
    assert (_mode(path), _mode(path.parent)) == (0o600, 0o700)
    assert path == home / "xdg/watchword/profiles/mine.toml"


@rule("A16")
def test_the_mode_does_not_depend_on_the_umask(home):
    before = os.umask(0)
    try:
        path = write_profile("mine", OPERATOR)
    finally:
        os.umask(before)
    assert (_mode(path), _mode(path.parent)) == (0o600, 0o700)


@rule("A16")
def test_a_directory_that_others_can_list_is_closed(home):
    directory = home / "xdg/watchword/profiles"
    directory.mkdir(parents=True, mode=0o755)
    write_profile("mine", OPERATOR)
    assert _mode(directory) == 0o700


@rule("A16")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_profile_that_others_can_read_is_refused(home, mode):
    write_profile("mine", OPERATOR).chmod(mode)
    with pytest.raises(LoginMisconfigured) as caught:
        find_profile("mine")
    assert caught.value.reason == "file.mode"
    assert "wwo_secret" not in str(caught.value)
    assert operator_profiles() == {}


def test_a_profile_is_not_overwritten_unasked(home):
    write_profile("mine", OPERATOR)
    for attempt in (lambda: write_profile("mine", AGENT), lambda: check_free("mine")):
        with pytest.raises(CommandError) as caught:
            attempt()
        assert caught.value.code is ExitCode.MISSING
    assert find_profile("mine") == OPERATOR
    write_profile("mine", AGENT, overwrite=True)
    assert find_profile("mine") == AGENT


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "-a", "a" * 65])
def test_a_name_that_leads_elsewhere_is_refused(home, name):
    with pytest.raises(LoginMisconfigured) as caught:
        write_profile(name, OPERATOR)
    assert caught.value.reason == "profile.name"


def test_no_profile_is_nothing(home):
    assert find_profile("none") is None
    assert operator_profiles() == {}


def test_only_operators_are_among_the_operator_profiles(home):
    write_profile("a", AGENT)
    write_profile("o", OPERATOR)
    assert operator_profiles() == {"o": OPERATOR}


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        write_private(path, "new", overwrite=False)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("f", "old")]


def test_the_secret_shows_in_no_repr():
    assert "wwo_secret" not in repr(OPERATOR)
    assert "wws_" not in repr(AGENT)


def test_what_a_killed_process_left_is_in_nobodys_way(home):
    path = home / "secret"
    (home / f".secret.{os.getpid()}").write_text("half of it")
    write_private(path, "all of it", overwrite=False)
    assert path.read_text() == "all of it"

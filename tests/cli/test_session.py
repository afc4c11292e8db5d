from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import rule
from watchword.cli.exits import CommandError, ExitCode
from watchword.cli.profiles import AgentProfile, OperatorProfile, write_profile
from watchword.cli.session import Choices, Target, choose_target, operator_token, secret_from

URL = "https://auth.example.com"
AGENT = AgentProfile(issuer=URL, client_id="a", auth_method="client_secret_basic", client_secret="wws_s")


def _operator(name: str, url: str = URL) -> None:
    write_profile(name, OperatorProfile(url=url, token=f"wwo_{name}"))


def test_a_server_is_looked_for_in_this_order(home):
    _operator("default", "https://default.example")
    assert choose_target(Choices(), {}) == Target("profile default", url="https://default.example")
    (home / "watchword-dev").mkdir()
    assert choose_target(Choices(), {}) == Target("./watchword-dev", data=Path("watchword-dev"))
    _operator("named", "https://named.example")
    environ = {"WATCHWORD_PROFILE": "named"}
    assert choose_target(Choices(), environ) == Target("WATCHWORD_PROFILE", url="https://named.example")
    environ["WATCHWORD_DATA"] = "/srv"
    assert choose_target(Choices(), environ) == Target("WATCHWORD_DATA", data=Path("/srv"))
    _operator("flag", "https://flag.example")
    assert choose_target(Choices(profile="flag"), environ) == Target("--profile", url="https://flag.example")
    assert choose_target(Choices(profile="flag", url=URL), environ) == Target("--url", url=URL)
    assert choose_target(Choices(data=Path("d")), environ) == Target("--data", data=Path("d"))


def test_with_no_server_the_error_lists_what_was_looked_for(home):
    with pytest.raises(CommandError) as caught:
        choose_target(Choices(), {})
    assert caught.value.code is ExitCode.USAGE
    for name in ("--url", "--data", "WATCHWORD_URL", "WATCHWORD_DATA", "WATCHWORD_PROFILE", "watchword-dev", "default"):
        assert name in caught.value.sentence


@pytest.mark.parametrize(
    ("choices", "environ"),
    [
        (Choices(url=URL, data=Path("d")), {}),
        (Choices(), {"WATCHWORD_URL": URL, "WATCHWORD_DATA": "d"}),
        (Choices(url="ftp://x"), {}),
        (Choices(url="auth.example.com"), {}),
    ],
)
def test_a_server_that_is_not_clearly_named_is_refused(home, choices, environ):
    with pytest.raises(CommandError) as caught:
        choose_target(choices, environ)
    assert caught.value.code is ExitCode.USAGE


@rule("A16")
def test_an_operators_credential_does_not_travel_over_plain_http(home):
    with pytest.raises(CommandError) as caught:
        choose_target(Choices(url="http://auth.example.com"), {})
    assert caught.value.code is ExitCode.USAGE
    assert choose_target(Choices(url="http://127.0.0.1:8020"), {}).url == "http://127.0.0.1:8020"


def test_an_agents_profile_names_no_server_to_administer(home):
    write_profile("agent", AGENT)
    with pytest.raises(CommandError) as caught:
        choose_target(Choices(profile="agent"), {})
    assert caught.value.code is ExitCode.MISSING
    with pytest.raises(CommandError):
        choose_target(Choices(), {"WATCHWORD_PROFILE": "agent"})


def test_another_users_dev_directory_is_not_used(home, monkeypatch):
    (home / "watchword-dev").mkdir()
    if os.geteuid() == 0:
        os.chown(home / "watchword-dev", 54321, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 54321)
    with pytest.raises(CommandError):
        choose_target(Choices(), {})


def test_the_credential_is_the_environments_else_that_of_the_profile_for_this_very_url(home):
    _operator("default", "https://other.example")
    _operator("mine")
    assert operator_token(URL, None, {}) == "wwo_mine"
    assert operator_token(URL, "default", {}) == "wwo_mine"
    assert operator_token(URL, None, {"WATCHWORD_OPERATOR_TOKEN": "wwo_env"}) == "wwo_env"
    with pytest.raises(CommandError) as caught:
        operator_token("https://third.example", None, {})
    assert caught.value.code is ExitCode.UNAUTHENTICATED


def test_a_secret_may_stand_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("wwo_x\n")
    assert secret_from({"V_FILE": str(file)}, "V") == "wwo_x"
    assert secret_from({}, "V") == ""
    for environ in ({"V": "a", "V_FILE": str(file)}, {"V_FILE": str(tmp_path / "none")}):
        with pytest.raises(CommandError) as caught:
            secret_from(environ, "V")
        assert caught.value.code is ExitCode.USAGE

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
        (Choices(url="http://[::1"), {}),
        (Choices(url="http://127.0.0.1:99999"), {}),
        (Choices(url="http://127.0.0.1:abc"), {}),
        (Choices(url="https://"), {}),
        (Choices(url="https://auth example.com"), {}),
        (Choices(url="https://auth.example.com\n"), {}),
        (Choices(url="https://me:secret@auth.example.com"), {}),
        (Choices(url="https://auth.example.com?x=1"), {}),
        (Choices(), {"WATCHWORD_URL": "http://[::1"}),
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
    for url in (
        "http://127.0.0.1:8020",
        "http://localhost:8020",
        "http://[::1]:8020/",
        "https://auth.example.com/main/",
    ):
        assert choose_target(Choices(url=url), {}).url == url


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


@rule("A16", "C13", "TRAP-24")
@pytest.mark.parametrize("secret", ["wwo_a\nb", "wwo_\xe9", "wwo_\udce9", "wwo_a b", "wwo_a\0b"])
def test_a_credential_that_fits_no_header_is_refused_and_not_shown(home, secret):
    with pytest.raises(CommandError) as caught:
        operator_token(URL, None, {"WATCHWORD_OPERATOR_TOKEN": secret})
    assert caught.value.code is ExitCode.UNAUTHENTICATED
    assert secret not in str(caught.value)
    assert repr(secret)[1:-1] not in str(caught.value)


def test_a_credential_of_a_profile_that_fits_no_header_is_refused(home):
    write_profile("default", OperatorProfile(url=URL, token="wwo_a\nb"))
    with pytest.raises(CommandError) as caught:
        operator_token(URL, None, {})
    assert "wwo_a" not in str(caught.value)


def test_a_secret_may_stand_in_a_file_that_others_cannot_read(tmp_path):
    file = tmp_path / "token"
    file.write_text("wwo_x\n")
    file.chmod(0o440)
    assert secret_from({"V_FILE": str(file)}, "V") == "wwo_x"
    assert secret_from({"V": "wwo_x\n"}, "V") == "wwo_x"
    assert secret_from({}, "V") == ""
    open_to_all = tmp_path / "open"
    open_to_all.write_text("wwo_x\n")
    open_to_all.chmod(0o644)
    refused = ({"V": "a", "V_FILE": str(file)}, {"V_FILE": str(tmp_path / "none")}, {"V_FILE": str(open_to_all)})
    for environ in refused:
        with pytest.raises(CommandError) as caught:
            secret_from(environ, "V")
        assert caught.value.code is ExitCode.USAGE

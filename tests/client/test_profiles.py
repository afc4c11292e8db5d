from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import rule
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import MAX_SIZE, OTHERS, read_private_file
from watchword.client.profiles import AgentProfile, OperatorProfile, profile_directory, read_profile

AGENT = """kind = "agent"
issuer = "https://login.example.com"
client_id = "reader-k7q2m9xw"
auth_method = "client_secret_basic"
client_secret = "hush"
resource = "my-api"
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    profile_directory(environ := {"XDG_CONFIG_HOME": str(tmp_path)}).mkdir(parents=True)
    return environ


def write(environ: dict[str, str], name: str, text: str, mode: int = 0o600) -> Path:
    path = profile_directory(environ) / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refusal(environ: dict[str, str], name: str = "reader") -> LoginMisconfigured:
    with pytest.raises(LoginMisconfigured) as refused:
        read_profile(name, environ)
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None
    return refused.value


def test_an_agents_profile_is_read(home: dict[str, str]) -> None:
    write(home, "reader", AGENT)
    assert read_profile("reader", home) == AgentProfile(
        issuer="https://login.example.com",
        client_id="reader-k7q2m9xw",
        auth_method="client_secret_basic",
        client_secret="hush",
        resource="my-api",
    )


def test_an_operators_profile_is_read(home: dict[str, str]) -> None:
    write(home, "default", 'kind = "operator"\nurl = "https://login.example.com"\ntoken = "wwo_x"\n')
    assert read_profile("default", home) == OperatorProfile(url="https://login.example.com", token="wwo_x")


@rule("Q6")
def test_secrets_are_not_in_the_repr(home: dict[str, str]) -> None:
    write(home, "reader", AGENT)
    assert "hush" not in repr(read_profile("reader", home))
    assert "wwo_x" not in repr(OperatorProfile(url="u", token="wwo_x"))


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"XDG_CONFIG_HOME": "/etc/agent", "HOME": "/home/a"}, "/etc/agent/watchword/profiles"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/home/a"}, "/home/a/.config/watchword/profiles"),
        ({"XDG_CONFIG_HOME": "", "HOME": "/home/a"}, "/home/a/.config/watchword/profiles"),
    ],
)
def test_profiles_live_where_the_xdg_specification_says(environ: dict[str, str], directory: str) -> None:
    assert profile_directory(environ) == Path(directory)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o777, 0o610])
def test_a_profile_open_to_others_is_refused(home: dict[str, str], mode: int) -> None:
    path = write(home, "reader", AGENT, mode)
    error = refusal(home)
    assert error.reason == "file.mode"
    assert f"chmod 600 {path}" in str(error)


@pytest.mark.parametrize("name", ["../reader", "/etc/passwd", "a/b", ".hidden", "", "a\x00b", "x" * 65])
def test_a_name_does_not_lead_out_of_the_directory(home: dict[str, str], name: str) -> None:
    assert refusal(home, name).reason == "profile.name"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "file.form"),
        ("issuer = hush", "profile.form"),
        ('issuer = "hush\n', "profile.form"),
        (AGENT.replace('"agent"', '"admin"'), "profile.form"),
        (AGENT.replace('kind = "agent"\n', ""), "profile.form"),
        (AGENT.replace('kind = "agent"', "kind = 1"), "profile.form"),
        (AGENT.replace('issuer = "https://login.example.com"\n', ""), "profile.form"),
        (AGENT.replace('"my-api"', '["my-api"]'), "profile.form"),
        (AGENT.replace("resource", "resuorce"), "profile.unknown"),
        (AGENT + 'token = "hush"\n', "profile.unknown"),
    ],
)
def test_what_is_not_a_profile_is_refused_without_showing_it(home: dict[str, str], text: str, reason: str) -> None:
    write(home, "reader", text)
    assert refusal(home).reason == reason


def test_a_misspelt_member_is_named_with_what_was_meant(home: dict[str, str]) -> None:
    write(home, "reader", AGENT.replace("client_secret", "client_secert"))
    assert "did you mean client_secret?" in str(refusal(home))


def test_a_profile_that_is_not_there_is_missing(home: dict[str, str]) -> None:
    assert refusal(home).reason == "file.missing"


def test_a_group_may_read_a_mounted_secret_but_others_and_writers_may_not(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\n")
    path.chmod(0o440)
    assert read_private_file(path, forbidden=OTHERS) == "hush\n"
    for mode in (0o444, 0o460, 0o441):
        path.chmod(mode)
        with pytest.raises(LoginMisconfigured, match=r"file\.mode"):
            read_private_file(path, forbidden=OTHERS)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * (MAX_SIZE + 1)])
def test_a_file_that_can_hold_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LoginMisconfigured, match=r"file\.form"):
        read_private_file(path)


def test_a_pipe_or_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path):
        with pytest.raises(LoginMisconfigured, match=r"file\.(form|unreadable)"):
            read_private_file(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hush")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    with pytest.raises(LoginMisconfigured, match=r"file\.owner"):
        read_private_file(path)

"""The main job, by the real command in processes of its own, against a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import rule
from tests.cli.conftest import Cli, Ran
from watchword.cli.profiles import OperatorProfile, write_profile
from watchword.testing.process import free_port
from watchword.upkeep.issuer import move_store

_START_SECONDS = 30


@contextmanager
def _running(folder: Path, *arguments: str, until: str = "ready") -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start the command; give it once its output holds ``until``."""
    log = folder / "server.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "watchword", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=folder)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while until not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield process, log
        finally:
            process.kill()
            process.wait()


@contextmanager
def _serving(home: Path) -> Iterator[None]:
    with _running(home, "serve", "--data", "d", "--management", "127.0.0.1:0"):
        yield


@pytest.fixture
def server(home, pristine) -> Iterator[str]:
    """A running server on a store in ./d, with the resource my-api; its operator's profile is the default one."""
    issuer = f"http://127.0.0.1:{free_port()}"
    shutil.copytree(pristine, home / "d")
    asyncio.run(move_store(home / "d", issuer))
    made = tomllib.loads((pristine.parent / "xdg/watchword/profiles/default.toml").read_text())
    write_profile("default", OperatorProfile(url=issuer, token=made["token"]))
    with _serving(home):
        yield issuer


@rule("A16", "DR-16")
def test_from_nothing_to_a_token_and_to_why_there_is_none(home, process: Cli, cli: Cli, monkeypatch):
    issuer = f"http://127.0.0.1:{free_port()}"
    made = process("init", "--data", "d", "--issuer", issuer, "--no-print")
    assert made.code == 0, made.err
    with _serving(home):
        _live_through(issuer, process, cli, monkeypatch)


def _live_through(server: str, process: Cli, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert process("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data").code == 0
    created = process(
        "agent", "create", "reader", "--resource", "my-api", "--scope", "read:data", "--save-profile", "r", "-o", "json"
    )  # fmt: skip
    agent = created.json()
    secret = agent["client_secret"]
    assert agent["token_endpoint"] == f"{server}/oauth/token"

    _tokens_compose(process("token", "r"), process)
    _a_token_is_explained(cli, process)
    _refusals_have_their_codes(cli, agent, monkeypatch)

    assert cli("agent", "suspend", "reader").code == 0
    stopped = cli("token", "r")
    assert (stopped.code, stopped.out) == (4, "")
    said = [stopped.err, created.err]
    request_id = stopped.err.rpartition("[trace id ")[2].rstrip("]\n")
    explained = cli("token", "explain", request_id, "-o", "json")
    assert explained.code == 8
    assert explained.json()[0]["client_id"] == agent["client_id"]
    assert not any(secret in text for text in said)


def _tokens_compose(raw: Ran, process: Cli) -> None:
    assert (raw.code, raw.err) == (0, "")
    assert raw.out.count("\n") == 1
    assert raw.out.strip().count(".") == 2
    inspected = process("token", "inspect", "-", "-o", "json", stdin=raw.out)
    assert inspected.json()["claims"]["scope"] == "read:data"
    assert process("token", "get", "r", "-o", "header").out.startswith("Authorization: Bearer ey")
    answer = process("token", "get", "r", "--resource", "my-api", "-o", "json").json()
    assert (answer["token_type"], answer["aud"], answer["scope"]) == ("Bearer", "my-api", "read:data")
    assert 590 < answer["expires_in"] <= 600
    assert process("token", "explain", "-", stdin=raw.out).code == 0


def _a_token_is_explained(cli: Cli, process: Cli) -> None:
    token = cli("token", "r").out.strip()
    assert [check["result"] for check in cli("token", "explain", token, "-o", "json").json()["checks"]] == ["pass"] * 7
    refused = cli("token", "explain", token, "--audience", "billing", "--scope", "write:data", "-o", "json")
    assert refused.code == 8
    assert [check["check"] for check in refused.json()["checks"] if check["result"] == "fail"] == ["audience", "scope"]
    jti = cli("token", "inspect", token, "-o", "json").json()["claims"]["jti"]
    issued = cli("token", "explain", jti, "-o", "json")
    assert (issued.code, issued.json()[0]["action"]) == (0, "token.issue")
    changed = cli("token", "explain", token[:-6] + ("A" * 5) + token[-1], "-o", "json")
    assert changed.code == 8


def _refusals_have_their_codes(cli: Cli, agent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, code in (
        (("token", "r", "--scope", "write:data"), 5),
        (("token", "r", "--resource", "billing"), 5),
        (("token", "none"), 6),
    ):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (code, "")
        assert ran.err.startswith("watchword: ")
    with monkeypatch.context() as patch:
        patch.setenv("WATCHWORD_ISSUER", agent["issuer"])
        patch.setenv("WATCHWORD_CLIENT_ID", agent["client_id"])
        patch.setenv("WATCHWORD_CLIENT_SECRET", "wws_wrong-but-secret")
        ran = cli("token")
        assert (ran.code, ran.out) == (4, "")
        assert "wws_wrong-but-secret" not in ran.err


def test_the_same_server_is_administered_over_http_and_on_its_store(server, cli: Cli, home, monkeypatch):
    assert cli("--url", server, "resource", "create", "api", "--scope", "x").code == 0
    assert cli("--data", home / "d", "resource", "list", "-o", "name").out == "api\nmy-api\n"
    actors = {event["actor"].partition(":")[0] for event in cli("audit", "tail", "-o", "json").json()}
    assert actors == {"operator", "local"}

    write_profile("other", OperatorProfile(url=server, token="wwo_" + "0" * 49))
    assert cli("--profile", "other", "resource", "list").code == 4
    monkeypatch.setenv("WATCHWORD_OPERATOR_TOKEN", "wwo_" + "0" * 49)
    ran = cli("resource", "list")
    assert (ran.code, ran.out) == (4, "")
    assert "wwo_" + "0" * 49 not in ran.err


def test_the_trail_is_followed_while_it_grows(server, cli: Cli, home):
    with subprocess.Popen(
        [sys.executable, "-m", "watchword", "audit", "tail", "-n", "1", "-f", "-o", "json"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as follower:
        assert json.loads(follower.stdout.readline())
        cli("resource", "create", "api", "--scope", "x")
        assert json.loads(follower.stdout.readline())["action"] == "resource.create"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=20) == 130


def test_a_reader_of_the_pipe_may_leave(server, home):
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING_READER], capture_output=True, text=True, cwd=home, timeout=60
    )  # fmt: skip
    assert done.stdout.strip() == "1"
    assert "Traceback" not in done.stderr


_LEAVING_READER = """
import subprocess, sys
export = subprocess.Popen([sys.executable, "-m", "watchword", "audit", "export"], stdout=subprocess.PIPE)
export.stdout.close()
print(export.wait())
"""


def test_a_server_that_has_gone_is_unreachable(cli: Cli, process: Cli):
    assert process("init", "--data", "d", "--issuer", f"http://127.0.0.1:{free_port()}").code == 0
    ran = cli("resource", "list")
    assert (ran.code, ran.out) == (7, "")


@rule("A16")
def test_dev_is_one_command_and_its_lines_work_as_they_are(home, process: Cli):
    with _running(home, "dev", "--listen", "127.0.0.1:0") as (running, log):
        lines = [line.strip() for line in log.read_text().splitlines()]
        assert stat.S_IMODE((home / "watchword-dev/demo.curl").stat().st_mode) == 0o600
        assert "wws_" not in log.read_text()
        assert "wwo_" not in log.read_text()
        if shutil.which("curl"):
            [line] = [line for line in lines if "demo.curl" in line]
            answer = json.loads(subprocess.check_output(line, shell=True, cwd=home))
            assert (answer["token_type"], answer["scope"]) == ("Bearer", "read:data")
        for start in ("watchword agent create", "watchword token reader", "watchword audit tail"):
            [line] = [line for line in lines if line.startswith(start)]
            ran = process(*line.split()[1:])
            assert ran.code == 0, ran.err
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0


def test_dev_keeps_its_store_and_moves_with_its_address(home, process: Cli):
    first = [path.name for path in home.iterdir()]
    issuers = []
    for _ in range(2):
        with _running(home, "dev", "--listen", "127.0.0.1:0", "-o", "json", until="}\n") as (_, log):
            issuers.append(json.loads(log.read_text())["issuer"])
            assert process("token", "--help").code == 0
            (home / "watchword-dev/demo.curl").unlink()
        shown = process("config", "show", "--data", "watchword-dev", "-o", "json").json()
        assert shown["issuer"] == issuers[-1]
    assert first == []
    credentials = process("credential", "list", "demo", "-o", "json").json()
    assert len(credentials) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("dev", "--listen", "0.0.0.0:0"),
        ("dev", "--listen", "8020"),
        ("serve", "--data", "d", "--listen", "0.0.0.0:0"),
        ("serve", "--data", "d", "--workers", "0"),
        ("serve", "--data", "d", "--tls-cert", "cert.pem"),
        ("serve",),
    ],
    ids=" ".join,
)
def test_what_would_not_be_safe_or_cannot_be_done_is_not_served(home, cli: Cli, arguments):
    cli("init", "--data", "d")
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("watchword: ")
    assert not (home / "watchword-dev").exists()


@pytest.mark.parametrize(
    "command", [["version"], ["token"], ["token", "inspect", "x"], ["agent", "--help"]], ids=" ".join
)
def test_a_command_loads_no_server_code_it_does_not_need(home, command):
    code = (
        "import sys; from watchword.cli.app import run; run(sys.argv[1:]);"
        "print([name for name in sys.modules if name.split('.')[0] in {'fastapi', 'uvicorn', 'apsw', 'starlette'}])"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_the_extra_the_command_says_how_to_get_it(home):
    code = (
        "import sys, importlib.util as util; find = util.find_spec;"
        "util.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest);"
        "from watchword.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "watchword[server]"' in done.stderr


def test_the_package_is_a_command(process: Cli):
    assert process("version", "-o", "json").json()["version"]

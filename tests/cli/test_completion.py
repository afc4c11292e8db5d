"""The scripts, loaded into the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from watchword.cli.profiles import OperatorProfile, write_profile

GROUPS = {
    "agent",
    "audit",
    "config",
    "credential",
    "curl",
    "federation",
    "key",
    "node",
    "operator",
    "permission",
    "resource",
    "revoke",
    "store",
    "token",
}
ALONE = {"backup", "completion", "curl", "dev", "doctor", "init", "migrate", "restore", "serve", "version"}

CASES = [
    ("", GROUPS | ALONE),
    ("ag", {"agent"}),
    ("agent ", {"create", "delete", "list", "resume", "show", "suspend", "update"}),
    ("agent s", {"show", "suspend"}),
    ("--data x agent cr", {"create"}),
    ("agent --profile p cr", {"create"}),
    ("agent create reader --def", {"--default-resource", "--default-scope"}),
    ("agent list --state ", {"active", "deleted", "suspended"}),
    ("operator create a --role a", {"admin", "auditor"}),
    ("-o j", {"json"}),
    ("completion ", {"bash", "fish", "zsh"}),
    ("audit tail --outcome d", {"denied"}),
    ("--profile m", {"mine"}),
    ("agent show x", set()),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    from watchword.cli.completion import SHELLS

    folder = tmp_path_factory.mktemp("scripts")
    from typer.main import get_command

    from watchword.cli import completion
    from watchword.cli.app import build_app

    nodes = completion.read_tree(get_command(build_app().app))
    for shell in SHELLS:
        (folder / shell).write_text(getattr(completion, f"{shell}_script")(nodes))
    return folder


def answers(command: list[str], text: str, folder) -> set[str]:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return {line.split("\t")[0].strip() for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(cli, scripts, shell):
    ran = cli("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip() == (scripts / shell).read_text().strip()


def test_another_shell_is_refused(cli):
    assert cli("completion", "tcsh").code == 2


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_bash_offers_what_may_follow(home, scripts, typed, offered):
    write_profile("mine", OperatorProfile(url="http://127.0.0.1:1", token="t"))
    words = ["watchword", *typed.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    text = f"""
source {scripts}/bash
compopt() {{ :; }}
COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
_watchword
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert answers(["bash", "--norc", "-eu"], text, home) == offered


def test_a_tab_in_bash_completes(home, scripts):
    """The one thing that only a terminal shows: that the function is bound, and its answer typed."""
    controller, terminal = pty.openpty()
    env = {**os.environ, "PS1": "> ", "TERM": "dumb", "INPUTRC": "/dev/null"}
    with subprocess.Popen(
        ["bash", "--norc", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, env=env, cwd=home, close_fds=True
    ) as shell:
        os.close(terminal)
        (home / "a-backup").touch()
        os.write(controller, f"source {scripts}/bash\n".encode())
        os.write(controller, b"watchword permi\tgr\t--reso\tmy-api\x01echo \n")
        os.write(controller, b"watchword restore a-b\t\x01echo \n")
        shown = _read_until(controller, rb"\r\nwatchword restore a-backup")
        os.write(controller, b"exit\n")
        shell.wait(30)
    os.close(controller)
    assert b"watchword permission grant --resource my-api\r\n" in shown


def _read_until(descriptor: int, pattern: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 30
    while not re.search(pattern, shown):
        assert time.monotonic() < deadline, shown
        if select.select([descriptor], [], [], 0.1)[0]:
            shown += os.read(descriptor, 65536)
    return shown


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_zsh_offers_what_may_follow(home, scripts, typed, offered):
    write_profile("mine", OperatorProfile(url="http://127.0.0.1:1", token="t"))
    words = ["watchword", *typed.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    text = f"""
compdef() {{ : }}
compadd() {{
  [[ $1 == -a ]] && {{ print -l -- ${{(P)2}}; return }}
  shift
  print -l -- "$@"
}}
source {scripts}/zsh
words=({quoted}) CURRENT={len(words)}
_watchword
true
"""
    told = answers(["zsh", "-f"], text, home)
    assert {one for one in told if one.startswith(words[-1])} == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("typed", "offered"), [case for case in CASES if case[0] not in ("", "agent create reader --def")]
)
def test_fish_offers_what_may_follow(home, scripts, typed, offered):
    write_profile("mine", OperatorProfile(url="http://127.0.0.1:1", token="t"))
    text = f"source {scripts}/fish; complete -C 'watchword {typed}'"
    told = answers(["fish", "--no-config"], text, home)
    assert {one for one in told if not one.startswith("-")} == offered

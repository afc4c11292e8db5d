"""A user with an empty home, and two ways to run the command line: in this process, and as the user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import watchword
from watchword.cli.app import run


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def json(self):
        """Return what stdout holds; all of it must be one JSON document."""
        return json.loads(self.out)


ISSUER = "http://127.0.0.1:18020"

Cli = Callable[..., Ran]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    for name in list(os.environ):
        if name.startswith("WATCHWORD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PYTHONPATH", str(Path(watchword.__file__).parent.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(home, capsys) -> Cli:
    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(int(code), captured.out, captured.err)

    return call


@pytest.fixture
def process(home) -> Cli:
    """The real command, in a process of its own."""

    def call(*arguments: object, stdin: str = "", **environ: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "watchword", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environ},
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A data directory as `init` makes it, with the resource my-api. Never written to again: copy it."""
    folder = tmp_path_factory.mktemp("pristine")
    env = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    env |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}
    env["PYTHONPATH"] = str(Path(watchword.__file__).parent.parent)
    for command in (
        ["init", "--data", "data", "--issuer", ISSUER],
        ["--data", "data", "resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data"],
    ):
        done = subprocess.run([sys.executable, "-m", "watchword", *command], cwd=folder, env=env, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    return folder / "data"


@pytest.fixture
def admin(cli, home, pristine) -> Cli:
    """The command line on a store of its own, in this process."""
    data = home / "data"
    shutil.copytree(pristine, data)

    def call(*arguments: object) -> Ran:
        return cli("--data", data, *arguments)

    return call

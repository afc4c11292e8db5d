"""The master key is replaced under running servers, and whoever does it is killed in between."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import rule
from tests.processes import environment
from watchword.adapters.keys_file import FileSigner
from watchword.config import load_settings
from watchword.errors import NoSigningKey
from watchword.ports.keys import SigningKey
from watchword.protocol.jose import parse_compact
from watchword.sealing import find_master_key
from watchword.stores import open_store
from watchword.testing.process import AgentSecret, ServerProcess

KILLED = """
import os, signal, sys
from watchword.upkeep import rewrapping
from watchword.cli.app import run

there = rewrapping.rewrap_signing_keys

async def killed(context, command):
    if {is_done}:
        await there(context, command)
    os.kill(os.getpid(), signal.SIGKILL)

rewrapping.rewrap_signing_keys = killed
run(sys.argv[1:])
"""


def is_well(server: ServerProcess, agent: AgentSecret, kid: str) -> bool:
    """Tokens are given by every worker, signed with this key, and operators are let in."""
    for _ in range(8):
        status, answer = server.token(agent)
        assert status == 200, answer
        assert parse_compact(answer["access_token"], typ="at+jwt").header["kid"] == kid
    return server.admin("GET", "/agents")[0] == 200 and server.management("/readyz")[0] == 200


def opened_by_old(server: ServerProcess) -> list[bool]:
    """Tell of each stored key if the master key in the data directory, alone, opens it."""
    settings = load_settings({"data": server.data}).settings

    async def read() -> list[SigningKey]:
        store = await open_store(settings)
        try:
            return list(await store.signing_keys())
        finally:
            await store.close()

    def opens(key: SigningKey) -> bool:
        try:
            FileSigner(find_master_key(settings)).rewrap(key)
        except NoSigningKey as error:
            return error.reason != "keys.sealed"
        return True

    return [opens(key) for key in asyncio.run(read())]


def rewrap_and_be_killed(server: ServerProcess, new: Path, *, is_done: bool) -> None:
    command = ["key", "rewrap", "--data", str(server.data), "--new-master-key-file", str(new)]
    program = [sys.executable, "-c", KILLED.format(is_done=is_done), *command]
    done = subprocess.run(program, env=environment(server.folder), cwd=server.folder, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@rule("K9")
@pytest.mark.places("sqlite", "postgres", why="a cache knows no keys")
def test_everything_works_before_during_and_after_though_it_is_killed(tmp_path: Path, place: str) -> None:
    new = tmp_path / "new.key"
    (tmp_path / "second").mkdir()
    with ServerProcess(tmp_path, options=["--workers", "2"]) as old:
        agent = old.create_agent("reader")
        kid = str(parse_compact(old.token(agent)[1]["access_token"], typ="at+jwt").header["kid"])
        assert opened_by_old(old) == [True]
        rewrap_and_be_killed(old, new, is_done=False)
        assert (new.exists(), opened_by_old(old), is_well(old, agent, kid)) == (True, [True], True)
        rewrap_and_be_killed(old, new, is_done=True)
        assert (opened_by_old(old), is_well(old, agent, kid)) == ([False], True)
        old.command("key", "rewrap", "--data", str(old.data), "--new-master-key-file", str(new))
        variables = {"WATCHWORD_SERVER__MASTER_KEY_FILE": str(new)}
        with ServerProcess(tmp_path / "second", beside=old, environment=variables) as second:
            assert is_well(second, agent, kid)
            assert is_well(old, agent, kid)
            assert is_well(second, old.create_agent("made-at-the-old"), kid)
            assert is_well(old, second.create_agent("made-at-the-new"), kid)
            assert second.admin("POST", "/keys", {})[0] == 201
            assert opened_by_old(old) == [False, False], "nor anything new"
            old.stop()
            serve = [sys.executable, "-m", "watchword", "serve", "--data", str(old.data), "--listen", "127.0.0.1:0"]
            said = subprocess.run(
                serve, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
            )
            assert said.returncode == 1
            assert "this is not the master key that the store" in said.stderr
            assert "start with the file of the last `watchword key rewrap`" in said.stderr
            assert is_well(second, agent, kid)

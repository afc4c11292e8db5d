"""What a test has started ends with it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import require_postgres
from watchword.testing.child import Child

SECONDS = 30
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STARTER = """
import os, signal
from watchword.testing.postgres import PostgresServer
server = PostgresServer(fsync="off")
server.start()
print(server.pid, server._folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def until(is_so) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child("a sleeper", tmp_path / "log")


def start(child: Child, folder: Path) -> int:
    child.start(SLEEPER, is_ready=lambda: b"up" in (folder / "log").read_bytes(), cwd=folder)
    return child.pid


def test_a_killed_test_leaves_no_database_behind() -> None:
    require_postgres()
    done = subprocess.run([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, folder = done.stdout.split()
    until(lambda: is_gone(int(pid)))
    until(lambda: not Path(folder).exists())


def test_what_is_stopped_is_gone_and_can_be_started_again(child: Child, tmp_path: Path) -> None:
    for end in (child.stop, child.kill):
        pid = start(child, tmp_path)
        assert child.is_running
        end()
        assert not child.is_running
        assert is_gone(pid)
        end()


def test_nobody_watches_over_what_has_ended(child: Child, tmp_path: Path) -> None:
    start(child, tmp_path)
    guard = child._guard
    assert guard is not None
    child.stop()
    assert guard.returncode == 0


def test_what_does_not_start_is_said_with_its_last_words(child: Child, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a sleeper did not start: no such luck"):
        child.start(["/bin/sh", "-c", "echo no such luck"], is_ready=lambda: False, cwd=tmp_path)
    child.stop()
    with pytest.raises(AssertionError, match="not running"):
        os.getpgid(child.pid)

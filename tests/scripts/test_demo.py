"""The demo is the promise of the first page: it must come out right, and leave nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "scripts" / "demo.py")]
SECONDS = 150


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def processes_below(folder: Path) -> list[str]:
    """Return the command lines of processes that work in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_the_demo_tells_the_whole_story_and_cleans_up(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^ ?(\d+)  ", done.stdout, re.MULTILINE) == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "10",
        "11",
    ]
    assert not re.search(r"eyJ[\w-]{20}|ww[sko]_\w{20}", done.stdout), "a token or secret was shown"
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not (line := process.stdout.readline()).startswith(" 2"):
            assert line, process.stderr.read()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, complaint
    assert "interrupted in step" in complaint
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []

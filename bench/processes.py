"""Child processes: pinned to a core, watched from outside, stopped for certain. Linux only: what is read is /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1

_IDLE = 0.01  # CPU seconds in a tenth of a second
_PAGE = os.sysconf("SC_PAGE_SIZE")


def pinned(core: int | str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ``argv`` on one core, or on several: ``"0,1"``."""
    return ["taskset", "-c", str(core), *argv]


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """A server process, with all that it starts itself."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, cores: int | str = SERVER_CORE
    ) -> None:
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                pinned(cores, argv),
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._log = log

    def wait_for(self, port: int, *, seconds: float = 30) -> None:
        """Return when it accepts connections on ``port`` of the loopback interface."""
        until = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None or time.monotonic() > until:
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-500:]
                raise RuntimeError(f"{self._process.args!r} does not listen: {tail}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return
            time.sleep(0.005)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process and its children, as the scheduler counts it: to the nanosecond, not by ticks."""
        return sum(map(_run_time, self._tree())) / 1e9

    def rss(self) -> float:
        """Return the resident memory of the process and its children, in MiB."""
        return sum(map(_resident, self._tree())) / 2**20

    def worker_rss(self) -> float:
        """Return the resident memory of its largest process, in MiB: the one worker, where a supervisor stands beside it."""
        return max(map(_resident, self._tree())) / 2**20

    def pss(self) -> float:
        """Return the memory of the process and its children, in MiB, with what they share counted once."""
        return sum(map(_proportional, self._tree())) / 2**20

    def settle(self, *, seconds: float = 20) -> None:
        """Return when what was queued in it has been worked off: its CPU time stands still."""
        until = time.monotonic() + seconds
        before = -1.0
        while (now := self.cpu_seconds()) - before > _IDLE and time.monotonic() < until:
            before = now
            time.sleep(0.1)

    def stop(self) -> None:
        """End it and everything it started."""
        for name in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
                return

    def _tree(self) -> Iterator[int]:
        waiting = [self._process.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    waiting += map(int, task.read_text().split())


def _run_time(pid: int) -> int:
    """Return the nanoseconds that the threads of a process have run."""
    return sum(int(text.split()[0]) for text in map(_read, Path(f"/proc/{pid}/task").glob("*/schedstat")) if text)


def _resident(pid: int) -> int:
    return int((_read(Path(f"/proc/{pid}/statm")) or "0 0").split()[1]) * _PAGE


def _proportional(pid: int) -> int:
    """Return the bytes of a process, each page divided by the number of processes that have it."""
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    """Return what stands in a file of /proc; nothing when the process has gone."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""

"""A program in a process of its own, which does not outlive whoever has started it: not even one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60
STOP_SECONDS: Final = 60

_GUARD: Final = """
read -r word
if [ "$word" != done ]; then
    kill -QUIT "$1"
    sleep 1
    kill -KILL -- "-$1"
    [ -z "$2" ] || rm -rf -- "$2"
fi
"""
"""Reads until its starter says that it is done, or is no more: then nobody else would end the program."""


class Child:
    """One program, started again and again. ``log`` is what it has said; ``folder`` goes when nobody is left to remove it."""

    def __init__(self, name: str, log: Path, *, folder: Path | None = None) -> None:
        self._name = name
        self._log = log
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that ``start`` has started."""
        if self._process is None:
            raise AssertionError(f"{self._name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, for whatever reason."""
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        command: Sequence[str],
        *,
        is_ready: Callable[[], bool],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        pause: float = 0.005,
    ) -> float:
        """Start it; return the seconds until it was ready.

        Raises:
            AssertionError: it has ended, or is not ready in time.
        """
        began = time.monotonic()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- what the caller names
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                user=user,
                start_new_session=True,
            )
        self._watch_over(self._process.pid)
        while not is_ready():
            if not self.is_running or time.monotonic() > began + START_SECONDS:
                raise AssertionError(f"{self._name} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(pause)
        return time.monotonic() - began

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Let it finish, and wait for it; end it if it does not. Idempotent."""
        if self._process is not None and self.is_running:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """End it, and all that it has started, in the middle of whatever they do. Idempotent."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget()

    def _watch_over(self, pid: int) -> None:
        self._dismiss()
        self._guard = subprocess.Popen(  # noqa: S603 -- our own lines
            ["/bin/sh", "-c", _GUARD, "sh", str(pid), str(self._folder or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _forget(self) -> None:
        self._process = None
        self._dismiss()

    def _dismiss(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(b"done\n", timeout=STOP_SECONDS)

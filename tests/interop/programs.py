"""The programs of other people that talk to a server, found where the reader has them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import environment, run

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "interop"
BUILD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Node:
    """Node.js with the libraries that ``scripts/test`` has put into the cache."""

    program: str

    def run(self, file: str, text: str, *, folder: Path, **env: str) -> str:
        """Return what a program prints, run as ``file`` beside the libraries it imports."""
        (folder / "node_modules").symlink_to(CACHE / "node" / "node_modules")
        (folder / file).write_text(text)
        return run([self.program, file], env=environment(folder, **env), cwd=folder)


@dataclass(frozen=True, slots=True)
class Go:
    """The Go toolchain, with the reader's own caches and settings."""

    program: str
    bin: Path

    def run_file(self, file: Path, *, folder: Path) -> str:
        """Return what a Go file that needs no module prints."""
        return run([self.program, "run", str(file)], env=dict(os.environ), cwd=folder, seconds=BUILD_SECONDS)

    def run_command(self, name: str, *, folder: Path, env: Mapping[str, str]) -> str:
        """Return what the command ``tests/interop/go/NAME`` prints."""
        return run([str(self.bin / name)], env=environment(folder, **env), cwd=folder)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def number(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)?", version)
    return tuple(int(part) for part in found.group().split(".")) if found else (0,)

"""Other people's programs to measure against, installed on demand into ``.cache/bench``. None is part of watchword."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[1] / ".cache" / "bench"
PEERS: Final = Path(__file__).with_name("peers")

FLASK: Final = ("Authlib==1.9.9", "Flask==3.1.3", "gunicorn==27.0.1", "joserfc==1.8.0")
AUTHGENT: Final = ("authgent-server==0.3.4",)

_PATIENCE = 600


class MissingProgram(Exception):
    """A program cannot be installed here; the text says which, and why."""


def find_program(name: str) -> Path:
    """Return where a program is that ``scripts/bench`` has installed.

    Raises:
        MissingProgram: it is not there.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise MissingProgram(f"{name}: not installed (Debian: apt-get install {name})")
    return Path(found)


def python_peer(name: str, packages: Sequence[str]) -> Path:
    """Return the folder of a virtual environment with these packages, where its programs are.

    Raises:
        MissingProgram: they cannot be installed.
    """
    home = CACHE / name
    if _is_new(home, " ".join(packages)):
        _run(name, [sys.executable, "-m", "venv", "--clear", str(home)])
        _run(
            name,
            [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        )
        _remember(home, " ".join(packages))
    return home / "bin"


def node_peers() -> Path:
    """Return the folder with oidc-provider, our script for it, and the node to run it.

    Raises:
        MissingProgram: they cannot be installed.
    """
    home, wanted = CACHE / "node", (PEERS / "package.json").read_text(encoding="utf-8")
    home.mkdir(parents=True, exist_ok=True)
    if _is_new(home, wanted):
        shutil.copy(PEERS / "package.json", home)
        _run("oidc-provider", ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=home)
        _remember(home, wanted)
    shutil.copy(PEERS / "oidc_provider.mjs", home)
    return home


def _stamp(wanted: str) -> str:
    return hashlib.sha256(wanted.encode()).hexdigest()


def _is_new(home: Path, wanted: str) -> bool:
    stamp = home / ".installed"
    return not stamp.exists() or stamp.read_text(encoding="ascii") != _stamp(wanted)


def _remember(home: Path, wanted: str) -> None:
    (home / ".installed").write_text(_stamp(wanted), encoding="ascii")


def _run(name: str, argv: Sequence[str], *, cwd: Path | None = None) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingProgram(f"{name}: {error}") from error
    if done.returncode:
        raise MissingProgram(f"{name}: {' '.join(argv[:4])} failed: {(done.stderr or done.stdout).strip()[-300:]}")

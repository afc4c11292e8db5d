"""Reads the fenced snippets of a page and runs them as its reader would. ``test_snippets`` tells the markers."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.processes import environment
from watchword.testing.postgres import PostgresServer

RUN = frozenset({"bash", "console", "python"})
SHOWN = frozenset({"", "http", "ini", "json", "jsonl", "mermaid", "nginx", "text", "toml", "yaml"})
MARKERS = frozenset({"background", "example", "exits", "file", "not run"})
SERVER = re.compile(r"^<!-- with: dev server -->$", re.MULTILINE)
POSTGRES = re.compile(r"^<!-- with: PostgreSQL -->$", re.MULTILINE)

TURN = Path(tempfile.gettempdir()) / f"watchword-docs-{os.getuid()}.lock"
SNIPPET_SECONDS = 60
START_SECONDS = 30

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)[^\n`]*$")
_MARKER = re.compile(r"^\s*<!--\s*(?P<name>[a-z][a-z ]*?)\s*(?::\s*(?P<value>.*?))?\s*-->\s*$")
_RECALL = """\
set -euo pipefail
if [ -f "$SNIPPET_STATE" ]; then . "$SNIPPET_STATE"; fi
"""
_REMEMBER = """\
remember() { declare -px; printf 'cd %q\\n' "$PWD"; }
trap 'code=$?; remember >"$SNIPPET_STATE.new"; mv "$SNIPPET_STATE.new" "$SNIPPET_STATE"; exit $code' EXIT
set -a
"""


class BadPage(AssertionError):
    """A snippet failed, or its markers make no sense. The message names the page and the line."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One fenced block, with the markers on the lines right above it."""

    place: str
    language: str
    text: str
    markers: dict[str, str] = field(default_factory=dict)


def read_snippets(page: str, name: str) -> Iterator[Snippet]:
    """Give a page's fenced blocks in order.

    Raises:
        BadPage: a fence that is not closed.
    """
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        place = f"{name}:{number + 1}"
        end = next((at for at in range(number + 1, len(lines)) if lines[at].strip() == opening["fence"]), None)
        if end is None:
            raise BadPage(f"{place}: the fence is not closed")
        body = [line.removeprefix(opening["indent"]) for line in lines[number + 1 : end]]
        yield Snippet(place, opening["language"], "\n".join(body) + "\n", dict(_markers_above(lines, number)))
        number = end + 1


def _markers_above(lines: list[str], number: int) -> Iterator[tuple[str, str]]:
    for line in reversed(lines[:number]):
        marker = _MARKER.match(line)
        if marker is not None:
            yield marker["name"], marker["value"] or ""
        elif line.strip():
            return


def check_snippet(snippet: Snippet) -> None:
    """Refuse a language or marker that would let a snippet pass unseen.

    Raises:
        BadPage: what is wrong with it.
    """
    unknown = snippet.markers.keys() - MARKERS
    if unknown:
        raise BadPage(f"{snippet.place}: no such marker: {', '.join(sorted(unknown))}")
    if snippet.language not in RUN | SHOWN:
        raise BadPage(
            f"{snippet.place}: write bash, console or python, or a language that is only shown: {sorted(SHOWN)}"
        )
    for needs_value in snippet.markers.keys() & {"not run", "file", "example", "exits"}:
        if not snippet.markers[needs_value]:
            raise BadPage(f"{snippet.place}: <!-- {needs_value}: ... --> says nothing after the colon")


@dataclass(slots=True)
class Session:
    """The reader's folder and shell, kept from one snippet to the next: variables, the current folder, servers started.

    A page has addresses in it, as ``watchword dev`` prints them: of all sessions on this machine one at a time has its turn.
    """

    folder: Path
    root: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    database: PostgresServer | None = None
    turn: IO[str] = field(init=False)

    def __post_init__(self) -> None:
        self.turn = TURN.open("a")
        fcntl.flock(self.turn, fcntl.LOCK_EX)

    def play(self, snippet: Snippet) -> None:
        """Do with one snippet what its language and markers say.

        Raises:
            BadPage: it did not end, print or read as the page says.
        """
        check_snippet(snippet)
        markers = snippet.markers
        if "not run" in markers:
            return
        if "example" in markers:
            self._compare(snippet, self.root / markers["example"])
        elif "file" in markers:
            target = self.folder / markers["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(snippet.text)
        elif snippet.language == "console":
            self._converse(snippet)
        elif snippet.language == "python":
            program = self.folder / ".snippet.py"
            program.write_text(snippet.text)
            self._shell(snippet.place, f'python "{program}"\n', int(markers.get("exits", "0")))
        elif snippet.language == "bash" and "background" in markers:
            self.start(snippet.place, snippet.text, until=markers["background"] or "ready")
        elif snippet.language == "bash":
            self._shell(snippet.place, snippet.text, int(markers.get("exits", "0")))

    def start(self, place: str, text: str, *, until: str) -> None:
        """Start a program and leave it running once it has printed ``until``.

        Raises:
            BadPage: it ended, or did not say so in time.
        """
        log = self.folder / f".background-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{_RECALL}{text}"],
                cwd=self.folder,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running.append(process)
        deadline = time.monotonic() + START_SECONDS
        while until not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BadPage(f"{place}: did not print {until!r}\n{log.read_text(errors='replace')}")
            time.sleep(0.02)

    def start_postgres(self) -> None:
        """Let PostgreSQL's own programs find a server, as its environment variables name one."""
        self.database = PostgresServer(fsync="off")
        self.database.start()

    def close(self) -> None:
        """End everything that was started, children included."""
        for process in reversed(self.running):
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
        if self.database is not None:
            self.database.destroy()
        self.turn.close()

    def _compare(self, snippet: Snippet, file: Path) -> None:
        if not file.is_file() or snippet.text.strip() not in file.read_text():
            raise BadPage(f"{snippet.place}: is not, word for word, a part of {file.relative_to(self.root)}")

    def _converse(self, snippet: Snippet) -> None:
        """Run each ``$ command`` and compare what it prints with the lines below it; ``...`` stands for anything."""
        for command, shown in _turns(snippet):
            printed = self._shell(snippet.place, command, int(snippet.markers.get("exits", "0")))
            wanted = ".*".join(re.escape(part) for part in re.split(r"\.\.\.|…", shown.strip()))
            if shown.strip() and not re.fullmatch(wanted, printed.strip(), re.DOTALL):
                raise BadPage(f"{snippet.place}: {command.strip()} printed\n{printed}\nand the page shows\n{shown}")

    def _shell(self, place: str, text: str, code: int) -> str:
        try:
            done = subprocess.run(
                ["bash", "-c", f"{_RECALL}{_REMEMBER}{text}"],
                cwd=self.folder,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SNIPPET_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadPage(
                f"{place}: still running after {SNIPPET_SECONDS} s: mark it <!-- background -->?\n{text}"
            ) from error
        if done.returncode != code:
            raise BadPage(f"{place}: exited {done.returncode}, not {code}\n{text}\n{done.stdout}")
        return done.stdout

    def _env(self) -> dict[str, str]:
        home = self.folder / ".home"
        home.mkdir(exist_ok=True)
        env = environment(home, SNIPPET_STATE=str(self.folder / ".state"))
        first = [str(Path(sys.executable).parent)]
        if self.database is not None:
            first.append(str(self.database.programs))
            env |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.database.port), "PGUSER": "watchword"}
        return env | {"PATH": ":".join([*first, env["PATH"]])}


def _turns(snippet: Snippet) -> Iterator[tuple[str, str]]:
    command, shown, more = "", "", False
    for line in snippet.text.splitlines():
        if line.startswith("$ ") and not more:
            if command:
                yield command, shown
            command, shown = line[2:] + "\n", ""
        elif more:
            command += line.removeprefix("> ") + "\n"
        else:
            shown += line + "\n"
            continue
        more = line.endswith("\\")
    if not command:
        raise BadPage(f"{snippet.place}: a console snippet has a line that begins with '$ '")
    yield command, shown


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return

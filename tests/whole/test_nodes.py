"""Several servers on one store: they know of each other, and one of them works for all, whatever becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from socket import gethostname
from urllib.parse import urlsplit

import pytest

from tests import rule
from tests.places import SQLITE
from tests.processes import environment, run
from tests.whole.server_process import PROGRAM, Serving, initialised, until
from watchword.testing.process import free_port

HASTY = str(Path(__file__).with_name("hasty_node.py"))


class Nodes:
    """Servers on one store, started one by one: in one data directory, or on one database, each with its own."""

    def __init__(self, folder: Path, stack: ExitStack, place: str, *, program: Sequence[str] = ()) -> None:
        self.folder = folder
        self.issuer = f"http://127.0.0.1:{free_port()}"
        self._is_database = place != SQLITE
        self.data = initialised(folder, self.issuer)
        self._stack = stack
        self._program = program or (sys.executable, HASTY, str(folder))
        self._is_first = True

    def start(self, name: str, *options: str, at: tuple[str, int] | None = None) -> Serving:
        folder = self.folder / name
        folder.mkdir()
        data = shutil.copytree(self.data, folder / "data") if self._is_database else self.data
        listen = urlsplit(self.issuer).netloc if self._is_first else f"127.0.0.1:{at[1] if at else free_port()}"
        self._is_first = False
        arguments = ["--data", str(data), "--listen", listen, *options]
        return self._stack.enter_context(Serving(folder, arguments, program=self._program))

    def listed(self, *place: str) -> dict[str, dict[str, object]]:
        """What ``watchword node list`` says, by the port of each node."""
        command = [*PROGRAM, *(place or ("--data", str(self.data))), "-o", "json", "node", "list"]
        found = json.loads(run(command, env=environment(self.folder), cwd=self.folder))
        return {str(node["name"]).rpartition(":")[2]: node for node in found}

    def ticks(self) -> list[int]:
        """The terms in which the job has done something, in the order of the audit trail."""
        command = [
            *PROGRAM,
            "--data",
            str(self.data),
            "-o",
            "json",
            "audit",
            "tail",
            "-n",
            "500",
            "--action",
            "test.tick",
        ]
        found = run(command, env=environment(self.folder), cwd=self.folder)
        return [int(event["details"]["term"]) for event in json.loads(found)]


@pytest.fixture
def hasty(place: str, tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack, place)


def name_of(node: Serving) -> str:
    return f"{gethostname()}:{port_of(node)}"


def port_of(node: Serving) -> str:
    return str(node.address[1])


def holds(node: Serving) -> bool:
    return bool(node.events("office_taken"))


def signalled(node: Serving, number: signal.Signals) -> None:
    """Send a signal to the supervisor and all its workers."""
    for pid in [node.process.pid, *node.workers()]:
        os.kill(pid, number)


def test_nodes_know_of_each_other_and_one_of_them_works(hasty: Nodes) -> None:
    first = hasty.start("first", "--workers", "2")
    until(lambda: holds(first), "office")
    second = hasty.start("second")
    until(lambda: len(hasty.listed()) == 2, "second node")
    for place in ((), ("--url", hasty.issuer)):
        nodes = hasty.listed(*place)
        assert {port: (node["state"], node["offices"]) for port, node in nodes.items()} == {
            port_of(first): ("present", ["upkeep"]),
            port_of(second): ("present", []),
        }
    for node in (first, second):
        until(lambda: "nodes: 2\n" in node.probe("/readyz?verbose").text, "readiness")  # noqa: B023 -- asked here
        assert f"upkeep: {name_of(first)}\n" in node.probe("/readyz?verbose").text
        until(lambda: node.metric("watchword_nodes") == 2, "metric")  # noqa: B023 -- asked here
    assert [node.metric("watchword_office_held", office="upkeep") for node in (first, second)] == [1, 0]
    until(lambda: first.metric("watchword_job_runs_total", job="tick", outcome="done") > 2, "work")
    assert second.metric("watchword_job_runs_total") == 0


def test_a_node_that_stops_hands_over_at_once(hasty: Nodes) -> None:
    first = hasty.start("first")
    until(lambda: holds(first), "office")
    second = hasty.start("second")
    until(lambda: len(hasty.listed()) == 2, "second node")
    assert first.stop() == 0
    until(lambda: holds(second), "takeover")
    assert list(hasty.listed()) == [port_of(second)]
    assert [line["term"] for line in first.events("office_left")] == [1]


@rule("W5", "N4", "O1")
def test_a_node_that_wakes_up_too_late_has_no_effect(hasty: Nodes) -> None:
    sleeper = hasty.start("sleeper")
    until(lambda: holds(sleeper), "office")
    other = hasty.start("other")
    (hasty.folder / "gate").touch()
    until((hasty.folder / "waiting-1").exists, "work")
    signalled(sleeper, signal.SIGSTOP)
    until(lambda: holds(other), "takeover")
    (hasty.folder / "gate").unlink()
    until(lambda: 2 in hasty.ticks(), "the work of the other")
    assert "nodes: 1, 1 silent\n" in other.probe("/readyz?verbose").text
    signalled(sleeper, signal.SIGCONT)
    refused = hasty.folder / "refused-1"
    until(lambda: refused.exists() and refused.read_text() == "office.term", "refusal")
    until(lambda: sleeper.events("office_left"), "end of the term")
    ticks = hasty.ticks()
    assert ticks == sorted(ticks)
    until(lambda: "nodes: 2\n" in other.probe("/readyz?verbose").text, "its return")
    assert hasty.listed()[port_of(other)]["offices"] == ["upkeep"]


@rule("O1", "N4")
def test_when_the_one_that_works_is_killed_another_takes_over(tmp_path: Path, place: str) -> None:
    """On one of the stores with the lease and the beat of every server."""
    with ExitStack() as stack:
        nodes = Nodes(tmp_path, stack, place, program=PROGRAM if place == SQLITE else ())
        first = nodes.start("first")
        until(lambda: holds(first), "office")
        second = nodes.start("second")
        signalled(first, signal.SIGKILL)
        until(lambda: holds(second), "takeover")
        assert second.logged("office_taken")["term"] == 2
        assert nodes.listed()[port_of(second)]["offices"] == ["upkeep"]
        assert second.probe("/readyz?verbose").text.splitlines()[4:6] == [
            "nodes: 1, 1 silent",
            f"upkeep: {name_of(second)}",
        ]

"""An installation brought one version forward, and back, under traffic: both versions on one store at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import rule
from tests.places import SQLITE
from tests.processes import environment
from tests.whole.asking import Load, check_trail
from watchword.adapters import postgres_migrations, sqlite_migrations
from watchword.resource import Verifier
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess

LATER = str(Path(__file__).with_name("later_version.py"))
SECONDS = 30

pytestmark = pytest.mark.places("sqlite", "postgres", why="a Redis has no tables")


class Installation:
    """One store, nodes of today's version on it, and commands and nodes of later ones. ``steps`` is how much later."""

    def __init__(self, folder: Path, stack: ExitStack, place: str) -> None:
        self.known = (sqlite_migrations if place == SQLITE else postgres_migrations).KNOWN
        self._stack = stack
        self._folder = folder
        self.first = stack.enter_context(ServerProcess(folder, environment=FAIL_AT_WILL, options=["--workers", "2"]))

    def node(self, name: str, steps: int = 0) -> ServerProcess:
        (self._folder / name).mkdir()
        program = (sys.executable, LATER, str(steps)) if steps else (sys.executable, "-m", "watchword")
        node = ServerProcess(self._folder / name, environment=FAIL_AT_WILL, beside=self.first, program=program)
        return self._stack.enter_context(node)

    def later(self, steps: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, LATER, str(steps), "--data", str(self.first.data), "-o", "json", *arguments]
        variables = environment(self._folder, **FAIL_AT_WILL)
        return subprocess.run(command, env=variables, cwd=self._folder, capture_output=True, text=True, timeout=60)

    def check(self, steps: int) -> tuple[int, dict[str, object]]:
        done = self.later(steps, "migrate", "--check")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def installation(place: str, tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        yield Installation(tmp_path, stack, place)


def name_of(node: ServerProcess) -> str:
    return f":{node.port} ("


def check_suspension(agent: AgentSecret, on: ServerProcess, nodes: list[ServerProcess]) -> None:
    """Suspend on one node, and find it on all; then the other way round."""
    for verb, expected in (("suspend", 401), ("resume", 200)):
        assert on.admin("POST", f"/agents/{agent.client_id}/{verb}", {})[0] == 200
        assert [node.token(agent)[0] for node in nodes] == [expected] * len(nodes)


@rule("N5", "N9", "O14")
def test_versions_side_by_side(installation: Installation) -> None:
    first, second = installation.first, installation.node("second")
    agent, other = first.create_agent("reader"), first.create_agent("other")
    with Load(first, agent, 3) as on_first, Load(second, agent, 3) as on_second:
        time.sleep(0.5)
        code, plan = installation.check(1)
        assert (code, plan["present"], plan["missing"], plan["under_traffic"], plan["in_the_way"]) == (
            8,
            installation.known,
            1,
            True,
            [],
        )
        for node in (first, second):
            assert any(name_of(node) in str(one) for one in plan["older_nodes"])  # type: ignore[union-attr]  # a list
        migrated = installation.later(1, "migrate")
        assert (migrated.returncode, json.loads(migrated.stdout)["applied"]) == (0, 1), migrated.stderr
        later = installation.node("later", steps=1)
        with Load(later, agent, 3) as on_later:
            check_suspension(other, later, [first, second, later])
            check_suspension(other, second, [first, second, later])
            time.sleep(0.5)
    for load in (on_first, on_second, on_later):
        assert (set(load.statuses), load.wrong) == ({200}, [])
        assert len(load.tokens) > 10
        check_trail(first, load)
    verifier = Verifier(issuer=first.issuer, audience="my-api")
    for node in (first, second, later):
        token = node.token(agent)[1]["access_token"]
        assert verifier.verify_token_sync(token).client_id == agent.client_id


@rule("N9", "O14")
def test_a_node_goes_back_one_version(installation: Installation) -> None:
    first = installation.first
    agent = first.create_agent("reader")
    assert installation.later(1, "migrate").returncode == 0
    later = installation.node("later", steps=1)
    with Load(later, agent, 3) as load:
        first.stop()
        first.start()
        assert first.token(agent)[0] == 200
        (told,) = first.logged("schema_newer")
        assert (told["present"], told["known"]) == (installation.known + 1, installation.known)
        assert (
            f"schema: {installation.known + 1}, this version knows {installation.known}\n"
            in (first.management("/readyz?verbose")[1])
        )
    assert (set(load.statuses), load.wrong) == ({200}, [])
    assert installation.check(1) == (0, {**installation.check(1)[1], "missing": 0, "steps": []})
    check_trail(first, load)


@rule("N5", "N9", "O14")
def test_what_an_older_version_needs_is_taken_away_when_it_has_left(installation: Installation) -> None:
    first = installation.first
    agent = first.create_agent("reader")
    assert installation.later(1, "migrate").returncode == 0
    with Load(first, agent, 3) as load:
        time.sleep(0.3)
        code, plan = installation.check(2)
        assert (code, plan["under_traffic"]) == (8, False)
        assert name_of(first) in str(plan["in_the_way"])
        refused = installation.later(2, "migrate")
        assert (refused.returncode, refused.stdout) == (7, "")
        assert name_of(first) in refused.stderr
        assert "gone at" in refused.stderr
    assert (set(load.statuses), load.wrong) == ({200}, [])
    first.stop()
    migrated = installation.later(2, "migrate")
    assert (migrated.returncode, json.loads(migrated.stdout)["applied"]) == (0, 1), migrated.stderr
    with pytest.raises(AssertionError, match="upgrade watchword"):
        first.start()
    last = installation.node("last", steps=2)
    assert last.token(agent)[0] == 200
    assert last.admin("GET", "/audit/verify")[1]["ok"] is True


@rule("N5", "O14")
def test_an_older_version_that_is_still_there_when_its_tables_go_issues_nothing_more(
    installation: Installation,
) -> None:
    """It had left the list of nodes for everybody, and was only asleep."""
    first = installation.first
    agent = first.create_agent("reader")
    assert first.token(agent)[0] == 200
    assert installation.later(1, "migrate").returncode == 0
    for pid in first.pids:
        os.kill(pid, signal.SIGSTOP)
    forget(installation)
    migrated = installation.later(2, "migrate")
    for pid in first.pids:
        os.kill(pid, signal.SIGCONT)
    assert migrated.returncode == 0, migrated.stderr
    until = time.monotonic() + SECONDS
    status, answer = first.token(agent)
    assert status == 503
    while first.management("/readyz?verbose")[0] != 503:
        assert time.monotonic() < until
    assert "store: store.newer\n" in first.management("/readyz?verbose")[1]
    assert first.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 503
    assert answer["error"] == "temporarily_unavailable"
    last = installation.node("last", steps=2)
    assert last.token(agent)[0] == 200
    assert last.admin("GET", "/audit/verify")[1]["ok"] is True


def forget(installation: Installation) -> None:
    """Let the nodes be those of long ago."""
    import asyncio

    import apsw

    from watchword.adapters.postgres import with_database

    if url := installation.first.place.database:
        asyncio.run(with_database(url, lambda db: db.execute("UPDATE nodes SET seen_at = 0")))
        return
    db = apsw.Connection(str(installation.first.data / "watchword.db"))
    db.set_busy_timeout(2000)
    db.execute("UPDATE nodes SET seen_at = 0")
    db.close()

"""Whole servers: the main flow, nodes that see each other's changes, and a database that comes and goes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import rule
from tests.places import SQLITE
from tests.postgres import new_database
from tests.whole.asking import Load
from watchword.testing.kill import Killer
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess

SECONDS = 30
SEED = 20_261_124


def test_the_main_flow(tmp_path: Path, place: str) -> None:
    workers = "1" if place == SQLITE else "2"
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL, options=["--workers", workers]) as server:
        agent = server.create_agent("reader")
        for _ in range(3):
            assert server.token(agent)[0] == 200
            assert server.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 200
            for _ in range(4):
                assert server.token(agent)[0] == 401
            assert server.admin("POST", f"/agents/{agent.client_id}/resume", {})[0] == 200
        assert server.management("/readyz")[0] == 200
        assert server.admin("GET", "/audit/verify")[1]["ok"] is True
        told = json.loads(server.command("--data", str(server.data), "-o", "json", "agent", "show", agent.client_id))
        assert told["name"] == "reader"
        lines = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl").splitlines()
        assert sum('"token.issue"' in line and '"success"' in line for line in lines) == 3
        server.kill()
        server.start()
        assert server.token(agent)[0] == 200


@pytest.mark.places("sqlite", why="it begins in a file")
def test_a_store_moves_into_a_database_and_is_served_from_there(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server:
        agent, stopped = server.create_agent("reader"), server.create_agent("stopped")
        assert server.token(agent)[0] == 200
        assert server.admin("POST", f"/agents/{stopped.client_id}/suspend", {})[0] == 200
        server.stop()
        url = new_database()
        moved = json.loads(server.command("--data", str(server.data), "-o", "json", "store", "move", "--database", url))
        assert (moved["rows"]["agents"], moved["rows"]["operators"]) == (2, 1)
        server.start()
        assert server.token(agent)[0] == 200
        assert server.token(stopped)[0] == 401
        assert server.admin("GET", "/audit/verify")[1]["ok"] is True
        events = server.admin("GET", "/audit/events?limit=100")[1]["items"]
        assert [event["event"]["action"] for event in events].count("token.issue") == 3


@rule("U6", "DR-9")
@pytest.mark.places("postgres", "postgres+redis", why="tests/faults/test_kill.py kills those with a file")
def test_a_node_killed_at_any_moment_has_lost_nothing_and_left_nothing_half_done(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server:
        killer = Killer(server, seed=SEED, database=server.place.database)
        rounds = [killer.round(0.7) for _ in range(4)]
        assert [one.problems for one in rounds] == [()] * 4
        assert sum(one.tokens for one in rounds) > 20
        assert sum(one.changes for one in rounds) > 5


@rule("U7", "N2", "FI-11")
@pytest.mark.places("postgres", "postgres+redis", why="these are nodes with a directory each")
def test_an_agent_suspended_on_one_node_gets_no_token_on_the_others(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ServerProcess(tmp_path, environment=FAIL_AT_WILL))
        others = []
        for name in ("second", "third", "fourth"):
            (tmp_path / name).mkdir()
            node = ServerProcess(tmp_path / name, environment=FAIL_AT_WILL, beside=first)
            others.append(stack.enter_context(node))
        agent = first.create_agent("reader")
        for _ in range(3):
            with ExitStack() as loads:
                asking = [loads.enter_context(Load(node, agent, 3, may_be_refused=True)) for node in others]
                time.sleep(0.5)
                assert first.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 200
                acknowledged = time.monotonic()
                time.sleep(0.5)
            assert all(load.tokens for load in asking)
            assert max(load.last_asked for load in asking) < acknowledged
            assert [load.wrong for load in asking] == [[], [], []]
            assert others[0].admin("POST", f"/agents/{agent.client_id}/resume", {})[0] == 200
        is_suspended = False
        for event in events_of(first, agent):
            is_suspended = event == "agent.suspend" or (is_suspended and event != "agent.resume")
            assert not (is_suspended and event == "token.issue"), "recorded behind the suspension"
        assert len(first.admin("GET", "/audit/verify")[1]["chains"]) >= 4
        assert first.admin("GET", "/audit/verify")[1]["ok"] is True


def events_of(server: ServerProcess, agent: AgentSecret) -> list[str]:
    """Return what went well with an agent, in the order of the commits of all nodes."""
    lines = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    mine = [event for event in events if event.get("client_id") == agent.client_id]
    return [event["action"] for event in mine if event["outcome"] == "success"]

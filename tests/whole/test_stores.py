"""Whole servers on either store: the main flow, nodes that see each other's changes, and a database that comes and goes."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests import rule
from tests.postgres import new_database, require_postgres
from watchword.protocol.jose import parse_compact
from watchword.testing.kill import Killer
from watchword.testing.postgres import STANDBY, PostgresServer
from watchword.testing.process import FAIL_AT_WILL, FORM, AgentSecret, ServerProcess
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy, Way

SECONDS = 30
SEED = 20_261_124
DATABASE = "WATCHWORD_SERVER__DATABASE"


@pytest.fixture(scope="module")
def database_server() -> Iterator[PostgresServer]:
    """One that tests may stop."""
    require_postgres()
    with PostgresServer(fsync="off") as server:
        yield server


def environment_for(store: str) -> dict[str, str]:
    return FAIL_AT_WILL | ({DATABASE: new_database()} if store == "postgresql" else {})


@pytest.mark.parametrize(("store", "workers"), [("sqlite", "1"), ("postgresql", "2")])
def test_the_main_flow(tmp_path: Path, store: str, workers: str) -> None:
    with ServerProcess(tmp_path, environment=environment_for(store), options=["--workers", workers]) as server:
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
def test_a_node_killed_at_any_moment_has_lost_nothing_and_left_nothing_half_done(tmp_path: Path) -> None:
    environment = environment_for("postgresql")
    with ServerProcess(tmp_path, environment=environment) as server:
        killer = Killer(server, seed=SEED, database=environment[DATABASE])
        rounds = [killer.round(0.7) for _ in range(4)]
        assert [one.problems for one in rounds] == [()] * 4
        assert sum(one.tokens for one in rounds) > 20
        assert sum(one.changes for one in rounds) > 5


@rule("U7")
def test_an_agent_suspended_on_one_node_gets_no_token_on_the_others(tmp_path: Path) -> None:
    environment = environment_for("postgresql")
    with ExitStack() as stack:
        first = stack.enter_context(ServerProcess(tmp_path, environment=environment))
        others = []
        for name in ("second", "third", "fourth"):
            (tmp_path / name).mkdir()
            node = ServerProcess(tmp_path / name, environment=environment, beside=first)
            others.append(stack.enter_context(node))
        agent = first.create_agent("reader")
        connections = [stack.enter_context(closing(node.connect())) for node in others]
        for _ in range(10):
            for node, connection in zip(others, connections, strict=True):
                assert node.token(agent, connection)[0] == 200
            assert first.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 200
            for node, connection in zip(others, connections, strict=True):
                assert node.token(agent, connection)[0] == 401, "a token after the suspension was acknowledged"
            assert others[0].admin("POST", f"/agents/{agent.client_id}/resume", {})[0] == 200
        chains = {head["chain"] for head in first.admin("GET", "/audit/verify")[1]["chains"]}
        assert len(chains) >= 4
        assert first.admin("GET", "/audit/verify")[1]["ok"] is True


class Load:
    """Clients that ask until they are told to stop, and write down every answer."""

    def __init__(self, server: ServerProcess, agent: AgentSecret, clients: int = 8) -> None:
        self._server = server
        self._agent = agent
        self._stop = threading.Event()
        self.tokens: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = self._server.connect()
        while not self._stop.is_set():
            status, retry_after, body = ask(connection, self._agent)
            self.statuses[status] += 1
            if status == 200:
                claims = json.loads(parse_compact(json.loads(body)["access_token"], typ="at+jwt").payload)
                self.tokens.append(str(claims["jti"]))
            elif status != 503 or not retry_after.isdecimal():
                self.wrong.append(f"{status} {retry_after} {body!r}")
            else:
                time.sleep(0.02)
        connection.close()


def ask(connection: HTTPConnection, agent: AgentSecret) -> tuple[int, str, bytes]:
    headers = {"Authorization": agent.basic, "Content-Type": FORM}
    connection.request("POST", "/oauth/token", b"grant_type=client_credentials&scope=read:data", headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Retry-After", ""), answer.read()


def until_answered(server: ServerProcess, agent: AgentSecret, wanted: int) -> float:
    """Return the seconds until this status came."""
    began = time.monotonic()
    while server.token(agent)[0] != wanted:
        assert time.monotonic() < began + SECONDS
        time.sleep(0.02)
    return time.monotonic() - began


@rule("DR-9")
def test_a_database_restarted_under_load_costs_503_and_nothing_else(
    tmp_path: Path, database_server: PostgresServer
) -> None:
    environment = FAIL_AT_WILL | {DATABASE: new_database(database_server)}
    with ServerProcess(tmp_path, environment=environment) as server:
        agent = server.create_agent("reader")
        with Load(server, agent) as load:
            for how in (signal.SIGINT, signal.SIGQUIT) * 2:
                time.sleep(0.5)
                database_server.restart(how)
                until_answered(server, agent, 200)
        assert load.wrong == []
        assert set(load.statuses) == {200, 503}
        check_trail(server, load)
        assert server.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 200
        assert server.token(agent)[0] == 401


@rule("DR-9")
@pytest.mark.parametrize(
    "fault",
    [
        Fault(breaks=Break.BLACKHOLE),
        Fault(breaks=Break.RESET, after=3000, way=Way.REQUEST),
        Fault(breaks=Break.RESET, after=1500),
    ],
    ids=("blackhole", "request reset", "answer reset"),
)
def test_a_way_to_the_database_that_fails_costs_503_and_nothing_else(
    tmp_path: Path, database_server: PostgresServer, fault: Fault
) -> None:
    url = new_database(database_server)
    with FaultProxy("127.0.0.1", database_server.port) as proxy:
        url = url.replace(f":{database_server.port}/", f":{proxy.port}/")
        with ServerProcess(tmp_path, environment=FAIL_AT_WILL | {DATABASE: url}) as server:
            agent = server.create_agent("reader")
            with Load(server, agent) as load:
                for _ in range(2):
                    time.sleep(0.5)
                    proxy.impose(fault)
                    until_answered(server, agent, 503)
                    proxy.heal()
                    until_answered(server, agent, 200)
            assert load.wrong == []
            assert set(load.statuses) == {200, 503}
            check_trail(server, load)


@rule("DR-9")
def test_a_standby_that_is_promoted_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    require_postgres()
    with PostgresServer(fsync="off") as first:
        url = new_database(first)
        with PostgresServer(standby_of=first, fsync="off") as second:
            first.set(synchronous_standby_names=STANDBY)
            first.sql("SELECT pg_reload_conf()")
            url = url.replace(f":{first.port}/", f":{first.port},127.0.0.1:{second.port}/")
            with ServerProcess(tmp_path, environment=FAIL_AT_WILL | {DATABASE: url}) as server:
                agent, other = server.create_agent("reader"), server.create_agent("other")
                with Load(server, agent) as load:
                    time.sleep(1)
                    first.stop(signal.SIGQUIT)
                    assert server.admin("POST", f"/agents/{other.client_id}/suspend", {})[0] == 503
                    second.promote()
                    until_answered(server, agent, 200)
                    time.sleep(1)
                assert load.wrong == []
                assert set(load.statuses) == {200, 503}
                check_trail(server, load)
                assert server.admin("POST", f"/agents/{other.client_id}/suspend", {})[0] == 200
                assert server.token(other)[0] == 401


def check_trail(server: ServerProcess, load: Load) -> None:
    """Fail unless every token that somebody got has its event, once, in chains that hold."""
    lines = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl").splitlines()
    issued = Counter(json.loads(line)["event"].get("jti") for line in lines)
    assert len(load.tokens) == len(set(load.tokens))
    assert {issued[jti] for jti in load.tokens} == {1}
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True


def test_a_database_out_of_reach_is_503_until_it_is_back(tmp_path: Path, database_server: PostgresServer) -> None:
    environment = FAIL_AT_WILL | {DATABASE: new_database(database_server)}
    with ServerProcess(tmp_path, environment=environment) as server:
        agent = server.create_agent("reader")
        assert server.token(agent)[0] == 200
        database_server.stop()
        try:
            wrong = AgentSecret(agent.client_id, "wrong")
            for someone in (agent, wrong, AgentSecret("nobody", "x")):
                connection = server.connect()
                status, retry_after, body = ask(connection, someone)
                connection.close()
                assert (status, retry_after) == (503, "1")
                assert json.loads(body)["error"] == "temporarily_unavailable"
            assert server.admin("GET", "/agents")[0] == 503
            assert server.admin("POST", "/resources", {"name": "other", "scopes": ["a"]})[0] == 503
            assert server.management("/readyz")[0] == 503
            assert server.management("/livez")[0] == 200
        finally:
            database_server.start()
        until_answered(server, agent, 200)
        assert server.token(wrong)[0] == 401
        assert server.management("/readyz")[0] == 200
        assert server.admin("POST", "/resources", {"name": "other", "scopes": ["a"]})[0] == 201

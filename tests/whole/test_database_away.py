"""Whole servers whose database is restarted, taken away, cut off, or followed by its standby: 503 meanwhile, and nothing lost."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests import rule
from tests.postgres import new_database, require_postgres
from tests.whole.asking import DATABASE, Load, ask, check_trail, until_answered
from watchword.testing.postgres import STANDBY, PostgresServer
from watchword.testing.process import FAIL_AT_WILL, FORM, AgentSecret, ServerProcess
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy, Way

GRANT = b"grant_type=client_credentials&scope=read:data"
pytestmark = pytest.mark.places("postgres", why="the database server is one that is stopped")


@pytest.fixture(scope="module")
def database_server() -> Iterator[PostgresServer]:
    """One that tests may stop."""
    require_postgres()
    with PostgresServer(fsync="off") as server:
        yield server


@rule("DR-9", "O6", "FI-13")
def test_a_database_restarted_under_load_costs_503_and_nothing_else(
    tmp_path: Path, database_server: PostgresServer
) -> None:
    environment = FAIL_AT_WILL | {DATABASE: new_database(database_server)}
    with ServerProcess(tmp_path, environment=environment) as server:
        agent = server.create_agent("reader")
        with Load(server, agent) as load:
            for how in (signal.SIGINT, signal.SIGQUIT) * 10:
                time.sleep(0.2)
                database_server.restart(how)
                until_answered(server, agent, 200)
        assert load.wrong == []
        assert set(load.statuses) == {200, 503}
        check_trail(server, load)
        assert server.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0] == 200
        assert server.token(agent)[0] == 401


@rule("DR-9", "N6")
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


@rule("O5", "N6", "DR-10")
def test_a_database_that_says_nothing_holds_up_nobody(tmp_path: Path, database_server: PostgresServer) -> None:
    """From the first request on; the client's patience, twice what is promised, is the bound."""
    url = new_database(database_server)
    with FaultProxy("127.0.0.1", database_server.port) as proxy:
        url = url.replace(f":{database_server.port}/", f":{proxy.port}/")
        with ServerProcess(tmp_path, environment=FAIL_AT_WILL | {DATABASE: url}) as server:
            agent = server.create_agent("reader")
            operator = {"Authorization": f"Bearer {server.operator_token}", "Content-Type": "application/json"}
            wrong = AgentSecret(agent.client_id, "wrong").basic
            asked = {
                "token": ("POST", "/oauth/token", GRANT, {"Authorization": agent.basic, "Content-Type": FORM}),
                "login": ("POST", "/oauth/token", GRANT, {"Authorization": wrong, "Content-Type": FORM}),
                "read": ("GET", "/admin/v1/agents", b"", operator),
                "search": ("GET", "/admin/v1/audit/events", b"", operator),
                "change": ("POST", f"/admin/v1/agents/{agent.client_id}/suspend", b"{}", operator),
            }

            def ask_once(name: str) -> tuple[str, int, str | None]:
                method, path, body, headers = asked[name]
                connection = HTTPConnection(server.host, server.port, timeout=4)
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
                connection.close()
                return name, answer.status, answer.getheader("Retry-After")

            with ThreadPoolExecutor(len(asked) * 4) as clients:
                assert all(status in (200, 401) for _, status, _ in map(ask_once, ["token", "login", "read", "search"]))
                proxy.impose(Fault(breaks=Break.BLACKHOLE))
                for _ in range(3):
                    answers = list(clients.map(ask_once, [*asked] * 4))
                    assert set(answers) == {(name, 503, "1") for name in asked}
            assert server.management("/readyz")[0] == 503
            assert server.logged("database_silent")
            proxy.heal()
            until_answered(server, agent, 200)
            assert server.logged("database_heard")
            assert server.admin("GET", "/audit/verify")[1]["ok"] is True


@rule("DR-9", "O6", "FI-14")
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
                assert 200 in load.statuses  # a commit may wait until the standby has taken over
                check_trail(server, load)
                assert server.admin("POST", f"/agents/{other.client_id}/suspend", {})[0] == 200
                assert server.token(other)[0] == 401


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

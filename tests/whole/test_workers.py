"""Several processes on one store: one answer everywhere, one set of numbers, and none that is missed when it dies."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, Agent, create_agent
from tests.whole.server_process import SECONDS, Serving, initialised, serving_here, until
from watchword.protocol.jose import parse_compact

FORM = {"grant_type": "client_credentials", "scope": "read:data"}


@pytest.fixture(scope="module")
def two(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving_here(tmp_path_factory.mktemp("workers"), ["--workers", "2"]) as server:
        yield server


@pytest.fixture(scope="module")
def agent(two: Serving) -> Agent:
    return create_agent(two.server, "reader", "--scope", "read:data")


def ask(client: httpx2.Client, server: Serving, agent: Agent) -> httpx2.Response:
    return client.post(server.server.token_endpoint, data=FORM, auth=(agent.client_id, agent.client_secret))


def sockets_of(pid: int) -> int:
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(link.readlink()).startswith("socket:")
    return count


class Clients:
    """Connections that are kept open, some of them at every worker."""

    def __init__(self, server: Serving, agent: Agent) -> None:
        self.server = server
        before = {pid: sockets_of(pid) for pid in server.workers()}
        self.clients: list[httpx2.Client] = []

        def every_worker_has_one() -> bool:
            self.clients.append(httpx2.Client(verify=PLAIN))
            assert ask(self.clients[-1], server, agent).status_code == 200
            return all(sockets_of(pid) > count for pid, count in before.items())

        until(every_worker_has_one, "every worker has a connection")

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()

    def statuses(self, agent: Agent) -> set[int]:
        return {ask(client, self.server, agent).status_code for client in self.clients}


@rule("C9", "DR-8")
def test_a_suspension_is_seen_at_once_on_every_connection_of_every_worker(two: Serving) -> None:
    switched = create_agent(two.server, "switched", "--scope", "read:data")
    with Clients(two, switched) as clients:
        assert clients.statuses(switched) == {200}
        two.server.watchword("agent", "suspend", "switched")
        assert clients.statuses(switched) == {401}
        two.server.watchword("agent", "resume", "switched")
        assert clients.statuses(switched) == {200}
    assert two.server.watchword("audit", "verify")["ok"] is True


@rule("C9", "K5")
def test_a_key_that_another_process_makes_is_published_by_every_worker_at_the_next_request(
    two: Serving, agent: Agent
) -> None:
    def published(client: httpx2.Client) -> set[str]:
        return {key["alg"] for key in client.get(f"{two.server.issuer}/.well-known/jwks.json").json()["keys"]}

    with Clients(two, agent) as clients:
        for algorithm in ("ES384", "Ed25519"):
            for _ in range(5):  # what is answered from memory by now
                assert all(algorithm not in published(client) for client in clients.clients)
            two.server.watchword(
                "resource", "create", f"{algorithm}-api".lower(), "--scope", "read:data", "--alg", algorithm
            )
            assert all(algorithm in published(client) for client in clients.clients)


@rule("C9")
def test_a_secret_that_one_worker_revokes_is_refused_by_the_other(two: Serving) -> None:
    created = two.server.watchword("agent", "create", "rotated", "--resource", "my-api", "--scope", "read:data")
    rotated = Agent(str(created["client_id"]), str(created["client_secret"]))
    with Clients(two, rotated) as clients:
        made = two.server.watchword("credential", "add-secret", "rotated")
        newer = Agent(rotated.client_id, str(made["client_secret"]))
        assert clients.statuses(newer) == {200}
        two.server.watchword("credential", "revoke", "rotated", str(created["credential_id"]), "--yes")
        assert clients.statuses(newer) == {200}
        assert clients.statuses(rotated) == {401}


def test_the_numbers_of_all_workers_are_shown_as_one(two: Serving, agent: Agent) -> None:
    def issued() -> float:
        return two.metric("watchword_tokens_issued_total")

    with Clients(two, agent) as clients:
        until(lambda: issued() == two.metric("watchword_token_requests_total", outcome="success"), "the numbers agree")
        before = issued()
        for _ in range(4):
            clients.statuses(agent)
        asked = 4 * len(clients.clients)
        until(lambda: issued() >= before + asked, "every token is counted")
        seen = [issued() for _ in range(20)]
        assert seen == [seen[0]] * 20
        assert seen[0] >= before + asked
        assert two.metric("watchword_token_request_duration_seconds_count") >= seen[0]
        assert two.metric("watchword_build_info") == 1


@rule("O15")
def test_no_two_workers_and_no_two_lives_of_one_make_the_same_token(two: Serving, agent: Agent) -> None:
    def token(client: httpx2.Client) -> str:
        claims = json.loads(parse_compact(ask(client, two, agent).json()["access_token"], typ="at+jwt").payload)
        return str(claims["jti"])

    seen: list[str] = []
    for _ in range(3):
        with Clients(two, agent) as clients, ThreadPoolExecutor(4) as pool:
            seen += pool.map(token, clients.clients * 10)
        lost, *_ = old = two.workers()
        os.kill(lost, signal.SIGKILL)
        until(lambda old=old, lost=lost: len(two.workers()) == 2 and lost not in two.workers(), "a new worker")
        until(lambda: two.probe("/readyz").status_code == 200, "ready again")
    assert len(seen) == len(set(seen)) >= 60


@rule("O12")
def test_a_worker_that_is_killed_is_replaced_and_what_was_counted_stays(two: Serving, agent: Agent) -> None:
    with httpx2.Client(verify=PLAIN) as client:
        for _ in range(5):
            assert ask(client, two, agent).status_code == 200
    until(lambda: two.probe("/readyz").status_code == 200, "ready")
    before = two.metric("watchword_tokens_issued_total")
    deaths = len(two.events("worker_ended"))
    first, second = two.workers()
    for pid, name in ((first, signal.SIGKILL), (second, signal.SIGSEGV)):
        os.kill(pid, name)
        for _ in range(20):  # whoever is left, or comes next, answers: the socket is never closed
            assert (
                httpx2.get(f"{two.server.issuer}/.well-known/jwks.json", timeout=SECONDS, verify=PLAIN).status_code
                == 200
            )
        until(lambda pid=pid: len(two.workers()) == 2 and pid not in two.workers(), "a new worker")
    until(lambda: two.probe("/readyz").status_code == 200, "ready again")
    assert two.metric("watchword_tokens_issued_total") >= before - 5  # the last second of a killed worker
    ended = two.events("worker_ended")[deaths:]
    assert [(each["pid"], each["status"]) for each in ended] == [(first, -9), (second, -11)]
    with httpx2.Client(verify=PLAIN) as client:
        assert ask(client, two, agent).status_code == 200


@rule("O12")
def test_a_worker_that_alone_is_told_to_end_is_replaced_and_nobody_is_turned_away(two: Serving, agent: Agent) -> None:
    until(lambda: two.probe("/readyz").status_code == 200, "ready")
    with Clients(two, agent) as clients:
        for pid in two.workers():
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: pid not in two.workers(), "it ends")
            assert clients.statuses(agent) == {200}
            assert (
                httpx2.get(f"{two.server.issuer}/.well-known/jwks.json", timeout=SECONDS, verify=PLAIN).status_code
                == 200
            )
    until(lambda: two.probe("/readyz").status_code == 200, "ready again")


def test_ready_means_every_worker(two: Serving) -> None:
    until(lambda: two.probe("/readyz").status_code == 200, "ready")
    lines = two.probe("/readyz?verbose").text.splitlines()
    assert [*lines[:5], lines[-1]] == ["store: ok", "replay: ok", "signer: ok", "workers: ok", "nodes: 1", "ready"]
    stopped = two.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        until(lambda: two.probe("/readyz").status_code == 503, "not ready")
        assert "workers: worker.away" in two.probe("/readyz?verbose").text
        assert two.probe("/livez").status_code == 200
    finally:
        os.kill(stopped, signal.SIGCONT)
    until(lambda: two.probe("/readyz").status_code == 200, "ready again")


@rule("O12")
def test_a_worker_that_cannot_start_again_is_tried_again_and_again(tmp_path: Path) -> None:
    with serving_here(tmp_path) as server:
        key = tmp_path / "data" / "master.key"
        hidden = key.rename(tmp_path / "hidden.key")
        os.kill(server.workers()[0], signal.SIGKILL)
        until(lambda: len(server.events("worker_ended")) >= 4, "several attempts")
        pauses = [each["restart_seconds"] for each in server.events("worker_ended")]
        assert pauses[:4] == [0.0, 0.2, 0.4, 0.8]
        assert server.events("worker_ended")[1]["reason"] == "master_key.missing"
        hidden.rename(key)
        until(lambda: len(server.events("worker_ready")) == 1, "a worker")
        assert server.probe("/readyz").status_code == 200


@rule("O12")
def test_workers_do_not_outlive_their_supervisor_and_the_port_is_free_again(tmp_path: Path) -> None:
    with serving_here(tmp_path, ["--workers", "2"]) as server:
        workers, address = server.workers(), server.address
        server.process.kill()
        server.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers end")
    with socket.create_server(address):
        pass
    with Serving(tmp_path, ["--listen", f"{address[0]}:{address[1]}"]) as again:
        assert again.server.watchword("audit", "verify")["ok"] is True


def test_what_keeps_the_first_workers_from_starting_is_one_sentence(tmp_path: Path) -> None:
    (initialised(tmp_path, "http://127.0.0.1:8020") / "master.key").write_text("A" * 43 + "=\n")
    failing = Serving(tmp_path, ["--listen", "127.0.0.1:0", "--workers", "3"])
    assert failing.process.wait(SECONDS) == 1
    (line,) = failing.log.read_text().splitlines()
    assert "master key" in line

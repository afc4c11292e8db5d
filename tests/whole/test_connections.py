"""The bounds of connections, from outside: who sends slowly, too much, or another protocol, disturbs nobody else."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, Agent, create_agent
from tests.whole.server_process import Serving, exchange, read_all, serving_here, until

FORM = {"grant_type": "client_credentials", "scope": "read:data"}
SLOW = 2000


@pytest.fixture(scope="module")
def server(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving_here(tmp_path_factory.mktemp("connections"), header_timeout=1, body_timeout=1) as serving:
        yield serving


@pytest.fixture(scope="module")
def agent(server: Serving) -> Agent:
    return create_agent(server.server, "reader", "--scope", "read:data")


def token(client: httpx2.Client, server: Serving, agent: Agent) -> int:
    answer = client.post(server.server.token_endpoint, data=FORM, auth=(agent.client_id, agent.client_secret))
    return answer.status_code


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, SLOW + 500)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@rule("E1", "E2")
def test_two_thousand_slow_connections_stop_no_good_client_and_end(
    server: Serving, agent: Agent, many_files: None
) -> None:
    before = server.metric("watchword_connections_refused_total", reason="head_late")
    slow = []
    with httpx2.Client(verify=PLAIN) as good:
        for number in range(SLOW):
            slow.append(socket.create_connection(server.address))
            slow[-1].sendall(b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nX: ")
            if number % 100 == 0:
                assert token(good, server, agent) == 200
        answers = [read_all(each) for each in slow]
    for each in slow:
        each.close()
    assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 "}
    assert server.metric("watchword_connections_refused_total", reason="head_late") == before + SLOW
    until(lambda: server.metric("watchword_connections") <= 2, "all connections closed")


@rule("T19")
def test_a_body_that_was_announced_and_never_sent_frees_its_place(server: Serving, agent: Agent) -> None:
    host = f"{server.address[0]}:{server.address[1]}".encode()
    head = b"POST /oauth/token HTTP/1.1\r\nHost: " + host + b"\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    received = exchange(server.address, head + b"Content-Length: 90\r\nExpect: 100-continue\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 ")
    assert exchange(server.address, head + b"Content-Length: 90\r\n\r\ngrant_type=").startswith(b"HTTP/1.1 408 ")
    until(lambda: server.metric("watchword_connections") <= 1, "the connections closed")
    with httpx2.Client(verify=PLAIN) as good:
        assert token(good, server, agent) == 200


@rule("E3")
def test_huge_heads_are_refused_by_name(server: Serving) -> None:
    for raw, status in (
        (b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: %s\r\n" % (b"a" * 8192) * 100 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_048_576 + b"\r\n\r\n", b"431"),
    ):
        assert exchange(server.address, raw)[9:12] == status


@rule("E4", "KF-115")
@pytest.mark.parametrize(
    "junk",
    [
        b"Sec-WebSocket-Protocol: \xff\xfe\xc3\x28\r\n",
        b"Sec-WebSocket-Protocol: caf\xc3\xa9\r\n",
        b"Sec-WebSocket-Key: " + b"A" * 4000 + b"\r\nSec-WebSocket-Version: 99\r\n",
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99999999999\r\n",
        b"",
    ],
)
def test_an_upgrade_to_another_protocol_is_answered_and_kills_no_worker(
    server: Serving, agent: Agent, junk: bytes
) -> None:
    workers = server.workers()
    host = f"{server.address[0]}:{server.address[1]}".encode()
    head = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: " + host + b"\r\nConnection: Upgrade, close\r\n"
    received = exchange(server.address, head + b"Upgrade: websocket\r\n" + junk + b"\r\n")
    assert received[9:12] == b"200"
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings_frames = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 10_000
    assert exchange(server.address, preface + settings_frames)[9:12] == b"400"
    with httpx2.Client(verify=PLAIN) as good:
        assert token(good, server, agent) == 200
    assert server.workers() == workers


@rule("E2")
def test_more_connections_than_allowed_are_told_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving_here(tmp_path_factory.mktemp("few"), max_connections=8, header_timeout=60) as few:
        held = [socket.create_connection(few.address) for _ in range(8)]
        until(lambda: few.metric("watchword_connections") >= 8, "eight connections")
        received = exchange(few.address, b"")
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in received
        assert few.probe("/livez").status_code == 200
        for each in held:
            each.close()
        until(lambda: few.metric("watchword_connections") <= 1, "they closed")
        assert httpx2.get(f"{few.server.issuer}/.well-known/jwks.json", verify=PLAIN).status_code == 200


def test_a_worker_may_open_as_many_files_as_the_system_allows(server: Serving) -> None:
    lines = Path(f"/proc/{server.workers()[0]}/limits").read_text().splitlines()
    (soft,) = [int(line.split()[3]) for line in lines if line.startswith("Max open files")]
    assert soft >= min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65_536)

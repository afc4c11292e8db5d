"""Clients that leave in the middle, or send nonsense behind their request: nobody else notices, and nothing is a defect."""

import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests import rule
from watchword.protocol.jose import parse_compact
from watchword.testing.process import FAIL_AT_WILL, FORM, AgentSecret, ServerProcess

BODY = b"grant_type=client_credentials&scope=read%3Adata"
ABORT = struct.pack("ii", 1, 0)
LEAVERS, OTHERS, TIMES = 4, 4, 60


@pytest.fixture(scope="module")
def server(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("leaving"), environment=FAIL_AT_WILL) as server:
        yield server


@pytest.fixture(scope="module")
def agent(server: ServerProcess) -> AgentSecret:
    return server.create_agent("agent")


@pytest.fixture(autouse=True)
def sanity(server: ServerProcess, agent: AgentSecret) -> Iterator[None]:
    """Nothing that a client does to its own connection is a fault or a bug of ours."""
    yield
    assert server.token(agent)[0] == 200
    wrong = [line for event in ("bug", "fault", "Exception in ASGI application\n") for line in server.logged(event)]
    assert wrong == []


def token_request(server: ServerProcess, agent: AgentSecret) -> bytes:
    lines = (
        "POST /oauth/token HTTP/1.1",
        f"Host: {server.host}:{server.port}",
        f"Authorization: {agent.basic}",
        f"Content-Type: {FORM}",
        f"Content-Length: {len(BODY)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + BODY


def admin_request(server: ServerProcess) -> bytes:
    host = f"Host: {server.host}:{server.port}"
    return f"GET /admin/v1/agents HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {server.operator_token}\r\n\r\n".encode()


def receive(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionError:
        pass
    return received


def issued(server: ServerProcess) -> set[str]:
    """The jti of every issuance in the trail."""
    found: set[str] = set()
    after: int | None = 0
    while after is not None:
        page = server.admin("GET", f"/audit/events?action=token.issue&outcome=success&limit=200&after={after}")[1]
        found |= {item["event"]["jti"] for item in page["items"]}
        after = page.get("next_after")
    return found


@rule("FI-4", "DR-9", "U6")
def test_a_client_that_leaves_while_its_event_is_being_committed_stops_nobody_elses_answer(
    server: ServerProcess, agent: AgentSecret
) -> None:
    received: list[str] = []
    statuses: list[int] = []

    def leave(number: int) -> None:
        for turn in range(TIMES):
            with socket.create_connection((server.host, server.port)) as connection:
                if (turn + number) % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                connection.sendall(token_request(server, agent) * (1 + turn % 3))

    def go_on() -> None:
        connection = server.connect()
        for _ in range(TIMES):
            status, answer = server.token(agent, connection)
            statuses.append(status)
            received.append(str(json.loads(parse_compact(answer["access_token"], typ="at+jwt").payload)["jti"]))
        connection.close()

    threads = [threading.Thread(target=leave, args=(number,)) for number in range(LEAVERS)]
    threads += [threading.Thread(target=go_on) for _ in range(OTHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * (OTHERS * TIMES)
    assert len(set(received)) == len(received)
    assert set(received) <= issued(server)
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True


@rule("T20", "FI-4", "E4")
def test_nonsense_behind_a_request_ends_the_connection_and_is_no_defect(
    server: ServerProcess, agent: AgentSecret
) -> None:
    for number in range(40):
        first = admin_request(server) if number % 2 else token_request(server, agent)
        with socket.create_connection((server.host, server.port), timeout=10) as connection:
            connection.sendall(first + token_request(server, agent) * (number % 3) + b"\x00nonsense\r\n\r\n")
            assert receive(connection).count(b"HTTP/1.1 400 ") == 1


@rule("E4")
def test_ten_thousand_requests_at_once_on_one_connection_are_answered_in_order(
    server: ServerProcess, agent: AgentSecret
) -> None:
    wanted = 10_000
    asked = (b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(wanted - 1))
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        sender = threading.Thread(target=connection.sendall, args=(b"".join(asked) + last,))
        sender.start()
        received = receive(connection)
        sender.join()
    assert received.count(b"HTTP/1.1 404 ") == received.count(b"HTTP/1.1 ") == wanted

"""What only a running server shows: its sockets, its store under a second process, its record of what it gave away."""

import json
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from tests import rule
from tests.places import kept_elsewhere
from tests.processes import PLAIN, Agent, RunningServer, create_agent, environment, run

FORM = {"grant_type": "client_credentials", "scope": "read:data"}


def ask(server: RunningServer, agent: Agent, **form: str) -> httpx2.Response:
    auth = (agent.client_id, agent.client_secret)
    return httpx2.post(server.token_endpoint, data={**FORM, **form}, auth=auth, verify=PLAIN)


def exchange(server: RunningServer, raw: bytes, *, pieces: int = 1) -> bytes:
    """Send bytes as they are, in pieces; return all that comes back until the server closes the connection."""
    parts = urlsplit(server.issuer)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(raw) // pieces)
        for begin in range(0, len(raw), size):
            connection.sendall(raw[begin : begin + size])
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


def post(server: RunningServer, headers: Sequence[bytes], body: bytes, *, target: bytes = b"/oauth/token") -> bytes:
    host = urlsplit(server.issuer).netloc.encode()
    return exchange(server, b"\r\n".join([b"POST " + target + b" HTTP/1.1", b"Host: " + host, *headers, b"", body]))


def token_request(server: RunningServer, agent: Agent, *headers: bytes) -> bytes:
    """Return a good request for a token, with these headers besides."""
    body = urlencode({**FORM, "client_id": agent.client_id, "client_secret": agent.client_secret}).encode()
    head = [
        b"POST /oauth/token HTTP/1.1",
        b"Host: " + urlsplit(server.issuer).netloc.encode(),
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: " + str(len(body)).encode(),
        *headers,
    ]
    return b"\r\n".join([*head, b"", body])


def events(server: RunningServer, **filters: str) -> list[dict[str, object]]:
    """Return the exported trail's events that have these members."""
    printed = run(
        [*server.program, "--data", str(server.data), "audit", "export", "--format", "jsonl"],
        env=environment(server.home),
        cwd=server.home,
    )
    all_events = [json.loads(line)["event"] for line in printed.splitlines()]
    return [event for event in all_events if filters.items() <= event.items()]


@rule("C9", "DR-8", "A1")
def test_an_agent_suspended_by_another_process_gets_no_token_from_then_on(running: RunningServer) -> None:
    agent = create_agent(running, "switched", "--scope", "read:data")
    assert ask(running, agent).status_code == 200
    running.watchword("agent", "suspend", "switched")
    refused = ask(running, agent)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    (event,) = events(running, request_id=refused.json()["request_id"])
    assert event["reason"] == "client.suspended"
    running.watchword("agent", "resume", "switched")
    assert ask(running, agent).status_code == 200


@rule("DR-9", "U6", "U7")
@pytest.mark.parametrize("connections", [1, 16, 128])
def test_every_token_that_was_received_has_its_event_and_no_other_has(
    running: RunningServer, reader: Agent, connections: int
) -> None:
    from watchword.protocol.jose import parse_compact

    before = {event["jti"] for event in events(running, action="token.issue", outcome="success")}

    def work(number: int) -> str | None:
        wrong = Agent(reader.client_id, "wrong") if number % 2 else reader
        answer = ask(running, wrong)
        if answer.status_code != 200:
            assert answer.status_code == 401
            return None
        claims = json.loads(parse_compact(answer.json()["access_token"], typ="at+jwt").payload)
        return str(claims["jti"])

    with ThreadPoolExecutor(connections) as pool:
        received = [jti for jti in pool.map(work, range(2 * max(64, connections))) if jti is not None]
    after = {event["jti"] for event in events(running, action="token.issue", outcome="success")}
    assert len(received) == len(set(received)) == max(64, connections)
    assert after - before == set(received)
    assert running.watchword("audit", "verify")["ok"] is True


@rule("T21", "T22")
@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.example/oauth/token",
        b"evil.example:443",
        b"*",
        b"//oauth/token",
        b"/oauth/token#x",
        b"/oauth/token?scope=a#x",
    ],
)
def test_another_form_of_target_gives_no_token(running: RunningServer, reader: Agent, target: bytes) -> None:
    form = {**FORM, "client_id": reader.client_id, "client_secret": reader.client_secret}
    body = urlencode(form).encode()
    headers = [
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: " + str(len(body)).encode(),
        b"Connection: close",
    ]
    received = post(running, headers, body, target=target)
    assert received[9:12] in (b"400", b"404")
    assert b"access_token" not in received


@rule("T20", "T21")
@pytest.mark.parametrize("version", [b"", b" HTTP/0.9", b" HTTP/1.2", b" HTTP/2.0", b" http/1.1", b" HTTP/1.10"])
def test_another_version_gives_no_token(running: RunningServer, reader: Agent, version: bytes) -> None:
    received = exchange(running, token_request(running, reader, b"Connection: close").replace(b" HTTP/1.1", version, 1))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"access_token" not in received


@rule("T20", "T21")
@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.3"])
@pytest.mark.parametrize("pieces", [1, 40])
def test_an_upgrade_is_ignored_and_the_request_answered(
    running: RunningServer, reader: Agent, upgrade: bytes, pieces: int
) -> None:
    first = token_request(running, reader, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade)
    second = token_request(running, reader, b"Connection: close")
    received = exchange(running, first * 3 + second, pieces=pieces)
    assert received.count(b"HTTP/1.1 200 OK") == received.count(b"access_token") == 4


@rule("T22", "KF-108")
def test_http_1_0_without_a_host_gives_no_token(running: RunningServer) -> None:
    received = exchange(running, b"POST /oauth/token HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    assert b"400 Bad Request" in received.splitlines()[0]


@rule("KF-106", "A14")
def test_a_fresh_server_listens_on_loopback_only_and_its_issuer_is_where_it_is_reached(running: RunningServer) -> None:
    document = httpx2.get(f"{running.issuer}/.well-known/oauth-authorization-server", verify=PLAIN).json()
    assert document["issuer"] == running.issuer
    for member in ("token_endpoint", "jwks_uri", "authorization_endpoint"):
        assert httpx2.get(document[member], verify=PLAIN).status_code in (200, 400, 405)
    port = urlsplit(running.issuer).port
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    ours = [address for address in listening if int(address.rpartition(":")[2], 16) == port]
    assert ours == [f"0100007F:{port:04X}"]


@rule("C13", "TRAP-24", "KF-95", "P7")
def test_no_secret_is_in_any_file_or_log_of_the_server(running: RunningServer, reader: Agent) -> None:
    ask(running, reader)
    ask(running, reader, client_secret=reader.client_secret)
    ask(running, Agent(reader.client_secret, reader.client_secret), scope=reader.client_secret)
    httpx2.get(f"{running.issuer}/{reader.client_secret}?client_secret={reader.client_secret}", verify=PLAIN)
    canary = reader.client_secret.encode()
    kept = [path.read_bytes() for path in [*running.data.iterdir(), running.home / "serve.log"]]
    kept += kept_elsewhere(running.place).values()
    assert len(kept) >= 4
    for content in kept:
        assert canary not in content
        assert canary.hex().encode() not in content

"""The proxies of ``deploy/`` in front of real nodes: what passes, what is dropped, and what the proxy itself says."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests import rule
from tests.deploy.conftest import Cluster
from tests.deploy.proxies import CLIENT, FORM, Answer, Front, front
from tests.processes import create_agent, environment, free_port, run
from tests.whole.following import Follower
from watchword.testing.process import AgentSecret
from watchword.testing.tcp_proxy import FaultProxy, Way

CLAIMS = {
    "X-Forwarded-For": "203.0.113.9",
    "x_forwarded_for": "203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Client-Cert": "Hash=00",
    "X-SSL-Client-Cert": "00",
    "X-SSL-Client-Verify": "SUCCESS",
    "Client-Cert": ":AAAA:",
    "Client-Cert-Chain": ":AAAA:",
}
LATE = 40


def peers(cluster: Cluster) -> dict[str, str]:
    """The peer in the audit of every request by its id."""
    lines = cluster.export().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    return {event["request_id"]: event["peer"] for event in events if "peer" in event}


def is_json_error(answer: Answer, error: str) -> bool:
    is_told = answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    return is_told and json.loads(answer.body)["error"] == error


def test_a_token_is_given_and_its_event_names_the_client_not_the_proxy(proxy: Front, cluster: Cluster) -> None:
    answer = proxy.token(cluster.reader)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert peers(cluster)[answer.headers["x-request-id"]] == CLIENT


@rule("R9440-4-01")
def test_what_a_client_claims_of_itself_ends_at_the_proxy(proxy: Front, cluster: Cluster) -> None:
    answers = [proxy.token(cluster.reader, **claim) for claim in ({name: CLAIMS[name]} for name in CLAIMS)]
    answers.append(proxy.token(cluster.reader, **CLAIMS))
    assert {answer.status for answer in answers} == {200}
    told = peers(cluster)
    assert {told[answer.headers["x-request-id"]] for answer in answers} == {CLIENT}


@rule("R9440-4-01", "KF-124")
def test_a_node_is_told_of_the_client_by_the_proxy_alone(proxy: Front, cluster: Cluster, tmp_path: Path) -> None:
    """What arrives at the node, octet by octet: one address, no other claim."""
    seen: list[bytes] = []

    def note(_: int, way: Way, octets: bytes) -> None:
        if way is Way.REQUEST:
            seen.append(octets)

    with (
        FaultProxy(*cluster.addresses[0], tap=note) as tap,
        front(proxy.name, free_port(), [(tap.host, tap.port)], tmp_path / "front") as tapped,
    ):
        seen.clear()
        spelt = "".join(f"{name}: {value}\r\n" for name, value in CLAIMS.items())
        raw = f"GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n{spelt}Connection: close\r\n\r\n"
        assert b" 200 " in tapped.exchange(raw.encode())
        (request,) = [octets for octets in seen if b"127.0.0.2" in octets]
    names = [line.split(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line]
    assert names.count(b"x-forwarded-for") == 1
    assert {name.decode().replace("_", "-") for name in names}.intersection(
        name.lower().replace("_", "-") for name in CLAIMS
    ) == {"x-forwarded-for"}
    assert b"203.0.113.9" not in request


def test_the_program_itself_has_nothing_to_say_against_its_configuration(proxy: Front) -> None:
    check = {"nginx": [*proxy.command, "-q", "-t"], "haproxy": [proxy.command[0], "-c", *proxy.command[2:]]}[proxy.name]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line != "Configuration file is valid"]
    assert (done.returncode, said) == (0, [])


def test_every_node_answers_as_the_issuer(proxy: Front, cluster: Cluster) -> None:
    connection = proxy.connect()
    for _ in range(4):
        metadata = json.loads(proxy.ask("GET", "/.well-known/oauth-authorization-server", connection=connection).body)
        assert metadata["issuer"] == cluster.issuer
        assert metadata["token_endpoint"] == f"{cluster.issuer}/oauth/token"
    connection.close()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1", ""])
def test_another_host_is_refused_before_a_node_sees_it(proxy: Front, host: str) -> None:
    assert "x-request-id" in proxy.ask("GET", "/nowhere").headers  # a node says so
    answer = proxy.ask("GET", "/nowhere", Host=host)
    assert answer.status in (400, 421)
    assert "x-request-id" not in answer.headers


def test_who_names_another_host_in_tls_gets_no_certificate(proxy: Front) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        proxy.trusted.wrap_socket(plain, server_hostname="evil.example")


def test_old_tls_is_not_spoken(proxy: Front) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-servername", "localhost", "-tls1_1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert b"Cipher is (NONE)" in done.stdout


def test_a_body_beyond_the_bound_is_413_and_one_below_it_is_judged_by_the_server(proxy: Front) -> None:
    large = proxy.ask("POST", "/oauth/token", b"a=" + b"x" * 65_536, Content_Type=FORM)
    assert large.status == 413
    assert is_json_error(large, "invalid_request")
    small = proxy.ask("POST", "/oauth/token", b"a=" + b"x" * 65_000, Content_Type=FORM)
    assert small.status in (400, 401)
    assert "x-request-id" in small.headers


@pytest.mark.parametrize("size", [9_000, 15_000, 20_000])
def test_a_url_beyond_the_bound_is_414_in_json(proxy: Front, size: int) -> None:
    answer = proxy.ask("GET", "/.well-known/jwks.json?" + "x" * size)
    assert answer.status == 414
    assert is_json_error(answer, "invalid_request")


def test_headers_beyond_the_bound_are_431_in_json(proxy: Front) -> None:
    many = {f"X-{number}": "x" * 7_500 for number in range(5)}
    answer = proxy.ask("GET", "/.well-known/jwks.json", **many)
    assert answer.status == 431
    assert is_json_error(answer, "invalid_request")


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_what_no_proxy_takes_is_refused_before_a_node_sees_it(proxy: Front, size: int) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 7_500) for number in range(size // 7_500 + 1))
    received = proxy.exchange(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
    assert received == b"" or received.split(b" ")[1] in {b"400", b"431"}
    assert b"request_id" not in received


def test_slow_clients_cost_the_others_nothing_and_are_given_up(proxy: Front, cluster: Cluster) -> None:
    head = b"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + FORM.encode() + b"\r\n"
    slow = [proxy.raw_connection() for _ in range(20)]
    for number, connection in enumerate(slow):
        connection.sendall(head + b"Content-Length: 100\r\n\r\ngrant_type=" if number % 2 else head)
    for _ in range(20):
        assert proxy.token(cluster.reader).status == 200
    deadline = time.monotonic() + LATE
    for connection in slow:
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        assert not connection.recv(65_536).startswith(b"HTTP/1.1 2")
        connection.close()


def test_connections_to_the_nodes_are_kept(cluster: Cluster, proxy: Front) -> None:
    connection = proxy.connect()
    proxy.ask("GET", "/.well-known/jwks.json", connection=connection)
    before = sum(node.metric("watchword_connections") for node in cluster.nodes)
    for _ in range(50):
        assert proxy.ask("GET", "/.well-known/jwks.json", connection=connection).status == 200
    after = sum(node.metric("watchword_connections") for node in cluster.nodes)
    assert after <= before + len(cluster.nodes) * 4
    connection.close()


def test_the_sdk_logs_in_through_it(proxy: Front, cluster: Cluster) -> None:
    program = "import watchword; print(watchword.default(scope='read:data', resource='my-api').token())"
    env = environment(
        proxy.folder,
        WATCHWORD_ISSUER=cluster.issuer,
        WATCHWORD_CLIENT_ID=cluster.reader.client_id,
        WATCHWORD_CLIENT_SECRET=cluster.reader.client_secret,
        SSL_CERT_FILE=str(proxy.folder / "ca.pem"),
    )
    assert run([sys.executable, "-c", program], env=env, cwd=proxy.folder).count(".") == 2


def test_no_secret_stands_in_the_log_of_the_proxy(proxy: Front, cluster: Cluster) -> None:
    proxy.ask("GET", f"/oauth/token?client_secret={cluster.reader.client_secret}")
    proxy.token(cluster.reader)
    logged = "".join(path.read_text(errors="replace") for path in proxy.folder.glob("*.log"))
    assert "/oauth/token" in logged
    assert cluster.reader.client_secret not in logged


def test_the_revocation_feed_comes_through_at_once(proxy: Front, cluster: Cluster) -> None:
    """Neither proxy keeps back what is small, nor takes a stream that is quiet for a dead one."""
    name = f"api-{proxy.name}"
    made = cluster.command.watchword("agent", "create", name, "--serves", "my-api")
    api = AgentSecret(str(made["client_id"]), str(made["client_secret"]))
    victim = create_agent(cluster.command, f"victim-{proxy.name}", "--scope", "read:data")
    with Follower(cluster.issuer, proxy.connect, api) as following:
        assert wait_for(lambda: len(following.beats) >= 4)
        steps = [later - earlier for earlier, later in pairwise(following.beats[1:])]  # the first is there already
        assert (min(steps) > 0.2, max(steps) < 3) == (True, True), steps
        cluster.command.watchword("agent", "suspend", victim.client_id)
        suspended = time.monotonic()
        following.await_all([victim.client_id])
        assert following.seen[victim.client_id] - suspended < 2
        assert following.connections == 1


def wait_for(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LATE
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()

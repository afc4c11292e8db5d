"""Stopped, and given another certificate, in the middle of work: whoever was let in gets the answer.

What must not fail is a request whose connection the server has accepted. One that finds the door closed (the connection is
refused before a byte of it was sent) was never taken, and its client may ask another server. The threads below are such
clients: they count every other failure.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import trustme

from tests import rule
from tests.processes import PLAIN, Agent, create_agent, environment, run
from tests.whole.server_process import PROGRAM, SECONDS, Serving, initialised, read_all, serving_here, until
from watchword.protocol.jose import parse_compact
from watchword.testing.process import free_port

FORM = {"grant_type": "client_credentials", "scope": "read:data"}


@dataclass
class Load:
    """Clients that ask without a pause, half of them on connections that they keep, half on a new one each time."""

    url: str
    agent: Agent
    trust: ssl.SSLContext = PLAIN
    received: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self._work, args=(number % 2 == 0,)) for number in range(8)]
        for thread in self.threads:
            thread.start()
        until(lambda: len(self.received) > 40, "the load")
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.join()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _work(self, keeps: bool) -> None:
        limits = httpx2.Limits() if keeps else httpx2.Limits(max_keepalive_connections=0)
        with httpx2.Client(verify=self.trust, limits=limits, timeout=SECONDS) as client:
            while not self.is_over.is_set():
                try:
                    answer = client.post(self.url, data=FORM, auth=(self.agent.client_id, self.agent.client_secret))
                except httpx2.ConnectError as error:
                    if "refused" not in str(error):
                        self.failures.append(repr(error))
                    return
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                    return
                self._take(answer)

    def _take(self, answer: httpx2.Response) -> None:
        if answer.status_code != 200:
            self.failures.append(answer.text)
            return
        claims = json.loads(parse_compact(answer.json()["access_token"], typ="at+jwt").payload)
        self.received.append(str(claims["jti"]))


def issued(server: Serving) -> list[str]:
    printed = run(
        [*PROGRAM, "--data", str(server.folder / "data"), "audit", "export", "--format", "jsonl"],
        env=environment(server.folder),
        cwd=server.folder,
    )
    events = [json.loads(line)["event"] for line in printed.splitlines()]
    return [event["jti"] for event in events if event["action"] == "token.issue" and event["outcome"] == "success"]


@rule("O11", "DR-9")
@pytest.mark.parametrize(("workers", "name"), [("1", signal.SIGINT), ("1", signal.SIGTERM), ("2", signal.SIGTERM)])
def test_no_request_fails_when_the_server_is_stopped_under_load(
    tmp_path: Path, workers: str, name: signal.Signals
) -> None:
    with serving_here(tmp_path, ["--workers", workers]) as server:
        agent = create_agent(server.server, "reader", "--scope", "read:data")
        with Load(server.server.token_endpoint, agent) as load:
            server.process.send_signal(name)
            assert server.process.wait(SECONDS) == 0
            load.join()
        assert load.failures == []
        assert sorted(issued(server)) == sorted(load.received)
        assert len(server.events("stopping")) == 1
        assert server.events("worker_ended") == []


@rule("O11")
def test_a_request_under_way_and_one_on_an_idle_connection_are_still_answered(tmp_path: Path) -> None:
    with serving_here(tmp_path) as server:
        host = f"{server.address[0]}:{server.address[1]}".encode()
        jwks = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        under_way, idle = (socket.create_connection(server.address, timeout=SECONDS) for _ in range(2))
        under_way.sendall(b"POST /oauth/token HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 10\r\n\r\nhello")
        idle.sendall(jwks)
        first = b""
        while b'"keys"' not in first:
            first += idle.recv(65_536)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: bool(server.events("stopping")), "stopping")
        last = b""
        while b"connection: close" not in last:  # a worker hears of it a moment after its supervisor
            idle.sendall(jwks)
            last = idle.recv(65_536)
        last += read_all(idle)
        assert b'"keys"' in last
        assert last.count(b"HTTP/1.1 ") == 1
        under_way.sendall(b"world")
        answer = read_all(under_way)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer
        assert server.process.wait(SECONDS) == 0
        for each in (under_way, idle):
            each.close()


@rule("O11")
def test_who_never_finishes_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with (
        serving_here(tmp_path, drain_timeout=1, body_timeout=300) as server,
        socket.create_connection(server.address) as held,
    ):
        held.sendall(b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        until(lambda: server.metric("watchword_connections") >= 1, "the connection")
        assert server.stop() == 0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write_pair(folder: Path, authority: trustme.CA) -> str:
    """Put a fresh certificate and its key in the files; return its serial number."""
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(folder / "key.pem")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return str(serial_of(made.cert_chain_pems[0].bytes()))


def serial_of(pem: bytes) -> int:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem).serial_number


@pytest.fixture
def secure(tmp_path: Path, authority: trustme.CA) -> Iterator[tuple[Serving, ssl.SSLContext]]:
    write_pair(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    listen = f"127.0.0.1:{free_port()}"
    initialised(tmp_path, f"https://{listen}")
    pair = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with Serving(tmp_path, ["--listen", listen, "--workers", "2", *pair]) as server:
        server.server.watchword("resource", "create", "my-api", "--scope", "read:data")
        yield server, ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))


def shown(server: Serving, trust: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    with (
        socket.create_connection(server.address) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
    assert certificate is not None
    return str(serial_of(ssl.DER_cert_to_PEM_cert(certificate).encode()))


@rule("O10")
def test_certificates_renewed_under_load_fail_no_request(
    secure: tuple[Serving, ssl.SSLContext], authority: trustme.CA
) -> None:
    server, trust = secure
    agent = create_agent(server.server, "reader", "--scope", "read:data")
    with Load(server.server.token_endpoint, agent, trust) as load:
        for turn in range(1, 4):
            serial = write_pair(server.folder, authority)
            server.process.send_signal(signal.SIGHUP)
            until(lambda turn=turn: len(server.events("tls_reloaded")) >= 2 * turn, "both workers reload")
            assert {shown(server, trust) for _ in range(8)} == {serial}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        load.join()
    assert load.failures == []
    assert sorted(issued(server)) == sorted(load.received)


@rule("O10")
def test_a_changed_certificate_is_noticed_without_a_signal(
    secure: tuple[Serving, ssl.SSLContext], authority: trustme.CA
) -> None:
    server, trust = secure
    serial = write_pair(server.folder, authority)
    until(lambda: {shown(server, trust) for _ in range(4)} == {serial}, "the new certificate")


@rule("O9", "O10")
@pytest.mark.parametrize("spoil", ["another key", "no certificate", "missing"])
def test_files_that_do_not_go_together_change_nothing_and_are_told(
    secure: tuple[Serving, ssl.SSLContext], authority: trustme.CA, spoil: str
) -> None:
    server, trust = secure
    before = shown(server, trust)
    if spoil == "another key":
        authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(server.folder / "key.pem")
    elif spoil == "no certificate":
        (server.folder / "cert.pem").write_text("nonsense\n")
    else:
        (server.folder / "cert.pem").unlink()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.events("tls_rejected")) >= 2, "both workers say so")
    assert {event["reason"] for event in server.events("tls_rejected")} == {"listen.certificate"}
    assert {shown(server, trust) for _ in range(4)} == {before}
    serial = write_pair(server.folder, authority)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: {shown(server, trust) for _ in range(4)} == {serial}, "the new certificate")


@rule("O9")
def test_a_pair_that_is_none_stops_the_start(tmp_path: Path, authority: trustme.CA) -> None:
    initialised(tmp_path, "https://127.0.0.1:8020")
    write_pair(tmp_path, authority)
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(tmp_path / "key.pem")
    pair = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    failing = Serving(tmp_path, ["--listen", "127.0.0.1:0", *pair])
    assert failing.process.wait(SECONDS) == 2
    assert "key values mismatch" in failing.log.read_text()
    assert "Traceback" not in failing.log.read_text()


def test_a_hangup_without_tls_changes_nothing(tmp_path: Path) -> None:
    with serving_here(tmp_path) as server:
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGHUP)
        assert httpx2.get(f"{server.server.issuer}/.well-known/jwks.json", verify=PLAIN).status_code == 200
        assert server.workers() == workers
        assert server.stop() == 0

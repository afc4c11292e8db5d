"""Fetches that go where others say: which addresses are connected to, and that they are the ones that were judged."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests import rule
from tests.adapters.hostile_server import HostileServer, drip, flood, hostile_server, ok, raw
from watchword.adapters import outbound_guard
from watchword.adapters.outbound import OutboundTransport
from watchword.adapters.outbound_guard import Guard
from watchword.ports.http import HttpRequest, TransportError
from watchword.protocol.egress import EgressRules

HOST = "keys.example.com"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
Resolve = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[HostileServer]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST, "127.0.0.1").configure_cert(tls)
    with hostile_server(tls) as running:
        running.answers["/"] = ok(b"{}")
        yield running


@pytest.fixture
def build(server: HostileServer, ca_file: Path) -> Iterator[Callable[..., OutboundTransport]]:
    made: list[OutboundTransport] = []

    def make(*networks: ipaddress.IPv4Network, seconds: float = 2, port: int = 0) -> OutboundTransport:
        rules = EgressRules(networks, frozenset({port or server.port}))
        transport = OutboundTransport(
            total_timeout=timedelta(seconds=seconds), max_size=65_536, guard=Guard(rules, ca_file)
        )
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What the resolver says of a name: one list of addresses after the other, the last one for ever."""
    told: dict[str, list[list[str]]] = {}

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        answers = told.get(host)
        if answers is None:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise socket.gaierror(-2, "Name or service not known") from None
            answers = [[host]]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(outbound_guard.socket, "getaddrinfo", look_up)
    return told


def get(url: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url)


def reason_of(transport: OutboundTransport, url: str) -> str:
    with pytest.raises(TransportError) as refused:
        transport.send(get(url))
    return refused.value.reason


@rule("G7", "KF-60", "TRAP-25")
def test_the_host_is_connected_to_at_its_judged_address_and_proves_its_name(server, build, names):
    names[HOST] = [["127.0.0.1"]]
    answer = build(LOOPBACK).send(get(f"https://{HOST}:{server.port}/"))
    assert answer.status == 200
    head = server.requests[0].lower()
    assert b"host: %s:%d" % (HOST.encode(), server.port) in head
    assert b"cookie" not in head
    assert b"authorization" not in head


@rule("G7", "KF-60", "TRAP-25", "R8725bis-3.10-02")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "fd00::1",
    ],
)
def test_a_name_of_a_private_address_is_refused_before_connecting(server, build, names, address):
    names[HOST] = [[address]]
    assert reason_of(build(), f"https://{HOST}:{server.port}/") == "http.address"
    assert server.connections == 0


@rule("KF-60")
@pytest.mark.parametrize("position", range(3))
def test_one_private_address_among_public_ones_is_enough_to_refuse(server, build, names, position):
    addresses = ["8.8.8.8", "2606:4700::1111"]
    names[HOST] = [[*addresses[:position], "127.0.0.1", *addresses[position:]]]
    assert reason_of(build(), f"https://{HOST}:{server.port}/") == "http.address"
    assert server.connections == 0


@rule("G7", "KF-60", "TRAP-25")
def test_a_name_that_changes_its_address_after_it_was_judged_changes_nothing(server, build, names):
    """DNS rebinding: asked once, so the second answer is nobody's."""
    names[HOST] = [["127.0.0.1"], ["10.9.9.9"]]
    assert build(LOOPBACK).send(get(f"https://{HOST}:{server.port}/")).status == 200
    names[HOST] = [["203.0.114.1"], ["127.0.0.1"]]  # a public one is judged; nobody answers there
    assert reason_of(build(seconds=0.5), f"https://{HOST}:{server.port}/") in {"http.timeout", "http.connect"}
    assert server.connections == 1
    assert names[HOST] == [["127.0.0.1"]]


def test_the_name_is_asked_for_anew_by_every_fetch(server, build, names):
    transport = build(LOOPBACK)
    names[HOST] = [["127.0.0.1"], ["10.0.0.1"]]
    assert transport.send(get(f"https://{HOST}:{server.port}/")).status == 200
    assert reason_of(transport, f"https://{HOST}:{server.port}/") == "http.address"


def test_a_connection_serves_one_request(server, build, names):
    """A kept one was proved to be one host; another host may have the same address."""
    transport = build(LOOPBACK)
    names[HOST] = [["127.0.0.1"]]
    names["other.example.com"] = [["127.0.0.1"]]
    transport.send(get(f"https://{HOST}:{server.port}/"))
    assert reason_of(transport, f"https://other.example.com:{server.port}/") == "http.connect"
    transport.send(get(f"https://{HOST}:{server.port}/"))
    assert server.connections == 3


def test_the_next_address_is_tried_where_one_refuses(server, build, names):
    names[HOST] = [["127.0.0.9", "127.0.0.1"]]
    assert build(LOOPBACK).send(get(f"https://{HOST}:{server.port}/")).status == 200


@rule("KF-36", "KF-56", "TRAP-25")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/", "http.insecure"),
        ("http://keys.example.com/", "http.insecure"),
        ("file:///etc/passwd", "http.insecure"),
        ("https://keys.example.com:22/", "http.port"),
        ("https://keys.example.com:6379/", "http.port"),
        ("https://169.254.169.254/", "http.address"),
        ("https://[::1]:{port}/", "http.address"),
        ("https://localhost:{port}/", "http.name"),
        ("https://metadata.google.internal/", "http.name"),
    ],
)
def test_what_the_url_itself_gives_away_is_refused(server, build, names, url, reason):
    names["127.0.0.1.nip.io"] = [["127.0.0.1"]]
    assert reason_of(build(LOOPBACK), url.format(port=server.port)) == reason
    assert reason_of(build(), f"https://127.0.0.1.nip.io:{server.port}/") == "http.address"
    assert server.connections == 0


def test_the_real_resolver_knows_localhost_and_the_guard_does_not_let_it_in(server, build):
    assert reason_of(build(), f"https://localhost:{server.port}/") == "http.address"
    assert server.connections == 0


@rule("KF-120", "KF-36")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raw(b"HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"), "http.redirect"),
        (flood(b"HTTP/1.1 200 OK\r\n\r\n", 1 << 26), "http.too_large"),
        (ok(b"x" * 65_537), "http.too_large"),
        (ok(b"\x1f\x8b", b"content-encoding: gzip"), "http.protocol"),
        (raw(close=True), "http.protocol"),
    ],
)
def test_a_hostile_answer_is_refused(server, build, names, answer, reason):
    names[HOST] = [["127.0.0.1"]]
    server.answers["/bad"] = answer
    transport = build(LOOPBACK)
    assert reason_of(transport, f"https://{HOST}:{server.port}/bad") == reason
    assert transport.send(get(f"https://{HOST}:{server.port}/")).status == 200


def test_a_drip_ends_at_the_time_limit(server, build, names):
    names[HOST] = [["127.0.0.1"]]
    server.answers["/drip"] = drip(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
    began = time.monotonic()
    assert reason_of(build(LOOPBACK, seconds=0.3), f"https://{HOST}:{server.port}/drip") == "http.timeout"
    assert time.monotonic() - began < 2


def test_a_certificate_of_another_authority_or_name_is_refused(server, build, names, ca_file):
    names[HOST] = names["wrong.example.com"] = [["127.0.0.1"]]
    assert reason_of(build(LOOPBACK), f"https://wrong.example.com:{server.port}/") == "http.connect"
    rules = EgressRules((LOOPBACK,), frozenset({server.port}))
    stranger = OutboundTransport(guard=Guard(rules))
    assert reason_of(stranger, f"https://{HOST}:{server.port}/") == "http.connect"
    stranger.close()
    missing = OutboundTransport(guard=Guard(rules, ca_file.with_name("nowhere.pem")))
    assert reason_of(missing, f"https://{HOST}:{server.port}/") == "http.connect"
    assert build(LOOPBACK).send(get(f"https://127.0.0.1:{server.port}/")).status == 200


def test_proxies_of_the_environment_are_not_asked(server, build, names, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    names[HOST] = [["127.0.0.1"]]
    assert build(LOOPBACK).send(get(f"https://{HOST}:{server.port}/")).status == 200


def test_names_that_nobody_answers_for_keep_others_from_nothing(server, build, names, monkeypatch):
    names[HOST] = [["127.0.0.1"]]
    known = outbound_guard.socket.getaddrinfo
    release = threading.Event()

    def look_up(host: str, port: int, **facts: object) -> object:
        if host.startswith("slow"):
            release.wait(10)
        return known(host, port, **facts)

    monkeypatch.setattr(outbound_guard.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(outbound_guard, "MAX_LOOKUPS", 2)
    transport = build(LOOPBACK, seconds=0.2)
    assert reason_of(transport, f"https://slow1.example:{server.port}/") == "http.timeout"
    assert transport.send(get(f"https://{HOST}:{server.port}/")).status == 200
    assert reason_of(transport, f"https://slow2.example:{server.port}/") == "http.timeout"
    assert reason_of(transport, f"https://{HOST}:{server.port}/") == "http.name"
    release.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and transport._lane.pinner._lookups._value < 2:
        threading.Event().wait(0.01)
    assert transport.send(get(f"https://{HOST}:{server.port}/")).status == 200

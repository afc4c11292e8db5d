"""Answers without an end: read as they come, given up when nothing comes, closed by whoever likes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.adapters.hostile_server import HostileServer, drip, hostile_server, ok, raw
from watchword.adapters.outbound import OutboundTransport
from watchword.ports.http import HttpRequest, StreamingTransport, TransportError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
PATIENCE = timedelta(seconds=5)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as running:
        yield running


@pytest.fixture
def transport() -> Iterator[OutboundTransport]:
    sender = OutboundTransport(total_timeout=timedelta(seconds=0.2))
    yield sender
    sender.close()


def get(server: HostileServer) -> HttpRequest:
    return HttpRequest(method="GET", url=server.origin + "/")


def reason_of(work) -> str:
    with pytest.raises(TransportError) as caught:
        work()
    return caught.value.reason


def test_it_is_read_piece_by_piece_for_longer_than_any_other_answer(server, transport):
    server.answers["/"] = drip(HEAD)
    assert isinstance(transport, StreamingTransport)
    stream = transport.stream(get(server), patience=PATIENCE)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
    began, read = time.monotonic(), b""
    while time.monotonic() - began < 0.5:
        read += stream.read()
    assert set(read) == set(b"x")
    stream.close()
    assert reason_of(stream.read) == "http.connect"


def test_the_end_is_an_empty_piece(server, transport):
    server.answers["/"] = ok(b"all of it")
    stream = transport.stream(get(server), patience=PATIENCE)
    assert (stream.read(), stream.read(), stream.read()) == (b"all of it", b"", b"")


def test_silence_is_given_up_before_the_head_and_after_it(server, transport):
    server.answers["/"] = raw()
    patience = timedelta(seconds=0.2)
    assert reason_of(lambda: transport.stream(get(server), patience=patience)) == "http.timeout"
    server.answers["/"] = raw(HEAD)
    assert reason_of(transport.stream(get(server), patience=patience).read) == "http.timeout"


def test_a_connection_that_breaks_is_no_end(server, transport):
    server.answers["/"] = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=True)
    stream = transport.stream(get(server), patience=PATIENCE)
    assert stream.read() == b"half"
    assert reason_of(stream.read) == "http.protocol"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: https://other.example\r\ncontent-length: 0\r\n\r\n", "http.redirect"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", "http.protocol"),
    ],
)
def test_what_is_refused_of_any_answer_is_refused_of_this_one(server, transport, head, reason):
    server.answers["/"] = raw(head)
    assert reason_of(lambda: transport.stream(get(server), patience=PATIENCE)) == reason


def test_nothing_is_sent_in_the_clear(transport):
    request = HttpRequest(method="GET", url="http://auth.example.com/")
    assert reason_of(lambda: transport.stream(request, patience=PATIENCE)) == "http.insecure"


def test_who_reads_is_woken_when_another_thread_closes(server, transport):
    server.answers["/"] = raw(HEAD)
    stream = transport.stream(get(server), patience=timedelta(seconds=60))
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(reason_of(stream.read)))
    reader.start()
    while stream._waiting is None:
        time.sleep(0.01)
    stream.close()
    reader.join(10)
    assert found == ["http.connect"]

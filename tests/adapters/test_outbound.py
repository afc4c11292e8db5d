from __future__ import annotations

import asyncio
import copy
import gc
import gzip
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests import rule
from tests.adapters.hostile_server import HostileServer, drip, flood, hostile_server, ok, raw
from tests.forks import is_right_in_a_child, needs_fork
from watchword.adapters.outbound import MAX_SIZE, OutboundTransport, default_transport
from watchword.ports.http import HttpRequest, HttpResponse, TransportError

Send = Callable[[OutboundTransport, HttpRequest], HttpResponse]


def _asend(transport: OutboundTransport, request: HttpRequest) -> HttpResponse:
    return asyncio.run(transport.asend(request))


both = pytest.mark.parametrize("send", [OutboundTransport.send, _asend], ids=["thread", "loop"])


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def transport() -> Iterator[OutboundTransport]:
    sender = OutboundTransport(total_timeout=timedelta(seconds=5))
    yield sender
    sender.close()


def get(url: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url)


@both
def test_an_answer_arrives_whole(server: HostileServer, transport: OutboundTransport, send: Send) -> None:
    server.answers["/token"] = ok(b'{"a":1}', b"X-One: 1", b"x-one: 2")
    answer = send(
        transport,
        HttpRequest(
            method="POST", url=f"{server.origin}/token", headers={"content-type": "text/x"}, body=b"grant_type=foo"
        ),
    )
    assert (answer.status, answer.body, answer.headers["x-one"]) == (200, b'{"a":1}', "1, 2")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert body == b"grant_type=foo"
    assert b"content-type: text/x" in head.lower()


@both
@rule("KF-120", "Q2")
def test_identity_is_the_only_encoding_asked_for(
    server: HostileServer, transport: OutboundTransport, send: Send
) -> None:
    server.answers["/"] = ok(b"{}")
    send(transport, HttpRequest(method="GET", url=f"{server.origin}/", headers={"accept-encoding": "gzip"}))
    lines = [line for line in server.requests[0].lower().split(b"\r\n") if line.startswith(b"accept-encoding")]
    assert lines == [b"accept-encoding: identity"]


BOMB = gzip.compress(b"0" * 50_000_000)

BROKEN = {
    "redirect": (raw(b"HTTP/1.1 307 Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"), "http.redirect"),
    "see other": (
        raw(b"HTTP/1.1 303 See\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n"),
        "http.redirect",
    ),
    "ten megabytes": (flood(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n", 10_485_760), "http.too_large"),
    "without end": (flood(b"HTTP/1.1 200 OK\r\n\r\n", 1 << 34), "http.too_large"),
    "gzip bomb": (ok(BOMB, b"content-encoding: gzip"), "http.protocol"),
    "encoded twice": (ok(b"x", b"content-encoding: gzip", b"content-encoding: br"), "http.protocol"),
    "garbage": (raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n", close=True), "http.protocol"),
    "nothing": (raw(close=True), "http.protocol"),
    "half a body": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", close=True), "http.protocol"),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\ncontent-le", close=True), "http.protocol"),
    "two lengths": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"), "http.protocol"),
    "head without end": (drip(b"HTTP/1.1 200 OK\r\n" + b"x-a: " + b"y" * 200_000), "http.protocol"),
}


@both
@rule("Q1", "Q2", "KF-120", "R6750-5-01")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_is_refused_and_the_next_good_one_arrives(
    server: HostileServer, transport: OutboundTransport, kind: str, send: Send
) -> None:
    server.answers["/"], reason = BROKEN[kind]
    server.answers["/good"] = ok(b"{}")
    with pytest.raises(TransportError) as refused:
        send(transport, get(f"{server.origin}/"))
    assert refused.value.reason == reason
    assert len(server.requests) == 1
    assert send(transport, get(f"{server.origin}/good")).body == b"{}"


@both
@rule("Q2")
@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nx-slow: ", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b""],
    ids=["head", "body", "line"],
)
def test_an_answer_that_drips_ends_at_the_time_limit(server: HostileServer, head: bytes, send: Send) -> None:
    transport = OutboundTransport(total_timeout=timedelta(seconds=0.3))
    server.answers["/"] = drip(head)
    began = time.monotonic()
    with pytest.raises(TransportError) as refused:
        send(transport, get(f"{server.origin}/"))
    assert refused.value.reason == "http.timeout"
    assert time.monotonic() - began < 3
    transport.close()


@both
def test_the_size_limit_is_exact(server: HostileServer, transport: OutboundTransport, send: Send) -> None:
    server.answers["/at"] = ok(b"x" * MAX_SIZE)
    server.answers["/over"] = ok(b"x" * (MAX_SIZE + 1))
    assert len(send(transport, get(f"{server.origin}/at")).body) == MAX_SIZE
    with pytest.raises(TransportError, match=r"http\.too_large"):
        send(transport, get(f"{server.origin}/over"))


@both
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost:80@evil.example/",
        "http://10.0.0.1/",
        "http://0x7f.1/",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://example.com\\@evil.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
        "",
    ],
)
@rule("Q1", "KF-102")
def test_what_is_not_https_is_not_even_looked_up(transport: OutboundTransport, url: str, send: Send) -> None:
    with pytest.raises(TransportError) as refused:
        send(transport, get(url))
    assert refused.value.reason == "http.insecure"
    assert "secret" not in str(refused.value)


@both
def test_a_plain_host_is_asked_over_plain_http_and_no_other(
    server: HostileServer, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both names lead to the server."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    server.answers["/"] = ok(b"{}")
    transport = OutboundTransport(plain_hosts=frozenset({"metadata.test"}))
    assert send(transport, get(f"http://metadata.test:{server.port}/")).status == 200
    with pytest.raises(TransportError) as refused:
        send(transport, get(f"http://other.test:{server.port}/"))
    assert refused.value.reason == "http.insecure"
    transport.close()


@both
def test_a_closed_port_is_a_failure_to_connect(transport: OutboundTransport, send: Send) -> None:
    with hostile_server() as gone:
        origin = gone.origin
    with pytest.raises(TransportError) as refused:
        send(transport, get(origin))
    assert refused.value.reason == "http.connect"


@rule("R6750-5-01")
def test_a_cookie_is_not_sent_back(server: HostileServer, transport: OutboundTransport) -> None:
    server.answers["/"] = ok(b"{}", b"set-cookie: session=1; Path=/")
    transport.send(get(f"{server.origin}/"))
    transport.send(get(f"{server.origin}/"))
    assert b"cookie" not in server.requests[1].lower()


def test_connections_are_reused_across_threads_and_loops(server: HostileServer, transport: OutboundTransport) -> None:
    server.answers["/"] = ok(b"{}")
    transport.send(get(f"{server.origin}/"))
    _asend(transport, get(f"{server.origin}/"))
    _asend(transport, get(f"{server.origin}/"))
    other = threading.Thread(target=transport.send, args=(get(f"{server.origin}/"),))
    other.start()
    other.join()
    assert (len(server.requests), server.connections) == (4, 1)


def test_plain_http_to_this_machine_goes_past_the_proxy(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch, transport: OutboundTransport
) -> None:
    server.answers["/"] = ok(b"{}")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert transport.send(get(f"{server.origin}/")).status == 200


def test_the_proxy_of_the_environment_is_used_for_https(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch, transport: OutboundTransport
) -> None:
    server.answers["login.example.com:443"] = raw(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n", close=True)
    monkeypatch.setenv("https_proxy", server.origin)
    with pytest.raises(TransportError) as refused:
        transport.send(
            HttpRequest(method="GET", url="https://login.example.com/", headers={"authorization": "Basic c2VjcmV0"})
        )
    assert refused.value.reason == "http.connect"
    assert server.requests[0].startswith(b"CONNECT login.example.com:443 ")
    assert b"c2VjcmV0" not in server.requests[0]


@rule("R6750-5-01")
def test_a_certificate_counts_only_if_the_trust_store_knows_its_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    store = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(store))
    with hostile_server(tls) as server:
        server.answers["/"] = ok(b"{}")
        stranger = OutboundTransport()
        with pytest.raises(TransportError) as refused:
            stranger.send(get(f"{server.origin}/"))
        assert refused.value.reason == "http.connect"
        monkeypatch.setenv("SSL_CERT_FILE", str(store))
        friend = OutboundTransport()
        assert friend.send(get(f"{server.origin}/")).status == 200
        with pytest.raises(TransportError, match=r"http\.connect"):
            friend.send(get(f"https://localhost:{server.port}/"))
        stranger.close()
        friend.close()


@rule("Q6")
def test_no_secret_hangs_on_a_failure(server: HostileServer, transport: OutboundTransport) -> None:
    server.answers["/"] = raw(close=True)
    request = HttpRequest(
        method="POST", url=f"{server.origin}/", headers={"authorization": "Basic hush"}, body=b"client_secret=hush"
    )
    with pytest.raises(TransportError) as failed:
        transport.send(request)
    error: BaseException | None = failed.value
    assert error is not None
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "hush" not in repr(request) + repr(error) + str(error)


def test_a_cancelled_caller_disturbs_no_other(server: HostileServer, transport: OutboundTransport) -> None:
    entered = threading.Event()

    def hang(connection: object, stopping: threading.Event) -> None:
        entered.set()
        stopping.wait(10)

    server.answers["/hang"] = hang
    server.answers["/"] = ok(b"{}")

    async def scenario() -> HttpResponse:
        hanging = asyncio.create_task(transport.asend(get(f"{server.origin}/hang")))
        await asyncio.to_thread(entered.wait, 5)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        return await transport.asend(get(f"{server.origin}/"))

    assert asyncio.run(scenario()).status == 200


def test_closing_ends_what_is_under_way_and_the_next_request_opens_anew(server: HostileServer) -> None:
    transport = OutboundTransport()
    entered = threading.Event()

    def hang(connection: object, stopping: threading.Event) -> None:
        entered.set()
        stopping.wait(10)

    server.answers["/hang"] = hang
    server.answers["/"] = ok(b"{}")
    reasons: list[str] = []

    def ask() -> None:
        with pytest.raises(TransportError) as failed:
            transport.send(get(f"{server.origin}/hang"))
        reasons.append(failed.value.reason)

    asking = threading.Thread(target=ask)
    asking.start()
    entered.wait(5)
    transport.close()
    asking.join()
    assert reasons == ["http.connect"]
    assert transport.send(get(f"{server.origin}/")).status == 200
    transport.close()
    transport.close()


@rule("Q8", "O15")
@needs_fork
def test_a_forked_child_makes_its_own_connections(server: HostileServer, transport: OutboundTransport) -> None:
    server.answers["/"] = ok(b"{}")
    transport.send(get(f"{server.origin}/"))

    def check() -> bool:
        is_right = transport.send(get(f"{server.origin}/")).status == 200
        transport.close()
        return is_right

    assert is_right_in_a_child(check, held=(transport._lock,))
    assert server.connections == 2
    assert transport.send(get(f"{server.origin}/")).status == 200
    assert server.connections == 2


def test_at_the_end_of_a_process_one_can_still_ask(server: HostileServer) -> None:
    server.answers["/"] = ok(b"{}")
    code = (
        "import atexit\n"
        "from watchword.adapters.outbound import default_transport\n"
        "from watchword.ports.http import HttpRequest\n"
        f"ask = lambda: print(default_transport().send(HttpRequest(method='GET', url='{server.origin}/')).status)\n"
        "atexit.register(ask)\n"  # before the transport's own: it runs after it
        "ask()"
    )
    ended = _run_with_warnings_as_errors(code)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("200\n200\n", "", 0)


def test_without_a_thread_there_is_no_connection(transport: OutboundTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(2):
        with pytest.raises(TransportError) as failed:
            transport.send(get("http://127.0.0.1:1/"))
        assert failed.value.reason == "http.connect"
    gc.collect()  # what was begun is closed: no ResourceWarning


def test_a_process_ends_without_closing(server: HostileServer) -> None:
    server.answers["/"] = ok(b"{}")
    code = (
        "from watchword.adapters.outbound import default_transport\n"
        "from watchword.ports.http import HttpRequest\n"
        f"print(default_transport().send(HttpRequest(method='GET', url='{server.origin}/')).status)"
    )
    ended = _run_with_warnings_as_errors(code)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("200\n", "", 0)


def _run_with_warnings_as_errors(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_httpx2_is_loaded_with_the_first_request() -> None:
    code = "import sys, watchword.adapters.outbound; print('httpx2' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_a_transport_is_shared_by_default_and_does_not_leave_the_process() -> None:
    assert default_transport() is default_transport()
    with pytest.raises(TypeError):
        pickle.dumps(default_transport())
    with pytest.raises(TypeError):
        copy.copy(default_transport())

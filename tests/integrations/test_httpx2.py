from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests import rule
from tests.adapters.hostile_server import Answer, HostileServer, hostile_server, ok, raw
from tests.client.world import AT_ONCE, ISSUER, AuthorizationServer
from watchword.client.credentials import ClientSecretBasic
from watchword.client.errors import LoginMisconfigured
from watchword.client.login import Login
from watchword.integrations.httpx2 import BearerAuth
from watchword.testing.clock import FrozenClock

Call = Callable[..., httpx2.Response]


def _call(auth: BearerAuth, method: str, url: str, **options: object) -> httpx2.Response:
    with httpx2.Client(auth=auth, trust_env=False, follow_redirects=True) as client:
        return client.request(method, url, **options)  # type: ignore[arg-type] -- passed on as they are


def _acall(auth: BearerAuth, method: str, url: str, **options: object) -> httpx2.Response:
    async def call() -> httpx2.Response:
        async with httpx2.AsyncClient(auth=auth, trust_env=False, follow_redirects=True) as client:
            return await client.request(method, url, **options)  # type: ignore[arg-type] -- passed on as they are

    return asyncio.run(call())


both = pytest.mark.parametrize("call", [_call, _acall], ids=["Client", "AsyncClient"])


@pytest.fixture
def api() -> Iterator[HostileServer]:
    with hostile_server() as server:
        server.answers["/"] = ok(b"data")
        yield server


@pytest.fixture
def issuer() -> AuthorizationServer:
    return AuthorizationServer()


@pytest.fixture
def login(issuer: AuthorizationServer) -> Login:
    return Login(
        issuer=ISSUER,
        client=ClientSecretBasic("reader", "hush"),
        resource="my-api",
        transport=issuer,
        clock=FrozenClock(),
        retry=AT_ONCE,
    )


def shown(server: HostileServer) -> list[str]:
    """Return the token of every request the server saw; empty where there was none."""
    found = (
        re.search(rb"\r\nauthorization: (?:Bearer )?(\S+)\r\n", request, re.IGNORECASE) for request in server.requests
    )
    return [match[1].decode() if match else "" for match in found]


def accepting(*tokens: str, challenge: bytes = b'Bearer error="invalid_token"') -> Callable[[HostileServer], Answer]:
    """Answer 200 to these tokens and 401 to others."""

    def build(server: HostileServer) -> Answer:
        def answer(connection: socket.socket, stopping: threading.Event) -> None:
            refuse = raw(b"HTTP/1.1 401 No\r\nwww-authenticate: " + challenge + b"\r\ncontent-length: 0\r\n\r\n")
            (ok(b"data") if shown(server)[-1] in tokens else refuse)(connection, stopping)

        return answer

    return build


@both
def test_every_request_carries_the_token(
    api: HostileServer, login: Login, issuer: AuthorizationServer, call: Call
) -> None:
    auth = login.auth()
    assert [call(auth, "GET", f"{api.origin}/").text for _ in range(3)] == ["data"] * 3
    assert shown(api) == ["token-1"] * 3
    assert len(issuer.token_requests) == 1


@both
@rule("Q4")
@pytest.mark.parametrize(
    "challenge", [b'Bearer error="invalid_token"', b"Bearer", b'Basic realm="x", bearer realm="y"']
)
def test_a_refused_token_is_renewed_once_and_the_request_repeated(
    api: HostileServer, login: Login, issuer: AuthorizationServer, challenge: bytes, call: Call
) -> None:
    api.answers["/"] = accepting("token-2", challenge=challenge)(api)
    response = call(login.auth(), "POST", f"{api.origin}/", content=b"body")
    assert (response.status_code, shown(api)) == (200, ["token-1", "token-2"])
    assert all(request.endswith(b"\r\n\r\nbody") for request in api.requests)
    assert login.token() == "token-2"


@both
@rule("Q4")
def test_a_token_that_is_refused_again_ends_it(
    api: HostileServer, login: Login, issuer: AuthorizationServer, call: Call
) -> None:
    api.answers["/"] = accepting()(api)
    response = call(login.auth(), "GET", f"{api.origin}/")
    assert (response.status_code, shown(api)) == (401, ["token-1", "token-2"])
    assert len(issuer.token_requests) == 2


@both
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 401 No\r\n",
        b'HTTP/1.1 401 No\r\nwww-authenticate: Basic realm="x"\r\n',
        b'HTTP/1.1 403 No\r\nwww-authenticate: Bearer error="insufficient_scope"\r\n',
        b"HTTP/1.1 500 No\r\n",
    ],
)
def test_what_a_new_token_cannot_mend_is_passed_on(
    api: HostileServer, login: Login, issuer: AuthorizationServer, head: bytes, call: Call
) -> None:
    api.answers["/"] = raw(head + b"content-length: 0\r\n\r\n")
    assert call(login.auth(), "GET", f"{api.origin}/").status_code == int(head[9:12])
    assert len(api.requests) == len(issuer.token_requests) == 1


@both
@rule("Q9", "R6750-5-01")
def test_another_server_is_not_even_asked(
    api: HostileServer, login: Login, issuer: AuthorizationServer, call: Call
) -> None:
    with hostile_server() as other:
        other.answers["/"] = ok(b"mine")
        auth = login.auth(origins=[api.origin])
        with pytest.raises(LoginMisconfigured) as refused:
            call(auth, "GET", f"{other.origin}/")
        assert refused.value.reason == "origin.refused"
        assert other.requests == issuer.requests == []
        assert call(auth, "GET", f"{api.origin}/").text == "data"


@both
@rule("Q9")
def test_several_origins_may_be_named(api: HostileServer, login: Login, call: Call) -> None:
    with hostile_server() as other:
        other.answers["/"] = ok(b"mine")
        auth = login.auth(origins=[api.origin, f"{other.origin}/v1"])
        assert call(auth, "GET", f"{other.origin}/").text == "mine"
        assert call(auth, "GET", f"{api.origin}/").text == "data"


@both
@rule("Q9")
def test_a_plain_name_is_pinned_to_the_first_server(api: HostileServer, login: Login, call: Call) -> None:
    with hostile_server() as other:
        auth = login.auth()
        call(auth, "GET", f"{api.origin}/")
        with pytest.raises(LoginMisconfigured) as refused:
            call(auth, "GET", f"{other.origin}/")
        assert refused.value.reason == "origin.refused"
        assert other.requests == []


@both
@rule("Q9")
def test_the_origin_of_the_resource_is_the_default(api: HostileServer, login: Login, call: Call) -> None:
    with hostile_server() as other:
        auth = login.auth(resource=f"{other.origin}/v1")
        with pytest.raises(LoginMisconfigured):
            call(auth, "GET", f"{api.origin}/")
        assert api.requests == []


@both
@rule("R6750-5-01")
def test_a_token_is_not_sent_in_the_clear(login: Login, issuer: AuthorizationServer, call: Call) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        call(login.auth(), "GET", "http://api.example.com/")
    assert refused.value.reason == "origin.insecure"
    assert issuer.requests == []


@both
@rule("R6750-5-01", "Q9")
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_server_leaves_the_token_behind(
    api: HostileServer, login: Login, issuer: AuthorizationServer, status: int, call: Call
) -> None:
    with hostile_server() as other:
        location = other.origin.replace("127.0.0.1", "localhost").encode()
        api.answers["/"] = raw(b"HTTP/1.1 %d Go\r\nlocation: %b/\r\ncontent-length: 0\r\n\r\n" % (status, location))
        other.answers["/"] = accepting()(other)
        assert call(login.auth(), "GET", f"{api.origin}/").status_code == 401
        assert (shown(api), shown(other)) == (["token-1"], [""])
        assert len(issuer.token_requests) == 1


@rule("R6750-5-01")
def test_a_body_that_was_streamed_is_not_sent_twice_but_its_token_is_forgotten(
    api: HostileServer, login: Login
) -> None:
    api.answers["/"] = accepting("token-2")(api)

    def chunks() -> Iterator[bytes]:
        yield b"once"

    response = _call(login.auth(), "POST", f"{api.origin}/", content=chunks(), headers={"content-length": "4"})
    assert (response.status_code, shown(api)) == (401, ["token-1"])
    assert login.token() == "token-2"


@both
def test_scope_and_resource_can_be_chosen_for_a_client(
    api: HostileServer, login: Login, issuer: AuthorizationServer, call: Call
) -> None:
    call(login.auth(scope="write:data", origins=[api.origin]), "GET", f"{api.origin}/")
    assert issuer.issued_for == {"token-1": "write:data"}

"""A small API behind the guard, served by a real server, called by a real client; its issuer is another real server."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from tests import rule
from tests.adapters.hostile_server import hostile_server, ok
from tests.resource.issuers import Issuer, bearer
from watchword.clock import system_clock
from watchword.protocol import jose
from watchword.protocol.challenge import parse_challenges
from watchword.protocol.jwks import build_jwks
from watchword.resource import Guard, Rule, Verifier, current_caller
from watchword.testing import forge

JWKS = "/.well-known/jwks.json"


async def data(request):
    return JSONResponse({"secret": "data", "caller": current_caller().client_id, "method": request.method})


async def strict(request):
    current_caller().require("delete:data")
    return JSONResponse({"deleted": True})


def strict_in_a_thread(request):
    current_caller().require("delete:data")
    return JSONResponse({"deleted": True})


async def broken(request):
    raise ZeroDivisionError


async def health(request):
    return JSONResponse({"status": "ok"})


ROUTES = [
    Route("/data", data, methods=["GET", "POST"]),
    Route("/items/{id}", data),
    Mount("/admin", routes=[Route("/keys", data), Route("/", data)]),
    Route("/health", health),
    Route("/strict", strict),
    Route("/strict/thread", strict_in_a_thread),
    Route("/broken", broken),
]


class Passing(BaseHTTPMiddleware):
    """A middleware as most write theirs: it runs the application in a task of its own."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


RULES = [
    Rule("/data", ["read:data"], ["GET"]),
    Rule("/data", ["write:data"], ["POST"]),
    Rule("/items/{id}", ["read:data"], ["GET"]),
    Rule("/admin/*", ["admin"]),
    Rule("/strict/*"),
    Rule("/strict"),
    Rule("/broken"),
]


@contextlib.contextmanager
def serving(app):
    """Serve an application on loopback; its socket listens before the server starts, so that nobody has to wait for it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


class Api:
    def __init__(self, port, issuer, upstream) -> None:
        self.port = port
        self.issuer = issuer
        self.upstream = upstream
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def raw(self, target: bytes, token: str = "") -> int:
        """Send a request target as it stands; return the status, 0 when the server just closes."""
        answer = self.exchange(target, token)
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def exchange(self, target: bytes, token: str = "") -> bytes:
        """Send target and token as they stand; return the whole answer, nothing when the server just closes."""
        authorization = f"authorization: Bearer {token}\r\n".encode() if token else b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(
                b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + authorization + b"\r\n"
            )
            answer = b""
            with contextlib.suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    answer += chunk
        return answer


@pytest.fixture(scope="module")
def api():
    with hostile_server() as upstream:
        issuer = Issuer(system_clock, url=upstream.origin)
        upstream.answers[JWKS] = ok(json.dumps(build_jwks(issuer.published)).encode())
        # nothing but the base install: no transport, no clock given
        verifier = Verifier(issuer=upstream.origin, audience="my-api", jwks_uri=f"{upstream.origin}{JWKS}")
        app = Starlette(routes=ROUTES, middleware=[Middleware(Passing)])
        guard = Guard(app, verifier, rules=RULES, public=["/health"])
        with serving(guard) as port:
            running = Api(port, issuer, upstream)
            yield running
            running.client.close()


def test_a_good_token_is_served(api):
    answer = api.client.get("/data", headers=bearer(api.issuer.token()))
    assert (answer.status_code, answer.json()["caller"]) == (200, "reader-1")


def test_a_public_path_is_served(api):
    assert api.client.get("/health").status_code == 200


@rule("R6750-2-02", "R6750-3-01", "V1")
def test_without_a_token_the_answer_is_a_bare_challenge(api):
    for answer in (api.client.get("/data"), api.client.get("/data", params={"access_token": api.issuer.token()})):
        assert answer.status_code == 401
        [challenge] = parse_challenges(answer.headers["www-authenticate"])
        assert dict(challenge.parameters) == {"realm": "my-api", "scope": "read:data"}


@rule("R6750-2-03", "TRAP-11", "V1")
def test_two_authorization_headers_are_a_400(api):
    token = api.issuer.token()
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert api.client.get("/data", headers=headers).status_code == 400


@rule("V2", "R6750-3-03")
@pytest.mark.parametrize(
    "changes", [{"aud": "other"}, {"iss": "https://auth.example.com"}, {"exp": 1_700_000_000}, {"cnf": {}}]
)
def test_a_token_that_is_not_for_here_is_a_401(api, changes):
    answer = api.client.get("/data", headers=bearer(api.issuer.token(**changes)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


@rule("V2", "R6750-3-04", "MCP-03")
def test_a_missing_scope_is_a_403(api):
    answer = api.client.post("/data", headers=bearer(api.issuer.token()))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="write:data"' in answer.headers["www-authenticate"]
    assert api.client.post("/data", headers=bearer(api.issuer.token(scopes=("write:data",)))).status_code == 200


@rule("R6750-3-04")
@pytest.mark.parametrize("path", ["/strict", "/strict/thread"])
def test_a_handler_may_ask_for_more(api, path):
    answer = api.client.get(path, headers=bearer(api.issuer.token()))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="delete:data"' in answer.headers["www-authenticate"]
    assert api.client.get(path, headers=bearer(api.issuer.token(scopes=("delete:data",)))).status_code == 200


def test_a_handler_that_fails_is_a_500(api):
    headers = {**bearer(api.issuer.token()), "connection": "close"}  # the server closes it anyway, sooner or later
    answer = api.client.get("/broken", headers=headers)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_the_keys_were_fetched_once(api):
    api.client.get("/data", headers=bearer(api.issuer.token()))
    assert sum(JWKS.encode() in request for request in api.upstream.requests) == 1


@rule("V1", "V3", "KF-1", "KF-2", "KF-4", "KF-8", "KF-13", "KF-17")
def test_no_forgery_passes(api):
    """Every maker of bad tokens, byte for byte, through a real server: the answer is a refusal, and always the same one."""
    good = jose.parse_compact(api.issuer.token(), typ="at+jwt")
    key, header, claims = api.issuer.signing_key, dict(good.header), json.loads(good.payload)
    assert api.raw(b"/data", forge.sign(key, header, claims)) == 200
    passed, bodies = [], set()
    for forgery in forge.all_forgeries(key, header, claims, allowed=frozenset({"at+jwt"})):
        answer = api.exchange(b"/data", forgery.token or " ")
        if answer.partition(b" ")[2][:3] not in {b"", b"400", b"401", b"431"}:
            passed.append(forgery.name)
        if b" 401 " in answer[:20]:
            bodies.add(answer.partition(b"\r\n\r\n")[2])
    assert passed == []
    assert len(bodies) == 1
    assert api.raw(b"/data", forge.sign(key, header, claims)) == 200


TARGETS = [
    b"/admin/keys",
    b"/admin/",
    b"/admin//keys",
    b"//admin/keys",
    b"/health/../admin/keys",
    b"/health/%2e%2e/admin/keys",
    b"/health%2f..%2fadmin%2fkeys",
    b"/items/..%2fadmin%2fkeys",
    b"/items/../admin/keys",
    b"/%61dmin/keys",
    b"/admin%2fkeys",
    b"/admin/%6beys",
    b"/admin/keys;x",
    b"/admin/keys/",
    b"/Admin/Keys",
    b"/admin\\keys",
    b"/admin/keys?/health",
    b"/admin/keys#/health",
    b"/admin/keys%3f",
    b"/admin/keys%23/../../health",
    b"http://x/admin/keys",
    b"http://x/health/../admin/keys",
    b"http://health/admin/keys",
    b"/./admin/keys",
    b"/admin/./keys",
    b"*",
]


@rule("V5", "KF-71", "KF-108", "T21")
@pytest.mark.parametrize("target", TARGETS)
def test_no_spelling_of_a_path_reaches_what_its_token_may_not(api, target):
    assert api.raw(target) in {0, 400, 401, 403}
    assert api.raw(target, api.issuer.token()) in {0, 400, 403}


def test_the_right_one_reaches_it(api):
    token = api.issuer.token(scopes=("admin",))
    assert api.raw(b"/admin/keys", token) == 200
    assert api.raw(b"/admin/keys?/health", token) == 200
    assert api.raw(b"/admin/", token) == 200
    assert api.raw(b"/items/a%20b", api.issuer.token()) == 200

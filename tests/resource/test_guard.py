"""The guard: nothing reaches the application that does not carry what its path needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from urllib.parse import unquote

import pytest

from tests import rule
from tests.resource.issuers import ISSUER, Issuer
from watchword.errors import BadSettings, InsufficientScope
from watchword.ports.http import TransportError
from watchword.protocol.challenge import parse_challenges
from watchword.protocol.metadata import build_resource_metadata
from watchword.resource import Guard, Rule, current_caller

API = "https://api.example.com/v1"
DOCUMENT_PATH = "/.well-known/oauth-protected-resource/v1"
DOCUMENT_URL = f"https://api.example.com{DOCUMENT_PATH}"
RULES = (
    Rule("/data", ("read:data",), ("GET",)),
    Rule("/data", ("write:data", "read:data"), ("POST",)),
    Rule("/live", ("read:data",), ("WEBSOCKET",)),
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def challenge(self) -> dict[str, str]:
        challenges = parse_challenges(self.headers["www-authenticate"])
        return dict(challenges[0].parameters)


class Application:
    """Answers 200 with the caller, and remembers what reached it."""

    def __init__(self) -> None:
        self.reached = []
        self.raises = None

    async def __call__(self, scope, receive, send):
        self.reached.append(scope)
        if self.raises is not None:
            raise self.raises
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        elif scope["type"] == "http":
            caller = scope.get("watchword.caller")
            assert caller is None or caller is current_caller()
            body = caller.client_id.encode() if caller else b"nobody"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def guard(app, issuer):
    return Guard(app, issuer.verifier(), rules=RULES, public=["/health"])


def connection(path="/data", *headers, method="GET", query=b"", kind="http", **more):
    return {
        "type": kind,
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        **more,
    }


def run(guard, scope, sent=None):
    sent = [] if sent is None else sent

    async def receive():
        return {"type": f"{scope['type']}.connect" if scope["type"] == "websocket" else "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent


def ask(guard, path="/data", *headers, **more) -> Answer:
    start, body = run(guard, connection(path, *headers, **more))
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert len(headers) == len(start["headers"])
    return Answer(start["status"], headers, body["body"])


def bearer(token):
    return ("authorization", f"Bearer {token}")


def test_a_good_token_reaches_the_application_with_its_caller(guard, app, issuer):
    answer = ask(guard, "/data", bearer(issuer.token()))
    assert (answer.status, answer.body) == (200, b"reader-1")
    assert app.reached[0]["watchword.caller"].client_id == "reader-1"


def test_after_the_request_there_is_no_caller_left(guard, issuer):
    async def both():
        async def receive():
            return {"type": "http.request"}

        async def send(message):
            pass

        await guard(connection("/data", bearer(issuer.token())), receive, send)
        with pytest.raises(Exception, match=r"token\.missing"):
            current_caller()

    asyncio.run(both())


@rule("V1", "R6750-3-01", "MCP-01")
@pytest.mark.parametrize(
    "scope",
    [
        connection(),
        connection("/data", query=b"access_token=@"),
        connection("/data", ("x-access-token", "@"), ("cookie", "access_token=@")),
        connection("/data", ("authorization", "Basic YTpi")),
        connection("/data", ("authorization", "DPoP @")),
    ],
)
def test_without_a_bearer_token_nobody_passes(guard, app, issuer, scope):
    token = issuer.token()
    scope["query_string"] = scope["query_string"].replace(b"@", token.encode())
    scope["headers"] = [(name, value.replace(b"@", token.encode())) for name, value in scope["headers"]]
    start, _ = run(guard, scope)
    assert start["status"] == 401
    headers = dict(start["headers"])
    assert headers[b"www-authenticate"] == b'Bearer realm="my-api", scope="read:data"'
    assert app.reached == []


@rule("V1", "R6750-2-03", "R6750-3-02")
@pytest.mark.parametrize(
    "headers",
    [[bearer("a"), bearer("a")], [bearer("")], [("authorization", "")], [bearer("a b")], [bearer("a, Bearer b")]],
)
def test_a_malformed_authorization_is_a_400(guard, app, headers):
    answer = ask(guard, "/data", *headers)
    assert (answer.status, answer.challenge["error"]) == (400, "invalid_request")
    assert app.reached == []


@rule("V2", "V3", "MCP-02")
@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"iss": "https://x"},
        {"header": {"typ": "JWT"}},
        {"exp": 1},
        {"nbf": 2**32},
        {"cnf": {"jkt": "x"}},
    ],
)
def test_a_token_that_is_not_for_here_is_a_401(guard, app, issuer, changes):
    answer = ask(guard, "/data", bearer(issuer.token(**changes)))
    assert (answer.status, answer.challenge["error"]) == (401, "invalid_token")
    assert app.reached == []


@rule("V2", "MCP-03", "R6750-3-04")
def test_a_missing_scope_is_a_403_that_names_what_is_needed(guard, app, issuer):
    answer = ask(guard, "/data", bearer(issuer.token()), method="POST")
    assert (answer.status, answer.challenge["error"]) == (403, "insufficient_scope")
    assert answer.challenge["scope"] == "write:data read:data"
    assert app.reached == []


@rule("V5")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/other"), ("DELETE", "/data"), ("get", "/data"), ("GET", "/data/"), ("GET", "/Data")]
)
def test_what_no_rule_covers_is_refused_even_to_a_good_token(guard, app, issuer, method, path):
    assert ask(guard, path, bearer(issuer.token()), method=method).status == 403
    assert ask(guard, path, method=method).status == 401
    assert app.reached == []


@rule("V5", "KF-71", "KF-108", "T21", "DR-5")
@pytest.mark.parametrize(
    "path",
    [
        "/health/../data",
        "/health/%2e%2e/data",
        "/health%2f..%2fdata",
        "//data",
        "/./data",
        "/data;health",
        "/%64ata",
        "/health\\..\\data",
        "/health%00",
        "/health%3f",
        "http://x/health",
    ],
)
def test_no_trick_with_the_path_passes(guard, app, issuer, path):
    for headers in ([], [bearer(issuer.token())]):
        assert ask(guard, path, *headers).status == 400
    assert app.reached == []


@rule("KF-71", "T23", "DR-5")
@pytest.mark.parametrize(
    "headers",
    [
        [("host", "x/health?")],
        [("x-forwarded-uri", "/health")],
        [("x-original-url", "/health")],
        [("x-rewrite-url", "/health")],
        [("x-forwarded-prefix", "/health")],
        [("x-http-method-override", "GET")],
        [("user-agent", "GoogleHealthCheck/1.0")],
        [("x_forwarded_uri", "/health")],
        [("watchword.caller", "admin")],
    ],
)
def test_no_header_changes_the_path_or_the_method(guard, app, issuer, headers):
    assert ask(guard, "/data", *headers).status == 401
    assert ask(guard, "/data", *headers, bearer(issuer.token()), method="POST").status == 403
    assert ask(guard, "/data", *headers, query=b"/health&x=/health#/health").status == 401
    assert app.reached == []


@rule("V5")
@pytest.mark.parametrize("of_the_server", ["", "/v1", "/other"])
def test_an_application_that_strips_a_root_of_its_own_is_asked_for_what_it_sees(app, issuer, of_the_server):
    app.root_path = "/v1"  # as FastAPI(root_path="/v1")
    guard = Guard(app, issuer.verifier(), rules=[Rule("/data", ["admin"]), Rule("/*")])
    for path in ("/data", "/v1/data"):
        assert ask(guard, path, bearer(issuer.token()), root_path=of_the_server).status == 403
    assert ask(guard, "/v1/other", bearer(issuer.token())).status == 200


def test_a_public_path_needs_no_token_and_has_no_caller(guard, app):
    answer = ask(guard, "/health")
    assert (answer.status, answer.body) == (200, b"nobody")
    assert "watchword.caller" not in app.reached[0]


def test_without_rules_every_path_needs_a_token(app, issuer):
    guard = Guard(app, issuer.verifier(), scopes=["read:data"])
    assert ask(guard, "/anything/at/all").status == 401
    assert ask(guard, "/anything/at/all", bearer(issuer.token())).status == 200
    assert ask(guard, "/", bearer(issuer.token(scopes=("other",)))).status == 403


@rule("KF-80")
def test_a_client_that_is_not_admitted_is_a_403(app, issuer):
    guard = Guard(app, issuer.verifier(allowed_clients=["writer-1"]))
    assert ask(guard, "/data", bearer(issuer.token())).status == 403


@rule("V6")
@pytest.mark.parametrize("error", [TransportError("http.timeout"), ZeroDivisionError("secret")])
def test_without_keys_the_answer_is_503(guard, app, issuer, error):
    issuer.fail(error)
    answer = ask(guard, "/data", bearer(issuer.token()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert json.loads(answer.body)["error"] == "temporarily_unavailable"
    assert app.reached == []


@rule("V6")
@pytest.mark.parametrize("broken", ["_keys", "_verified", "_clock", "_allowed_clients"])
def test_a_defect_in_the_verifier_lets_nobody_pass(app, issuer, broken):
    verifier = issuer.verifier(allowed_clients=["reader-1"])
    guard = Guard(app, verifier)
    setattr(verifier, broken, 0)
    assert ask(guard, "/data", bearer(issuer.token())).status == 503
    assert app.reached == []


@rule("V6")
@pytest.mark.parametrize("missing", ["headers", "path", "raw_path"])
def test_a_server_that_gives_less_than_asgi_asks_lets_nobody_pass(guard, app, missing):
    scope = connection()
    scope[missing] = None
    if missing == "path":
        scope["raw_path"] = None
    start, _ = run(guard, scope)
    assert start["status"] in {400, 401, 503}
    assert app.reached == []


def test_an_error_of_the_application_is_its_own(guard, app, issuer):
    app.raises = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        ask(guard, "/data", bearer(issuer.token()))


@rule("R6750-3-04")
def test_an_application_may_ask_for_more(guard, app, issuer):
    app.raises = InsufficientScope("caller.scope", scope=("delete:data",))
    answer = ask(guard, "/data", bearer(issuer.token()))
    assert (answer.status, answer.challenge["scope"]) == (403, "delete:data")


def test_an_answer_that_has_begun_is_not_answered_twice(issuer):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        current_caller().require("delete:data")

    with pytest.raises(InsufficientScope):
        ask(Guard(app, issuer.verifier()), "/data", bearer(issuer.token()))


def answering(*bodies, status=500, raises=None):
    """An application as frameworks are: it answers 500 for what a handler has raised, and raises it on."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})
        if raises is not None:
            raise raises

    return app


REQUIRED = InsufficientScope("caller.scope", scope=("delete:data",))


@rule("R6750-3-04")
def test_the_500_that_a_framework_answers_for_a_refusal_is_dropped(issuer):
    guard = Guard(answering(b"Internal Server Error", raises=REQUIRED), issuer.verifier())
    answer = ask(guard, "/data", bearer(issuer.token()))
    assert (answer.status, answer.challenge["scope"]) == (403, "delete:data")
    assert b"Internal" not in answer.body


@pytest.mark.parametrize("bodies", [(b"one",), (b"one", b"two"), ()], ids=len)
@pytest.mark.parametrize("raises", [None, ZeroDivisionError()])
def test_any_other_500_is_the_applications_own(issuer, bodies, raises):
    guard, sent = Guard(answering(*bodies, raises=raises), issuer.verifier()), []
    with pytest.raises(ZeroDivisionError) if raises else contextlib.nullcontext():
        run(guard, connection("/data", bearer(issuer.token())), sent)
    assert [message.get("status", message.get("body")) for message in sent] == [500, *bodies]


def test_a_500_in_parts_has_begun(issuer):
    guard, sent = Guard(answering(b"one", b"two", raises=REQUIRED), issuer.verifier()), []
    with pytest.raises(InsufficientScope):
        run(guard, connection("/data", bearer(issuer.token())), sent)
    assert len(sent) == 3


def test_the_answer_to_head_has_no_body(guard):
    answer = ask(guard, "/data", method="HEAD")
    assert (answer.status, answer.body) == (401, b"")
    assert int(answer.headers["content-length"]) > 0


def test_lifespan_passes(guard, app):
    run(guard, {"type": "lifespan"})
    assert app.reached == [{"type": "lifespan"}]


@rule("V6")
def test_an_unknown_kind_of_connection_does_not_pass(guard, app):
    with pytest.raises(ValueError, match="no kind of connection"):
        run(guard, {"type": "webtransport", "path": "/health"})
    assert app.reached == []


# websockets


def test_a_websocket_with_a_good_token_passes(guard, app, issuer):
    sent = run(guard, connection("/live", bearer(issuer.token()), kind="websocket"))
    assert sent == [{"type": "websocket.accept"}]
    assert app.reached[0]["watchword.caller"].client_id == "reader-1"


@rule("V1", "V5")
@pytest.mark.parametrize("path", ["/live", "/data", "/health/../live", "/other"])
def test_a_websocket_without_a_token_is_closed_before_it_opens(guard, app, path):
    assert run(guard, connection(path, kind="websocket")) == [{"type": "websocket.close", "code": 1008}]
    assert app.reached == []


def test_a_websocket_is_refused_in_http_where_the_server_can(guard, app):
    scope = connection("/live", kind="websocket", extensions={"websocket.http.response": {}})
    start, body = run(guard, scope)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert body["type"] == "websocket.http.response.body"


def test_a_rule_about_get_is_none_about_websockets(guard, app, issuer):
    assert run(guard, connection("/data", bearer(issuer.token()), kind="websocket"))[0]["type"] == "websocket.close"
    assert app.reached == []


def test_a_websocket_application_may_ask_for_more_before_it_accepts(guard, app, issuer):
    app.raises = InsufficientScope("caller.scope", scope=("delete:data",))
    scope = connection("/live", bearer(issuer.token()), kind="websocket")
    assert run(guard, scope) == [{"type": "websocket.close", "code": 1008}]
    start, _ = run(guard, {**scope, "extensions": {"websocket.http.response": {}}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)


def test_an_open_websocket_is_not_refused(issuer):
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        current_caller().require("delete:data")

    sent = []
    with pytest.raises(InsufficientScope):
        run(Guard(app, issuer.verifier()), connection("/live", bearer(issuer.token()), kind="websocket"), sent)
    assert sent == [{"type": "websocket.accept"}]


@rule("V5")
def test_a_method_that_stands_for_websockets_is_none_of_http(guard, app, issuer):
    assert ask(guard, "/live", bearer(issuer.token()), method="WEBSOCKET").status == 403
    assert app.reached == []


# RFC 9728


@pytest.fixture
def described(app, issuer):
    return Guard(app, issuer.verifier(audience=API), rules=[Rule("/v1/data", ["read:data"])])


@rule("R9728-3-01", "MCP-01")
def test_the_metadata_stands_where_the_resource_is(described, app):
    answer = ask(described, DOCUMENT_PATH)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == {
        "resource": API,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["read:data"],
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "PS256"],
    }
    assert app.reached == []


@rule("R9728-5.1-01", "MCP-01", "MCP-03")
def test_challenges_name_the_metadata(described, issuer):
    assert ask(described, "/v1/data").challenge == {
        "realm": API,
        "scope": "read:data",
        "resource_metadata": DOCUMENT_URL,
    }
    refused = ask(described, "/v1/data", bearer(issuer.token(aud=API, scopes=("other",))))
    assert (refused.status, refused.challenge["resource_metadata"]) == (403, DOCUMENT_URL)
    assert ask(described, "/v1/data", bearer(issuer.token())).challenge["resource_metadata"] == DOCUMENT_URL


def test_the_metadata_is_only_read(described):
    answer = ask(described, DOCUMENT_PATH, method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    head = ask(described, DOCUMENT_PATH, method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_document_may_be_given(app, issuer):
    document = build_resource_metadata(resource=API, authorization_servers=[ISSUER], resource_name="Data")
    guard = Guard(app, issuer.verifier(audience=API), resource_metadata=document)
    assert json.loads(ask(guard, DOCUMENT_PATH).body) == document


@rule("R9728-3.3-01")
@pytest.mark.parametrize(
    "document",
    [
        {"resource": API + "/", "authorization_servers": [ISSUER]},
        {"resource": API, "authorization_servers": ["https://other.example.com"]},
        {"resource": API},
        {"authorization_servers": [ISSUER]},
        {},
    ],
)
def test_a_document_about_something_else_is_refused(app, issuer, document):
    with pytest.raises(BadSettings) as caught:
        Guard(app, issuer.verifier(audience=API), resource_metadata=document)
    assert caught.value.reason == "guard.resource_metadata"


def test_an_api_with_a_plain_name_has_no_document(guard, issuer):
    assert ask(guard, "/.well-known/oauth-protected-resource").status == 401
    assert "resource_metadata" not in ask(guard, "/data").challenge


@pytest.mark.parametrize("realm", ["é", "a\nb"])
def test_a_realm_that_no_header_can_carry_is_refused(app, issuer, realm):
    with pytest.raises(BadSettings) as caught:
        Guard(app, issuer.verifier(), realm=realm)
    assert caught.value.reason == "guard.realm"


def test_a_refusal_is_told_to_the_log_by_its_reason_alone(guard, issuer, caplog):
    caplog.set_level("INFO", "watchword.resource")
    token = issuer.token(aud="other")
    ask(guard, "/data", bearer(token))
    assert [record.getMessage() for record in caplog.records] == ["a request is refused: token.audience"]
    assert token not in caplog.text

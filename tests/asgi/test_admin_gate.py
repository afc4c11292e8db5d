"""What is decided before any route is."""

import json

import httpx2
import pytest
from starlette.exceptions import HTTPException

from tests import rule
from tests.asgi.desk import check_problem
from watchword.asgi.admin_errors import from_http_exception
from watchword.ports.agents import Role
from watchword.protocol.client_secret import SecretKind, generate_secret

pytestmark = pytest.mark.anyio

RESOURCE = {"name": "my-api", "scopes": ["r"]}
JSON = {"content-type": "application/json"}


@pytest.fixture
async def admin(desk):
    async with desk.client() as client:
        yield client


@rule("A8")
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://id.example.evil.example"},
        {"origin": "http://id.example"},
        {"origin": "https://id.example/base"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_is_refused(desk, admin, headers):
    check_problem(await admin.post("/resources", json=RESOURCE, headers=headers), 403, "request.origin")
    assert (desk.last.action, desk.last.reason) == ("admin.request", "request.origin")
    assert await desk.store.resource("my-api") is None


@rule("A8")
async def test_our_own_origin_is_accepted(admin):
    headers = {"origin": "https://id.example", "sec-fetch-site": "same-origin"}
    assert (await admin.post("/resources", json=RESOURCE, headers=headers)).status_code == 201


@rule("A8")
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "application/problem+json",
        "application/jsonp",
        "",
    ],
)
async def test_another_media_type_is_not_parsed(desk, admin, content_type):
    response = await admin.post("/resources", content=json.dumps(RESOURCE), headers={"content-type": content_type})
    check_problem(response, 415, "body.content_type")
    assert await desk.store.resource("my-api") is None


@rule("A8")
async def test_a_body_without_media_type_or_with_two_is_not_parsed(admin):
    body = json.dumps(RESOURCE).encode()
    check_problem(await admin.post("/resources", content=body), 415, "body.content_type")
    twice = [("content-type", "application/json"), ("content-type", "application/json")]
    check_problem(await admin.post("/resources", content=body, headers=twice), 415, "body.content_type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", 'application/json;charset="UTF-8"']
)
async def test_json_is_accepted_in_every_spelling(admin, content_type):
    response = await admin.post("/resources", content=json.dumps(RESOURCE), headers={"content-type": content_type})
    assert response.status_code == 201


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_not_inflated(admin, encoding):
    response = await admin.post("/resources", content=b"x", headers={**JSON, "content-encoding": encoding})
    check_problem(response, 415, "body.content_encoding")


@rule("KF-94")
async def test_a_body_over_the_limit_is_not_read(admin):
    padded = json.dumps(RESOURCE).encode().ljust(65_536)
    check_problem(await admin.post("/resources", content=padded + b" ", headers=JSON), 413, "body.size")

    async def parts():
        for _ in range(3):
            yield b" " * 30_000
        raise AssertionError("read on after the limit")

    check_problem(await admin.post("/resources", content=parts(), headers=JSON), 413, "body.size")
    assert (await admin.post("/resources", content=padded, headers=JSON)).status_code == 201


@rule("KF-94")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "body.json"),
        (b"\xff", "body.json"),
        (b"\xef\xbb\xbf{}", "body.json"),
        (b'{"name": NaN}', "body.json"),
        (b'{"name": -Infinity}', "body.json"),
        (b"{} {}", "body.json"),
        (b"1" * 5000, "body.json"),
        (b'{"name": "a", "name": "b"}', "body.duplicate"),
        (b'{"labels": {"a": "1", "a": "2"}}', "body.duplicate"),
        (b'{"name": "a\\u0000b"}', "body.character"),
        (b'{"a\\u0000": 1}', "body.character"),
        (b'{"name": "\\ud800"}', "body.json"),
        (b'{"name": 1e400}', "body.json"),
        (b"[]", "body.json"),
        (b'"name"', "body.json"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "body.json"),
        (b"[" * 30_000 + b"]" * 30_000, "body.json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "body.json"),
    ],
)
async def test_json_that_two_parsers_might_read_differently_is_refused(desk, admin, body, reason):
    check_problem(await admin.post("/agents", content=body, headers=JSON), 400, reason)
    assert (desk.last.action, desk.last.reason) == ("admin.request", reason)
    assert desk.last.actor.startswith("operator:")
    assert desk.last.details == {"method": "POST", "path": "/admin/v1/agents"}


async def test_text_that_only_looks_like_nul_is_accepted(admin):
    body = rb'{"name": "reader", "purpose": "\\u0000"}'
    assert (await admin.post("/agents", content=body, headers=JSON)).status_code == 201


@rule("A6")
@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("/agents", {"is_admin": True}),
        ("/agents", {"tenant_id": "other"}),
        ("/agents", {"created_at": "2020-01-01T00:00:00Z"}),
        ("/agents", {"secret_hash": "x"}),
        ("/agents", {"client_id": "chosen"}),
        ("/agents", {"state": "active"}),
        ("/agents", {"parent": "reader"}),
        ("/agents", {"grant_types": ["password"]}),
        ("/agents", {"__proto__": {}}),
        ("/resources", {"version": 9}),
        ("/agents/reader/credentials", {"secret_hash": "x"}),
        ("/agents/reader/credentials", {"client_secret": "chosen"}),
        ("/agents/reader/credentials", {"id": "chosen"}),
        ("/agents/reader/permissions", {"client_id": "other"}),
    ],
)
async def test_a_member_that_is_not_the_callers_to_set_is_refused(desk, admin, path, extra):
    bodies = {"agents": {"name": "x"}, "resources": RESOURCE, "credentials": {}}
    body = bodies.get(path.rpartition("/")[2], {"resource": "my-api", "scopes": ["r"]})
    problem = check_problem(await admin.post(path, json={**body, **extra}), 422, "body.unknown")
    assert [one["pointer"] for one in problem["errors"]] == [f"/{name}" for name in extra]
    assert (desk.last.action, desk.last.reason) == ("admin.request", "body.unknown")


@rule("A6")
@pytest.mark.parametrize("extra", [{"name": "new"}, {"client_id": "new"}, {"state": "active"}, {"version": 7}])
async def test_a_change_does_not_reach_other_members(admin, extra):
    await admin.post("/agents", json={"name": "reader"})
    check_problem(await admin.patch("/agents/reader", json=extra), 422, "body.unknown")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": 5}, "/name"),
        ({"name": None}, "/name"),
        ({"name": ["a"]}, "/name"),
        ({}, "/name"),
        ({"name": "a", "pin_auth_method": "yes"}, "/pin_auth_method"),
        ({"name": "a", "labels": {"a": 1}}, "/labels/a"),
        ({"name": "a", "expires_at": 1893456000}, "/expires_at"),
        ({"name": "a", "expires_at": "2030-01-01"}, "/expires_at"),
        ({"name": "a", "expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"name": "a", "expires_at": "2030-13-01T00:00:00Z"}, "/expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"name": "a", "permissions": [{"resource": "x", "scopes": "r"}]}, "/permissions/0/scopes"),
    ],
)
async def test_a_value_of_another_kind_is_pointed_at_and_not_repeated(admin, body, pointer):
    problem = check_problem(await admin.post("/agents", json=body), 422, "body.invalid")
    assert pointer in [one["pointer"] for one in problem["errors"]]


@pytest.mark.parametrize("lifetime", [0, -1, 3601, 10**30, 60.0, "60", True])
async def test_a_lifetime_is_whole_seconds_within_bounds(admin, lifetime):
    response = await admin.post("/resources", json={**RESOURCE, "token_lifetime": lifetime})
    check_problem(response, 422, "body.invalid")


@rule("A7")
@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=0", "limit=501", "limit=1000000000", "limit=x", "limit=1e2", "state=ruling", "limit="]
)
async def test_a_parameter_out_of_bounds_is_refused(admin, query):
    problem = check_problem(await admin.get(f"/agents?{query}"), 400, "query.invalid")
    assert problem["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("query", "reason"),
    [("stat=active", "query.unknown"), ("access_token=x", "query.unknown"), ("limit=1&limit=2", "query.duplicate")],
)
async def test_a_parameter_that_would_be_overlooked_is_refused(admin, query, reason):
    check_problem(await admin.get(f"/agents?{query}"), 400, reason)
    check_problem(await admin.get("/agents/reader?limit=1"), 400, "query.unknown")


@rule("A18")
@pytest.mark.parametrize("name", ["action", "reason", "actor", "client_id", "request_id", "jti"])
@pytest.mark.parametrize(
    "value",
    [
        "' OR '1'='1",
        "1; DROP TABLE events",
        "%",
        "*",
        "{{7*7}}",
        "$ne",
        "*)(uid=*",
        "../../etc/passwd",
        "' UNION SELECT 1--",
    ],
)
async def test_a_filter_is_a_value_and_nothing_more(admin, name, value):
    found = await admin.get("/audit/events", params={name: value})
    assert (found.status_code, found.json()) == (200, {"items": []})


@rule("A18")
@pytest.mark.parametrize(
    "params",
    [
        {"action": "a\x00"},
        {"actor": "a\r\nb"},
        {"after": -1},
        {"after": 2**63},
        {"outcome": "maybe"},
        {"jti": "x" * 257},
    ],
)
async def test_a_filter_that_is_none_is_refused(admin, params):
    response = await admin.get("/audit/events", params=params)
    assert response.status_code in (400, 422)
    check_problem(response, response.status_code, response.json()["reason"])


@rule("A14")
async def test_a_method_that_a_path_does_not_take_is_refused(admin):
    response = await admin.put("/agents", json={})
    check_problem(response, 405, "request.method")
    assert "allow" in response.headers
    for method in ("TRACE", "CONNECT", "FROB", "HEAD", "OPTIONS"):
        assert (await admin.request(method, "/agents")).status_code == 405
    check_problem(
        await admin.post("/agents/reader/permissions/x", headers={"x-http-method-override": "DELETE"}),
        405,
        "request.method",
    )


def test_what_the_framework_refuses_otherwise_is_a_problem_too():
    assert from_http_exception(HTTPException(418)).reason == "request.malformed"


@rule("A11", "KF-101")
async def test_no_answer_opens_the_api_to_other_pages(desk, admin):
    for response in (await admin.get("/agents"), await admin.options("/agents"), await admin.get("/openapi.json")):
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_only_our_own_host_leads_here(desk):
    async with desk.client(hosts=frozenset({"id.example"})) as admin:
        assert (await admin.get("/agents")).status_code == 200
        check_problem(await admin.get("/agents", headers={"host": "evil.example"}), 400, "request.host")


async def test_a_header_from_nobody_we_trust_does_not_name_the_peer(desk, admin):
    await admin.get("/agents/nobody", headers={"x-forwarded-for": "203.0.113.9"})
    assert desk.last.peer == "192.0.2.7"


async def test_every_request_has_a_name_of_its_own_that_the_trail_knows(desk, admin):
    names = set()
    for _ in range(3):
        response = await admin.get("/agents/nobody", headers={"x-request-id": "mine"})
        assert desk.last.request_id == response.headers["x-request-id"] == response.json()["trace_id"]
        names.add(desk.last.request_id)
    assert len(names) == 3


@rule("S13")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_store_that_is_down_is_503_and_never_a_guess(desk, admin, method):
    desk.store.is_down = True
    response = await admin.request(method, "/resources", json=RESOURCE if method == "POST" else None)
    check_problem(response, 503, "server.unavailable")
    assert response.headers["retry-after"] == "1"


@rule("S13", "U5")
async def test_a_store_that_fails_in_the_middle_is_503_and_nothing_is_done(desk, admin):
    for _ in range(2):
        desk.store.fail_next(commits=1)
        check_problem(await admin.post("/resources", json=RESOURCE), 503, "server.unavailable")
        assert await desk.store.resource("my-api") is None
    assert (await admin.post("/resources", json=RESOURCE)).status_code == 201


@rule("U5")
@pytest.mark.parametrize(
    ("path", "headers"), [("/agents/nobody", {}), ("/nowhere", {}), ("/agents", {"origin": "null"})]
)
async def test_a_refusal_that_cannot_be_recorded_is_503(desk, admin, path, headers):
    desk.store.fail_next(commits=1)
    check_problem(await admin.get(path, headers=headers), 503, "server.unavailable")


async def test_an_export_of_a_store_that_fails_is_503_before_the_first_byte(desk, admin):
    desk.store.fail_next(commits=1)
    check_problem(await admin.get("/audit/export"), 503, "server.unavailable")


class Broken(Exception):
    pass


async def test_a_bug_is_503_tells_nothing_and_is_logged_without_what_was_sent(desk, admin, capsys):
    async def broken(name):
        raise Broken(f"canary {name}")

    desk.store.resource = broken
    response = await admin.get("/resources/canary-name")
    check_problem(response, 503, "server.unavailable")
    logged = capsys.readouterr()
    assert "canary" not in response.text + logged.out + logged.err
    assert "Broken" in logged.out + logged.err


async def test_an_export_that_breaks_off_does_not_look_complete(desk, admin):
    read = desk.store.events

    async def break_off(**members):
        if members.get("after"):
            raise Broken
        return (await read(**members))[:1]

    desk.store.events = break_off
    await admin.post("/resources", json=RESOURCE)
    with pytest.raises(Broken):
        await read_through(desk, admin)


async def read_through(desk, admin):
    async with admin.stream("GET", "/audit/export") as response:
        async for _ in response.aiter_raw():
            pass


@rule("U4", "KF-95")
async def test_a_secret_sent_where_none_belongs_is_repeated_nowhere(desk, admin, capsys):
    canary = generate_secret(SecretKind.CLIENT)
    token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
    answers = []
    for text in (canary, token):
        answers += [
            await admin.get(f"/agents/{text}"),
            await admin.get(f"/{text}"),
            await admin.get("/agents", params={"state": text}),
            await admin.get("/agents", params={text: "1"}),
            await admin.get("/agents", params={"cursor": text}),
            await admin.post("/agents", json={"name": text}),
            await admin.post("/agents", json={text: 1}),
            await admin.post("/agents", json={"name": "x", "purpose": f"use {text}"}),
            await admin.post("/agents", json={"name": "x", "labels": {text: text}}),
            await admin.post("/agents", json={"name": "x", "expires_at": text}),
            await admin.post("/agents", json={"name": "x", "permissions": [{"resource": text, "scopes": [text]}]}),
            await admin.post("/resources", json={"name": "x", "scopes": ["r"], "identifier": f"{text}#"}),
            await admin.post("/agents", content=text, headers=JSON),
            await admin.get("/agents", headers={"authorization": f"Bearer {text}"}),
            await admin.patch("/agents/x", json={}, headers={"if-match": text}),
        ]
    assert all(one.is_client_error for one in answers)
    trail = b"".join(event.canonical_bytes() for event in desk.store.trail).decode()
    logged = capsys.readouterr()
    for text in (canary, token):
        assert text not in trail + logged.out + logged.err
        assert not [one.request.url for one in answers if text in one.text]


async def test_a_client_that_leaves_is_not_answered(desk):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", f"Bearer {desk.tokens[Role.ADMIN]}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/admin/v1/agents", "query_string": b"", "headers": headers}
    await desk.app()(scope, receive, send)
    assert sent == []


async def test_a_websocket_is_closed(desk):
    sent = []

    async def send(message):
        sent.append(message)

    await desk.app()({"type": "websocket", "path": "/admin/v1/agents", "headers": []}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_root_path_does_not_move_the_routes(desk):
    transport = httpx2.ASGITransport(app=desk.app(), root_path="/admin")
    headers = {"authorization": f"Bearer {desk.tokens[Role.VIEWER]}"}
    async with httpx2.AsyncClient(
        transport=transport, base_url="https://id.example/admin/v1", headers=headers
    ) as client:
        assert (await client.get("/agents")).status_code == 200

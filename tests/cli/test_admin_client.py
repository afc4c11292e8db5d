from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from tests import rule
from watchword.cli.admin_client import AdminClient, open_remote
from watchword.cli.exits import CommandError, ExitCode

PROBLEM = {
    "type": "urn:watchword:problem:agent.missing",
    "title": "Not found",
    "status": 404,
    "detail": "There is no agent with this client_id or name.",
    "reason": "agent.missing",
    "trace_id": "abc123",
}


def _ask(answer, *path: str, method: str = "get", **arguments):
    """Call the client once on a server that answers every request with ``answer``; return what came and what was sent."""
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    async def call():
        base = "https://auth.example.com/admin/v1"
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle), base_url=base) as client:
            admin = AdminClient(client, place="https://auth.example.com")
            return await getattr(admin, method)(*path, **arguments)

    return asyncio.run(call()), seen


def _refused(answer, *path: str, **arguments) -> CommandError:
    with pytest.raises(CommandError) as caught:
        _ask(answer, *path, **arguments)
    return caught.value


def test_an_object_is_returned_as_it_came():
    value, seen = _ask(httpx2.Response(200, json={"name": "my-api"}), "resources", "my-api")
    assert value == {"name": "my-api"}
    assert str(seen[0].url) == "https://auth.example.com/admin/v1/resources/my-api"


def test_a_name_cannot_leave_its_place_in_the_path():
    _, seen = _ask(httpx2.Response(200, json={}), "agents", "../resources?x#y", "suspend", method="post")
    assert seen[0].url.raw_path == b"/admin/v1/agents/..%2Fresources%3Fx%23y/suspend"


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "a\udcffb"])
def test_a_name_that_the_path_would_swallow_or_cannot_hold_is_refused(name):
    assert _refused(httpx2.Response(200, json={}), "agents", name).code is ExitCode.USAGE


def test_a_change_is_made_only_to_the_version_that_was_read():
    _, seen = _ask(httpx2.Response(200, json={}), "agents", "a", method="patch", body={"owner": "me"}, version=3)
    assert seen[0].headers["if-match"] == '"3"'
    assert json.loads(seen[0].content) == {"owner": "me"}


def test_a_list_is_read_page_after_page():
    pages = {None: {"items": [{"n": 1}], "next_cursor": "c1"}, "c1": {"items": [{"n": 2}]}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=pages[request.url.params.get("cursor")])

    value, seen = _ask(answer, "agents", method="pages", query={"state": "active"})
    assert value == [{"n": 1}, {"n": 2}]
    assert [dict(request.url.params) for request in seen] == [
        {"limit": "100", "state": "active"},
        {"limit": "100", "state": "active", "cursor": "c1"},
    ]


@rule("DR-16")
def test_a_problem_is_told_in_the_servers_words_with_its_trace_id():
    error = _refused(httpx2.Response(404, json=PROBLEM), "agents", "x")
    assert (error.code, error.sentence, error.reason, error.trace_id) == (
        ExitCode.MISSING,
        "Not found: There is no agent with this client_id or name.",
        "agent.missing",
        "abc123",
    )


def test_the_members_that_do_not_fit_are_named():
    problem = {**PROBLEM, "status": 422, "errors": [{"pointer": "/scopes/0", "detail": "a string is wanted"}]}
    error = _refused(httpx2.Response(422, json=problem), "agents", "x")
    assert error.code is ExitCode.USAGE
    assert "/scopes/0: a string is wanted" in error.sentence


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx2.ConnectError("refused"), ExitCode.UNREACHABLE),
        (httpx2.ReadTimeout("slow"), ExitCode.UNREACHABLE),
        (httpx2.Response(502, text="<html>"), ExitCode.UNREACHABLE),
        (httpx2.Response(404, text="<html>"), ExitCode.ERROR),
        (httpx2.Response(401, json={}), ExitCode.ERROR),
        (httpx2.DecodingError("not gzip"), ExitCode.UNREACHABLE),
        (httpx2.Response(302, headers={"location": "https://evil.example"}), ExitCode.ERROR),
        (httpx2.Response(200, text="hello"), ExitCode.ERROR),
        (httpx2.Response(200, json=[1]), ExitCode.ERROR),
    ],
    ids=["refused", "timeout", "502", "404", "401", "decoding", "redirect", "no_json", "no_object"],
)
def test_what_is_no_answer_of_an_admin_api_has_its_code(answer, code):
    error = _refused(answer, "agents")
    assert error.code is code
    assert error.sentence


@rule("A16")
def test_the_credential_travels_in_its_header_alone():
    async def headers():
        async with open_remote("https://auth.example.com/", "wwo_secret") as admin:
            request = admin._client.build_request("GET", "/agents")
            return str(request.url), dict(request.headers)

    url, sent = asyncio.run(headers())
    assert url == "https://auth.example.com/admin/v1/agents"
    assert [name for name, value in sent.items() if "wwo_secret" in value] == ["authorization"]


def test_lines_are_given_as_they_come():
    async def collect():
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, text='{"a":1}\n{"b":2}\n'))
        async with httpx2.AsyncClient(transport=transport, base_url="https://x/admin/v1") as client:
            return [line async for line in AdminClient(client, place="x").lines("audit", "export")]

    assert asyncio.run(collect()) == ['{"a":1}', '{"b":2}']


def test_lines_that_are_refused_are_a_refusal():
    async def collect():
        transport = httpx2.MockTransport(lambda _: httpx2.Response(403, json={**PROBLEM, "status": 403}))
        async with httpx2.AsyncClient(transport=transport, base_url="https://x/admin/v1") as client:
            return [line async for line in AdminClient(client, place="x").lines("audit", "export")]

    with pytest.raises(CommandError) as caught:
        asyncio.run(collect())
    assert caught.value.code is ExitCode.DENIED

"""The token of a request: from the Authorization header, whatever framework brings it."""

from __future__ import annotations

from email.message import Message
from types import SimpleNamespace

import httpx2
import pytest
import requests
from starlette.datastructures import Headers
from starlette.requests import Request
from werkzeug.datastructures import EnvironHeaders
from werkzeug.wrappers import Request as WerkzeugRequest

from tests import rule
from watchword.errors import InvalidRequest, InvalidToken
from watchword.resource.credentials import find_token


def scope(*headers: tuple[bytes, bytes], **more: object) -> dict[str, object]:
    return {"type": "http", "headers": list(headers), "query_string": b"", **more}


def environment(**more: str) -> dict[str, object]:
    return {"wsgi.version": (1, 0), "REQUEST_METHOD": "GET", "PATH_INFO": "/", **more}


def reason_of(request) -> str:
    with pytest.raises((InvalidToken, InvalidRequest)) as caught:
        find_token(request)
    return caught.value.reason


def email_headers() -> Message:
    message = Message()
    message["Authorization"] = "Bearer abc"
    return message


GOOD = {
    "ASGI scope": scope((b"host", b"x"), (b"authorization", b"Bearer abc")),
    "ASGI scope, upper case": scope((b"Authorization", b"Bearer abc")),
    "ASGI scope, pairs in a tuple": {"type": "http", "headers": ((b"authorization", b"Bearer abc"),)},
    "websocket scope": scope((b"authorization", b"Bearer abc"), type="websocket"),
    "Starlette request": Request(scope((b"authorization", b"Bearer abc"))),
    "Starlette headers": Headers({"authorization": "Bearer abc"}),
    "httpx2 request": httpx2.Request("GET", "https://x", headers={"Authorization": "Bearer abc"}),
    "httpx2 headers": httpx2.Headers({"Authorization": "Bearer abc"}),
    "requests": requests.Request("GET", "https://x", headers={"Authorization": "Bearer abc"}).prepare(),
    "werkzeug": SimpleNamespace(headers=EnvironHeaders({"HTTP_AUTHORIZATION": "Bearer abc"})),
    "WSGI environment": environment(HTTP_AUTHORIZATION="Bearer abc"),
    "werkzeug request": WerkzeugRequest(environment(HTTP_AUTHORIZATION="Bearer abc")),
    "http.server": SimpleNamespace(headers=email_headers()),
    "plain mapping": {"Authorization": "Bearer abc"},
    "mapping of lists": {"authorization": ["Bearer abc"]},
    "mapping of bytes": {b"authorization": b"Bearer abc"},
    "pairs": SimpleNamespace(headers=[(b"authorization", b"Bearer abc")]),
}


@rule("R6750-2-01")
@pytest.mark.parametrize("request_", GOOD.values(), ids=GOOD)
def test_a_bearer_token_is_found(request_):
    assert find_token(request_)[1] == "abc"


def test_headers_that_are_named_like_members_of_a_scope_change_nothing():
    assert find_token({"type": "http", "headers": "x", "authorization": "Bearer abc"})[1] == "abc"


@rule("R6750-2-01", "TRAP-11")
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(scheme):
    assert find_token({"authorization": f"{scheme} abc"})[1] == "abc"


@rule("V1", "R6750-3-01", "R6750-2-02")
@pytest.mark.parametrize(
    "request_",
    [
        scope(),
        environment(),
        environment(HTTP_X_AUTHORIZATION="Bearer abc", AUTHORIZATION="Bearer abc", QUERY_STRING="access_token=abc"),
        {"HTTP_AUTHORIZATION": "Bearer abc", "wsgi.version": "(1, 0)"},
        WerkzeugRequest(environment()),
        scope(query_string=b"access_token=abc"),
        scope((b"x-authorization", b"Bearer abc")),
        scope((b"authorization_", b"Bearer abc")),
        scope((b"proxy-authorization", b"Bearer abc")),
        scope((b"cookie", b"access_token=abc")),
        {"type": "http"},
        {},
        {"access_token": "abc"},
    ],
)
def test_a_token_elsewhere_is_none(request_):
    assert reason_of(request_) == "token.missing"


@rule("V1", "R9449-7.2-01")
@pytest.mark.parametrize("value", ["Basic YTpi", "DPoPx abc", "Token abc", "Bearerx abc"])
def test_credentials_of_another_scheme_are_none_of_ours(value):
    assert reason_of({"authorization": value}) == "token.scheme"


@rule("V1", "R6750-2-03", "TRAP-11")
@pytest.mark.parametrize(
    "request_",
    [
        scope((b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")),
        scope((b"authorization", b"Bearer a"), (b"Authorization", b"Basic YTpi")),
        Request(scope((b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"))),
        {"authorization": ["Bearer a", "Bearer b"]},
        {"authorization": "Bearer a", "Authorization": "Bearer b"},
    ],
)
def test_two_headers_are_refused(request_):
    assert reason_of(request_) == "authorization.several"


@rule("V1", "R6750-3-02", "TRAP-11")
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Bearer\tabc",
        " Bearer abc",
        "Bearer abc ",
        "Bearer a b",
        "Bearer a,Bearer b",
        "Bearer a, Bearer b",
        'Bearer "abc"',
        "Bearer ab\x00c",
        "Bearer \u00e9",
        "Bearer \u20ac",
        "abc",
        "Bearer abc\r\nX: y",
    ],
)
def test_a_malformed_header_is_refused(value):
    assert reason_of({"authorization": value}) == "authorization.syntax"


def test_what_has_no_headers_is_a_defect_and_not_a_request_without_a_token():
    with pytest.raises(TypeError):
        find_token(SimpleNamespace(headers=None))

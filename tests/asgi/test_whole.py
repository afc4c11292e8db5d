"""An answer in one piece is, byte for byte, the answer that uvicorn sends in two."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from watchword.asgi.messages import WHOLE, Response, Scope, send_response
from watchword.asgi.whole import render, send_whole

CLOSE = (b"connection", b"close")


@dataclass
class Wire:
    """A transport that remembers."""

    sent: bytes = b""
    writes: int = 0
    is_closed: bool = False
    answered: list[bool] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def _cycle(wire: Wire, method: str, *, keep_alive: bool) -> RequestResponseCycle:
    scope: Scope = {"type": "http", "method": method, "http_version": "1.1"}
    transport = cast("asyncio.Transport", wire)
    return RequestResponseCycle(
        scope=cast("Any", scope),
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[(b"date", b"Tue, 24 Nov 2026 00:00:00 GMT")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: wire.answered.append(True),
    )


def _answer(response: Response, method: str, *, keep_alive: bool, is_whole: bool) -> Wire:
    wire = Wire()
    cycle = _cycle(wire, method, keep_alive=keep_alive)
    scope: Scope = {"method": method}
    if is_whole:
        scope["extensions"] = {WHOLE: {"send": partial(send_whole, cycle)}}
    asyncio.run(send_response(scope, cast("Any", cycle.send), response))
    assert (cycle.response_started, cycle.response_complete, cycle.message_event.is_set()) == (True, True, True)
    return wire


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize(
    "response",
    [
        Response(200, b'{"a":1}', ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))),
        Response(401, b"{}", ((b"www-authenticate", b'Basic realm="watchword"'),)),
        Response(413, b"{}", (CLOSE,)),
        Response(204),
        Response(304, b"", ((b"etag", b'"x"'),)),
    ],
)
def test_the_bytes_are_the_same(response: Response, method: str, keep_alive: bool) -> None:
    whole = _answer(response, method, keep_alive=keep_alive, is_whole=True)
    apart = _answer(response, method, keep_alive=keep_alive, is_whole=False)
    assert whole.sent == apart.sent
    assert (whole.is_closed, whole.answered) == (apart.is_closed, apart.answered)
    assert whole.writes == 1


def test_for_a_client_that_has_left_nothing_is_sent() -> None:
    async def leave() -> Wire:
        wire = Wire()
        cycle = _cycle(wire, "POST", keep_alive=True)
        cycle.disconnected = True
        await send_whole(cycle, 200, (), b"x")
        return wire

    assert asyncio.run(leave()).sent == b""


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_that_breaks_out_of_its_line_is_not_sent(value: bytes) -> None:
    with pytest.raises(RuntimeError):
        render(200, ((b"x", value),), b"")
    assert render(200, ((b"x", b"a"),), b"b") == b"HTTP/1.1 200 OK\r\nx: a\r\n\r\nb"

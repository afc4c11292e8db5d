"""Refused unread: only what is a request for a token to its last byte in everybody's eyes, while it is crowded. ABUSE E6."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests import rule
from watchword.asgi.listeners import Listener, Orders, serve
from watchword.asgi.messages import Receive, Response, Scope, Send, read_body, send_response
from watchword.asgi.overload import Slots
from watchword.asgi.shedding import PERIOD_SECONDS, Shedding
from watchword.asgi.sockets import bind
from watchword.errors import Overloaded
from watchword.testing.clock import FrozenClock

pytestmark = pytest.mark.anyio

FEW, ALL = 2, 16
BODY = b"grant_type=client_credentials"
HEAD = b"POST /oauth/token HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nContent-Length: 29\r\n"
WHOLE = HEAD + b"\r\n" + BODY


@dataclass
class Asker:
    asked_in: int = 0


@dataclass
class Scene:
    """Slots that were not enough, all taken that are given out now."""

    refused: int = 0
    seconds: float = 0.0
    slots: Slots = field(init=False)
    shedding: Shedding = field(init=False)
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.slots = Slots("concurrent_requests", ALL, FrozenClock(), self._count, few=FEW)
        self.shedding = Shedding(self.slots, b"/oauth/token", now=lambda: self.seconds)

    def _count(self, _limit: str) -> None:
        self.refused += 1

    def overload(self) -> None:
        with ExitStack() as stack:
            for _ in range(ALL):
                stack.enter_context(self.slots)
            with pytest.raises(Overloaded), self.slots:
                pytest.fail("let in")
        self.refused = 0

    def fill(self) -> None:
        for _ in range(FEW):
            self.stack.enter_context(self.slots)

    def ask(self, data: bytes = WHOLE, asker: Asker | None = None) -> bytes:
        return self.shedding.refusal(data, asker or Asker())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def full(scene: Scene) -> Scene:
    scene.overload()
    scene.fill()
    return scene


@rule("E6")
async def test_the_answer_says_when_to_come_again_and_leaves_the_connection_open(full: Scene) -> None:
    head, _, body = full.ask().partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 503 service unavailable"
    assert {b"retry-after: 1", b"cache-control: no-store", b"content-type: application/json"} <= set(lines)
    assert b"content-length: %d" % len(body) in lines
    assert not any(line.startswith(b"connection:") for line in lines)
    assert json.loads(body)["error"] == "temporarily_unavailable"
    assert full.refused == 1


async def test_nobody_is_refused_unread_while_places_were_enough(scene: Scene) -> None:
    scene.fill()
    assert scene.ask() == b""
    assert scene.refused == 0


async def test_as_many_are_let_in_as_there_are_places_before_any_has_taken_one(scene: Scene) -> None:
    scene.overload()
    assert [scene.ask() == b"" for _ in range(5)] == [True] * FEW + [False] * 3
    await asyncio.sleep(0)
    assert [scene.ask() == b"" for _ in range(3)] == [True] * FEW + [False]


@rule("E6", "T20")
@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:-1],
        WHOLE + b"G",
        WHOLE + WHOLE,
        HEAD,
        HEAD + b"Content-Length: 29\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"Transfer_Encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + BODY,
        HEAD + b"X: a\r\n b: c\r\n\r\n" + BODY,
        HEAD + b"X: a\nContent-Length: 5\r\n\r\n" + BODY,
        HEAD + b"X: a\rContent-Length: 5\r\n\r\n" + BODY,
        HEAD + b"X: \x00\r\n\r\n" + BODY,
        HEAD + b"X: caf\xe9\r\n\r\n" + BODY,
        HEAD + b"Host: other\r\n\r\n" + BODY,
        HEAD + b"Connection: close\r\n\r\n" + BODY,
        HEAD + b"Expect: 100-continue\r\n\r\n" + BODY,
        HEAD + b"Upgrade: h2c\r\n\r\n" + BODY,
        WHOLE.replace(b"Content-Length: 29", b"Content-Length: +29"),
        WHOLE.replace(b"Content-Length: 29", b"Content-Length: 29, 29"),
        WHOLE.replace(b"Content-Length: 29\r\n", b""),
        WHOLE.replace(b"Host: h\r\n", b""),
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE.replace(b"POST ", b"GET "),
        WHOLE.replace(b"/oauth/token", b"/admin/v1/agents"),
        WHOLE.replace(b"/oauth/token", b"/oauth/token?x"),
        WHOLE.replace(b"\r\n", b"\n"),
        b"",
    ],
)
async def test_whatever_is_anything_else_is_read(full: Scene, data: bytes) -> None:
    assert full.ask(data) == b""
    assert full.refused == 0
    assert full.ask() != b""


async def test_few_who_ask_again_and_again_are_all_let_in_after_a_period(full: Scene) -> None:
    askers = [Asker() for _ in range(ALL)]
    for _ in range(5):
        assert all(full.ask(asker=asker) for asker in askers)
    full.seconds += PERIOD_SECONDS
    assert not any(full.ask(asker=asker) for asker in askers)
    assert not full.slots.is_crowded


async def test_more_than_there_are_places_are_not(full: Scene) -> None:
    askers = [Asker() for _ in range(ALL + 1)]
    for _ in range(5):
        assert all(full.ask(asker=asker) for asker in askers)
        full.seconds += PERIOD_SECONDS


async def test_a_period_that_nobody_saw_the_end_of_says_nothing(full: Scene) -> None:
    assert full.ask() != b""
    full.seconds += 2 * PERIOD_SECONDS
    assert full.ask() != b""


@asynccontextmanager
async def listening(scene: Scene) -> AsyncIterator[int]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, 65_536)
        await send_response(scope, send, Response(200, b"read " + body))

    stop = asyncio.Event()
    door = bind("127.0.0.1", 0)
    port: int = door.getsockname()[1]
    ready = asyncio.Event()
    listener = Listener(application, door, version=lambda: 1, refusal=scene.shedding.refusal)
    serving = asyncio.create_task(serve((listener,), ready=ready.set, orders=Orders(signals=()), stopped=stop))
    await ready.wait()
    try:
        yield port
    finally:
        stop.set()
        await serving


@rule("E6")
async def test_a_connection_is_refused_and_let_in_in_turn(full: Scene) -> None:
    async with listening(full) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def ask(data: bytes) -> bytes:
            writer.write(data)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head[9:12] + b" " + await reader.readexactly(length)

        operators = WHOLE.replace(b"/oauth/token", b"/admin/v1/agents")
        for _ in range(3):
            assert (await ask(WHOLE)).startswith(b"503 {")
            assert await ask(operators) == b"200 read " + BODY
            full.stack.close()
            full.slots.give_all()
            assert await ask(WHOLE) == b"200 read " + BODY
            full.overload()
            full.fill()
        writer.close()
        await writer.wait_closed()

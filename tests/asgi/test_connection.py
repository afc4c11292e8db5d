"""What one connection may take, and in which order it is answered: our listener on a real socket, small bounds."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests import rule
from watchword.asgi.bounds import Bounds
from watchword.asgi.connection import Connection
from watchword.asgi.listeners import Listener, Orders, serve
from watchword.asgi.messages import ClientLeft, Receive, Response, Scope, Send, read_body, send_response
from watchword.asgi.sockets import bind

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"
EMPTY = HEAD + b"Content-Length: 0\r\n\r\n"
SHORT = Bounds(header_timeout=0.5, body_timeout=0.5, keep_alive_timeout=0.5, write_timeout=0.5)
SECONDS = 20

pytestmark = pytest.mark.anyio

Talk = Callable[[bytes], Awaitable[bytes]]


@dataclass
class Scene:
    """A listener and what reached its application."""

    port: int = 0
    refused: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    left: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, 65_536)
        except ClientLeft:
            self.left += 1
            return
        self.bodies.append(body)
        await self.may_answer.wait()
        answer = bytes(4_000_000) if scope["path"] == "/large" else b"<%d>" % len(self.bodies)
        await send_response(scope, send, Response(200, answer))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, which ends with the scene."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def talk(self, raw: bytes) -> bytes:
        """Send bytes; return all that comes back until the other side closes."""
        reader, writer = await self.connect()
        writer.write(raw)
        return await asyncio.wait_for(reader.read(), SECONDS)

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def listening(bounds: Bounds, *, answers: bool = True) -> AsyncIterator[Scene]:
    scene, listener, stop, ready = Scene(), bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    scene.port = listener.getsockname()[1]
    if answers:
        scene.may_answer.set()

    def tick(connections: int) -> None:
        scene.open = connections

    orders = Orders(bounds=bounds, signals=(), tick=tick, count_refused=scene.refused.append, drain_seconds=5)
    serving = asyncio.create_task(
        serve([Listener(scene.application, listener)], ready=ready.set, orders=orders, stopped=stop)
    )
    try:
        await ready.wait()
        yield scene
    finally:
        scene.may_answer.set()
        await scene.close()
        stop.set()
        await serving


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@rule("E1", "E2", "T19")
@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (b"POST / HT", 408, "head_late"),
        (HEAD, 408, "head_late"),
        (HEAD + b"X: a", 408, "head_late"),
        (HEAD + b"Content-Length: 5\r\n\r\nhel", 408, "body_late"),
        (HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", 408, "body_late"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 408, "body_late"),
    ],
)
async def test_what_does_not_come_to_its_end_is_closed(raw: bytes, status: int, reason: str) -> None:
    async with listening(SHORT) as scene:
        received = await scene.talk(raw)
        assert statuses(received)[-1] == status
        assert b"100 Continue" in received or len(statuses(received)) == 1
        assert scene.refused == [reason]
        assert scene.bodies == []
        assert statuses(await scene.talk(EMPTY)) == [200]


@rule("E2")
@pytest.mark.parametrize("before", [b"", EMPTY])
async def test_a_connection_that_is_not_used_is_closed_without_a_word(before: bytes) -> None:
    async with listening(SHORT) as scene:
        assert statuses(await scene.talk(before)) == ([200] if before else [])
        assert scene.refused == []


@rule("E2")
async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async with listening(SHORT) as scene:
        _, writer = await scene.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            while not scene.bodies or scene.open:
                await asyncio.sleep(0.01)


@rule("E1")
async def test_a_byte_now_and_then_does_not_buy_time() -> None:
    async with listening(SHORT) as scene:
        reader, writer = await scene.connect()
        writer.write(HEAD + b"X: ")
        answer = asyncio.create_task(reader.read())
        async with asyncio.timeout(SECONDS):
            while not answer.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)
        assert statuses(await answer) == [408]


@rule("E3")
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"a" * 500_000, 414),
        (HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8192) for number in range(100)) + b"\r\n", 431),
        (HEAD + b"X: " + b"a" * 1_048_576 + b"\r\n\r\n", 431),
        (HEAD + b"X: " + b"a" * 1_048_576, 431),
        (HEAD + b"a" * 1_048_576 + b": x\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(65)) + b"\r\n", 431),
    ],
)
async def test_a_head_or_url_beyond_all_measure_is_refused(raw: bytes, status: int) -> None:
    async with listening(Bounds()) as scene:
        received = await scene.talk(raw)
        assert statuses(received) == [status]
        assert b"connection: close" in received
        assert scene.bodies == []


@rule("E3")
async def test_a_head_and_url_within_measure_are_served() -> None:
    url = b"/" + b"a" * 8000
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 480) for number in range(60))
    async with listening(Bounds()) as scene:
        received = await scene.talk(
            b"GET " + url + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + headers + b"\r\n"
        )
        assert statuses(received) == [200]


@rule("E4")
async def test_requests_sent_ahead_are_answered_in_order_and_few_are_kept() -> None:
    last = HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    async with listening(Bounds(pipelined=16), answers=False) as scene:
        talking = asyncio.create_task(scene.talk(EMPTY * 9_999 + last))
        async with asyncio.timeout(SECONDS):
            while not scene.bodies:
                await asyncio.sleep(0.01)
        waiting = max(len(one.pipeline) for one in gc.get_objects() if isinstance(one, Connection))
        assert 16 <= waiting < 16 + 4096 // len(EMPTY)
        scene.may_answer.set()
        received = await talking
    assert re.findall(rb"<[0-9]+>", received) == [b"<%d>" % number for number in range(1, 10_001)]


@rule("E4")
async def test_a_body_behind_many_requests_is_read_when_its_turn_has_come() -> None:
    body = bytes(60_000)
    with_body = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with listening(Bounds(pipelined=2)) as scene:
        received = await scene.talk(EMPTY * 500 + with_body)
        assert statuses(received) == [200] * 501
        assert scene.bodies[-1] == body


@rule("KF-113")
@pytest.mark.parametrize(
    "wrong",
    [
        b"nonsense\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    ],
)
@pytest.mark.parametrize("before", [1, 2, 3])
async def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(wrong: bytes, before: int) -> None:
    async with listening(Bounds(), answers=False) as scene:
        talking = asyncio.create_task(scene.talk(EMPTY * before + wrong))
        async with asyncio.timeout(SECONDS):
            while not scene.refused:
                await asyncio.sleep(0.01)
        scene.may_answer.set()
        assert statuses(await talking) == [200] * before + [400]
        assert scene.bodies == [b""] * before


async def test_a_body_that_breaks_off_is_no_request() -> None:
    async with listening(Bounds()) as scene:
        assert statuses(await scene.talk(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")) == [400]
        async with asyncio.timeout(SECONDS):
            while not scene.left:
                await asyncio.sleep(0.01)
        assert scene.bodies == []


async def test_who_has_said_all_still_gets_the_answer() -> None:
    async with listening(Bounds(), answers=False) as scene:
        reader, writer = await scene.connect()
        writer.write(EMPTY)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            while not scene.bodies:
                await asyncio.sleep(0.01)
        scene.may_answer.set()
        assert statuses(await asyncio.wait_for(reader.read(), SECONDS)) == [200]


@rule("E2")
async def test_one_connection_too_many_is_told_at_once_and_the_others_are_served() -> None:
    async with listening(Bounds(connections=3)) as scene:
        held = [await scene.connect() for _ in range(3)]
        async with asyncio.timeout(SECONDS):
            while scene.open < 3:
                await asyncio.sleep(0.01)
        received = await scene.talk(b"")
        assert statuses(received) == [503]
        assert b"retry-after: 1\r\n" in received
        assert scene.refused == ["full"]
        reader, writer = held[0]
        writer.write(EMPTY)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _, each in held:
            each.close()
        async with asyncio.timeout(SECONDS):
            while scene.open:
                await asyncio.sleep(0.01)
        assert statuses(await scene.talk(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n")) == [200]

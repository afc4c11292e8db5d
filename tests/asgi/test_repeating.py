"""An answer is given again only to the very same request, at a place where a request begins: our listener on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import uvicorn

from tests import rule
from watchword.asgi.bounds import Bounds
from watchword.asgi.listeners import Listener, Orders, serve
from watchword.asgi.messages import Receive, Response, Scope, Send, read_body, send_response
from watchword.asgi.repeating import RepeatingConnection, RepeatingReception
from watchword.asgi.shared_answers import SharedAnswers
from watchword.asgi.sockets import bind
from watchword.errors import StoreUnavailable

KEYS = b"GET /keys HTTP/1.1\r\nHost: h\r\n\r\n"
PUBLIC = ((b"cache-control", b"public, max-age=300"),)
SECONDS = 20

pytestmark = pytest.mark.anyio


@dataclass
class Scene:
    """A listener whose answers are numbered: ``<2 GET /keys body>`` is the second that the application gave."""

    port: int = 0
    given: int = 0
    version: int = 1
    is_broken: bool = False
    is_dated: bool = False
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def current_version(self) -> int:
        if self.is_broken:
            raise StoreUnavailable("store.io")
        return self.version

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_early = scope["path"] == "/early"
        body = b"" if is_early else await read_body(scope, receive, 65_536)
        self.given += 1
        text = b"<%d %s %s %s>" % (self.given, scope["method"].encode(), scope["raw_path"], body)
        await self.may_answer.wait()
        status = 304 if any(name == b"if-none-match" for name, _ in scope["headers"]) else 200
        headers = () if scope["path"] == "/private" else PUBLIC
        answer = Response(status, b"" if status == 304 else text, ((b"x-number", b"%d" % self.given), *headers))
        await send_response(scope, send, answer)

    async def connect(self) -> Talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return Talk(reader, writer)


@dataclass
class Talk:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *packets: bytes) -> None:
        """Send packets, each after the one before has been read."""
        for packet in packets:
            self.writer.write(packet)
            await self.writer.drain()
            await asyncio.sleep(0.02)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)

    async def answer(self) -> bytes:
        """Return the text of the next answer."""
        await self.head()
        return await asyncio.wait_for(self.reader.readuntil(b">"), SECONDS)

    async def ask(self, *packets: bytes) -> bytes:
        await self.send(*packets)
        return await self.answer()


@asynccontextmanager
async def listening(bounds: Bounds | None = None) -> AsyncIterator[Scene]:
    scene, ready, bound = Scene(), asyncio.Event(), bind("127.0.0.1", 0)
    scene.port = bound.getsockname()[1]
    scene.may_answer.set()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    orders = Orders(bounds=bounds or Bounds(), signals=(), drain_seconds=5)
    listener = Listener(scene.application, bound, version=scene.current_version)
    serving = asyncio.create_task(serve([listener], ready=ready.set, orders=orders, stopped=scene.stop))
    try:
        await ready.wait()
        yield scene
    finally:
        scene.may_answer.set()
        for writer in scene.writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        scene.stop.set()
        await serving
        assert failures == []


class Wire(asyncio.Transport):
    """A transport of which nothing is read."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.has_ended = False

    def write(self, data: bytes) -> None:  # type: ignore[override]  # what is written here
        assert not self.has_ended
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def connected(scene: Scene, bounds: Bounds | None = None) -> tuple[RepeatingConnection, Wire]:
    """Return a connection whose listener keeps an answer to ``KEYS``."""
    answers = SharedAnswers(scene.current_version)
    answers.keep(KEYS, b"kept", scene.version)
    config = uvicorn.Config(scene.application, http="httptools", interface="asgi3", ws="none", proxy_headers=False)
    config.load()
    reception = RepeatingReception(config, bounds or Bounds(), lambda _: None, answers=answers)
    connection, wire = reception.connection(), Wire()
    connection.connection_made(wire)
    return connection, wire


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_every_answer_begins_the_time_to_the_next_request_anew() -> None:
    connection, wire = connected(Scene(), Bounds(header_timeout=1, keep_alive_timeout=1000))
    connection.data_received(KEYS)
    assert wire.sent == b"kept"
    assert connection.deadline > asyncio.get_running_loop().time() + 900


async def test_a_client_that_does_not_read_is_given_nothing_more() -> None:
    scene = Scene()
    scene.may_answer.set()
    connection, wire = connected(scene)
    connection.pause_writing()
    connection.data_received(KEYS)
    await settle()
    assert (wire.sent, scene.given) == (b"", 1)
    connection.resume_writing()
    await settle()
    assert wire.sent.endswith(b"<1 GET /keys >")


@pytest.mark.parametrize(("bounds", "status"), [(Bounds(), b"400"), (Bounds(connections=0), b"503")])
async def test_who_has_been_refused_is_answered_no_more(bounds: Bounds, status: bytes) -> None:
    connection, wire = connected(Scene(), bounds)
    connection.data_received(b"nonsense\r\n\r\n")
    refusal = wire.sent
    assert refusal.startswith(b"HTTP/1.1 " + status)
    connection.data_received(KEYS)
    await settle()
    assert wire.sent == refusal


async def until_kept(talk: Talk) -> bytes:
    """Ask until an answer has been given twice; return it. A second that ends in between makes it one more."""
    before = b""
    while (now := await talk.ask(KEYS)) != before:
        before = now
    return now


async def test_the_same_request_has_the_same_answer_on_any_connection() -> None:
    async with listening() as scene:
        kept = await until_kept(await scene.connect())
        assert await (await scene.connect()).ask(KEYS) == kept


@rule("C9")
async def test_a_change_shows_at_the_next_request() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        for _ in range(3):
            kept = await until_kept(talk)
            scene.version += 1
            assert await talk.ask(KEYS) != kept


async def test_nothing_is_answered_from_memory_while_the_store_cannot_be_asked() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        scene.is_broken = True
        first = await talk.ask(KEYS)
        assert await talk.ask(KEYS) != first


async def test_it_is_made_anew_for_another_date() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        kept = await until_kept(talk)
        async with asyncio.timeout(SECONDS):
            while await talk.ask(KEYS) == kept:
                pass


@pytest.mark.parametrize(
    "other",
    [
        KEYS.replace(b"/keys", b"/other"),
        KEYS.replace(b"Host: h", b"Host: i"),
        KEYS.replace(b"Host: h", b"host: h"),
        KEYS.replace(b"\r\n\r\n", b"\r\nAccept: */*\r\n\r\n"),
    ],
)
async def test_any_other_request_is_read(other: bytes) -> None:
    async with listening() as scene:
        talk = await scene.connect()
        assert await talk.ask(other) != await until_kept(talk)


@pytest.mark.parametrize(
    "request_bytes",
    [
        KEYS.replace(b"/keys", b"/private"),
        KEYS.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer x\r\n\r\n"),
        KEYS.replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\n\r\n"),
        KEYS.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        KEYS.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        KEYS.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        KEYS.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 3000 + b"\r\n\r\n"),
        b"\r\n" + KEYS,
    ],
)
async def test_what_is_somebodys_is_never_kept(request_bytes: bytes) -> None:
    async with listening() as scene:
        talk = await scene.connect()
        answers = [await talk.ask(request_bytes) for _ in range(4)]
        assert len(set(answers)) == 4


@pytest.mark.parametrize(
    "last", [KEYS.replace(b"1.1", b"1.0"), KEYS.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
)
async def test_an_answer_that_ends_a_connection_is_not_given_again(last: bytes) -> None:
    async with listening() as scene:
        for number in range(1, 4):
            talk = await scene.connect()
            await talk.send(last)
            assert b"<%d " % number in await asyncio.wait_for(talk.reader.read(), SECONDS)


async def test_head_and_conditional_requests_have_answers_of_their_own() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        for other, status in (
            (KEYS.replace(b"GET", b"HEAD"), b"200 "),
            (KEYS.replace(b"\r\n\r\n", b'\r\nIf-None-Match: "x"\r\n\r\n'), b"304 "),
        ):
            heads = set()
            for _ in range(10):
                await talk.send(other)
                heads.add(await talk.head())
                assert next(iter(heads)).startswith(b"HTTP/1.1 " + status)
            assert len(heads) < 10
        assert (await talk.ask(KEYS)).startswith(b"<")


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        other = KEYS.replace(b"/keys", b"/other")
        await talk.send(other + KEYS, KEYS, KEYS + other)
        paths = [(await talk.answer()).split()[2] for _ in range(5)]
        assert paths == [b"/other", b"/keys", b"/keys", b"/keys", b"/other"]


async def test_a_request_behind_one_under_way_waits_for_its_turn() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        scene.may_answer.clear()
        await talk.send(KEYS.replace(b"/keys", b"/slow"), KEYS, KEYS)
        scene.may_answer.set()
        assert [(await talk.answer()).split()[2] for _ in range(3)] == [b"/slow", b"/keys", b"/keys"]


@pytest.mark.parametrize("at", [1, 4, 10, len(KEYS) - 1])
async def test_a_request_in_pieces_is_read(at: int) -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        assert (await talk.ask(KEYS[:at], KEYS[at:])).split()[1:3] == [b"GET", b"/keys"]
        assert (await talk.ask(KEYS)).split()[1:3] == [b"GET", b"/keys"]


@rule("T20")
async def test_the_bytes_of_a_kept_request_inside_another_are_part_of_that() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        length = b"%d" % len(KEYS)
        post = b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: " + length + b"\r\n\r\n"
        assert (await talk.ask(post, KEYS)).endswith(b"POST /form " + KEYS + b">")
        await until_kept(talk)
        chunked = b"POST /form HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(KEYS)
        assert (await talk.ask(chunked, KEYS, b"\r\n0\r\n\r\n")).endswith(b"POST /form " + KEYS + b">")
        await until_kept(talk)
        headers = b"GET /header HTTP/1.1\r\nHost: h\r\nX: "
        await talk.send(headers, KEYS)
        assert b" 400 " in await talk.head()  # two hosts


@rule("T20")
@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_a_body_that_comes_after_its_answer_is_no_request(method: bytes) -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        early = method + b" /early HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(KEYS)
        for _ in range(2):
            assert (await talk.ask(early)).split()[2] == b"/early"
            await talk.send(KEYS)
        last = KEYS.replace(b"/keys", b"/last").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        await talk.send(last)
        rest = await asyncio.wait_for(talk.reader.read(), SECONDS)
        assert rest.count(b"HTTP/1.1 ") == 1
        assert b"/last" in rest


async def test_a_client_that_has_said_all_still_gets_the_answer() -> None:
    async with listening() as scene:
        await until_kept(await scene.connect())
        talk = await scene.connect()
        talk.writer.write(KEYS)
        talk.writer.write_eof()
        assert (await asyncio.wait_for(talk.reader.read(), SECONDS)).endswith(b" GET /keys >")


async def test_a_server_that_is_told_to_stop_says_so_on_every_answer() -> None:
    async with listening() as scene:
        talk = await scene.connect()
        await until_kept(talk)
        scene.stop.set()
        await talk.send(KEYS)
        assert b"connection: close" in await asyncio.wait_for(talk.reader.read(), SECONDS)


async def test_a_connection_that_is_not_used_any_more_is_closed() -> None:
    async with listening(Bounds(keep_alive_timeout=0.5)) as scene:
        talk = await scene.connect()
        await until_kept(talk)
        assert await asyncio.wait_for(talk.reader.read(), SECONDS) == b""

"""A network that fails when told to: a TCP proxy in front of one address, whose faults are set while connections are open.

    with FaultProxy("127.0.0.1", 5432) as proxy:
        connect_to(proxy.host, proxy.port)
        proxy.impose(Fault(latency=0.2))
        proxy.impose(Fault(breaks=Break.RESET, after=100))
        proxy.heal()

It runs on an event loop in a thread of its own, so that blocking and asynchronous code can be tested alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

_PIECE: Final = 16_384
_SLICES_PER_SECOND: Final = 50
_PATIENCE: Final = 10
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_T = TypeVar("_T")


Tap = Callable[[int, "Way", bytes], None]


class Way(StrEnum):
    """A direction, named by what travels on it: from the client, or to it."""

    REQUEST = "request"
    ANSWER = "answer"


class Break(StrEnum):
    """How a connection ends, or does not."""

    RESET = "reset"
    """Both sides are told that it is gone (RST), whatever was under way."""
    CLOSE = "close"
    """Both sides see an orderly end."""
    HALF_CLOSE = "half_close"
    """Who is sent to on this way sees an orderly end; the other way stays open."""
    BLACKHOLE = "blackhole"
    """Nothing is passed on any more, and nobody is told. When healed, what was sent arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with every connection, open ones too.

    ``latency`` is in seconds, for each piece on each way; ``bytes_per_second`` holds for each way by itself. ``breaks`` comes
    about once ``after`` bytes have passed on ``way`` since the fault was imposed: with 0, at once.
    """

    latency: float = 0.0
    bytes_per_second: int | None = None
    breaks: Break | None = None
    after: int = 0
    way: Way = Way.ANSWER


NO_FAULT: Final = Fault()


class FaultProxy:
    """Passes on what comes on ``host:port`` to one address, and back. ``port`` 0 takes a free one when it starts."""

    def __init__(
        self, to_host: str, to_port: int, *, host: str = "127.0.0.1", port: int = 0, tap: Tap | None = None
    ) -> None:
        """``tap`` is told the number of the connection, the way and the bytes of everything that is passed on."""
        self.host, self.port = host, port
        self.tap = tap
        self.fault = NO_FAULT
        self.accepted = 0
        """How many connections there have been."""
        self._to = to_host, to_port
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._listener: asyncio.Server | None = None

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. A proxy is started once."""
        self._thread.start()
        self.listen()

    def stop(self) -> None:
        """Cut off what is open, and listen no more. Idempotent."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)

    @property
    def open_connections(self) -> int:
        """How many are open now."""
        return len(self._links)

    def impose(self, fault: Fault) -> None:
        """Let this, and nothing else, be wrong from now on. It is so when this returns."""
        self._do(self._impose(fault))

    def heal(self) -> None:
        """Let nothing be wrong any more. What has been broken stays broken."""
        self.impose(NO_FAULT)

    def refuse(self) -> None:
        """Listen no more: new connections are refused, open ones go on."""
        self._do(self._refuse())

    def listen(self) -> None:
        """Listen, again after ``refuse``, on the same port."""
        self._do(self._listen())

    def lead_to(self, host: str, port: int) -> None:
        """Connect new clients to another address; open connections stay where they are."""
        self._to = host, port

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _do(self, work: Coroutine[object, object, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _end(self) -> None:
        await self._refuse()
        for link in tuple(self._links):
            link.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _impose(self, fault: Fault) -> None:
        self.fault = fault
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for link in tuple(self._links):
            link.feel(fault)

    async def wait_for_change(self) -> None:
        """Return when another fault is imposed. On the proxy's own loop."""
        await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = self._loop.create_task(self._serve(self.accepted, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._to)
        except OSError:
            _reset(writer)
            return
        readers = {Way.REQUEST: reader, Way.ANSWER: answers}
        link = _Link(self, number, readers, {Way.REQUEST: requests, Way.ANSWER: writer})
        self._links.add(link)
        try:
            link.feel(self.fault)
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One client's connection and the one made for it."""

    def __init__(
        self,
        proxy: FaultProxy,
        number: int,
        readers: dict[Way, asyncio.StreamReader],
        writers: dict[Way, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._number = number
        self._readers = readers
        self._writers = writers
        self._passed = dict.fromkeys(Way, 0)
        self._ended: set[Way] = set()

    async def run(self) -> None:
        """Pass on both ways until both have ended."""
        pumps = [asyncio.ensure_future(self._pump(way)) for way in Way]
        try:
            await asyncio.gather(*pumps)
        except OSError:
            self.reset()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in self._writers.values():
                writer.close()

    def feel(self, fault: Fault) -> None:
        """Count anew; break now what is to break at once."""
        self._passed = dict.fromkeys(Way, 0)
        if fault.breaks is not None and fault.after == 0:
            self._break(fault.breaks, fault.way)

    def reset(self) -> None:
        """Tell both sides that it is gone."""
        for writer in self._writers.values():
            _reset(writer)

    async def _pump(self, way: Way) -> None:
        while piece := await self._readers[way].read(_PIECE):
            for part in _slices(piece, self._proxy.fault.bytes_per_second):
                await self._pass(way, part)
        self._end_way(way)

    async def _pass(self, way: Way, part: bytes) -> None:
        """Send it on late, slowly, in part, later or not at all."""
        fault = self._proxy.fault
        await asyncio.sleep(fault.latency + len(part) / (fault.bytes_per_second or float("inf")))
        while part:
            fault = self._proxy.fault
            if fault.breaks is None or (fault.way is not way and fault.breaks is not Break.BLACKHOLE):
                await self._send(way, part)
                return
            left = max(fault.after - self._passed[fault.way], 0) if fault.way is way else self._hole(fault, part)
            now, part = part[:left], part[left:]
            await self._send(way, now)
            if part and fault.breaks is Break.BLACKHOLE:
                await self._proxy.wait_for_change()
            elif self._passed[way] >= fault.after:
                self._break(fault.breaks, way)
                return

    def _hole(self, fault: Fault, part: bytes) -> int:
        """A blackhole swallows both ways, once it is there."""
        return 0 if self._passed[fault.way] >= fault.after else len(part)

    async def _send(self, way: Way, part: bytes) -> None:
        if part and way not in self._ended:
            if self._proxy.tap is not None:
                self._proxy.tap(self._number, way, part)
            self._writers[way].write(part)
            await self._writers[way].drain()
        self._passed[way] += len(part)

    def _break(self, how: Break, way: Way) -> None:
        if how is Break.RESET:
            self.reset()
        elif how is Break.CLOSE:
            for writer in self._writers.values():
                writer.close()
        elif how is Break.HALF_CLOSE:
            self._end_way(way)

    def _end_way(self, way: Way) -> None:
        """Whoever is sent to on this way sees the end; more of what comes is dropped."""
        if way not in self._ended:
            self._ended.add(way)
            with contextlib.suppress(OSError):
                self._writers[way].write_eof()


def _slices(piece: bytes, bytes_per_second: int | None) -> list[bytes]:
    size = len(piece) if bytes_per_second is None else max(1, bytes_per_second // _SLICES_PER_SECOND)
    return [piece[start : start + size] for start in range(0, len(piece), size)]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, not FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()

"""One connection to a Redis: what is asked in one turn of the event loop goes out together, answers come back in order.

Whoever leaves before the answer has come disturbs nobody: his answer is dropped in its turn. A server that does not answer in
time is given up with everything that waits for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Final, cast

import hiredis

from watchword.adapters.redis_url import RedisUrl

PATIENCE: Final = 1.0
"""Seconds without an answer after which a connection is given up."""

Reply = object
"""What came back: ``bytes``, ``int``, ``None``, a list of those, or a ``RedisError``."""

RedisError = hiredis.ReplyError
"""An answer that says no."""


class RedisLost(ConnectionError):
    """There is no connection, or it has ended, and with it what was asked; it may or may not have been done."""


class RedisConnection(asyncio.Protocol):
    """Made by ``connect``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_open(self) -> bool:
        """It was made and has not ended."""
        return self._transport is not None and not self.lost.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are complete."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not self:
                _, answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and with it everything that waits."""
        if not self.lost.done():
            self.lost.set_result(None)
        if self._watch is not None:
            self._watch.cancel()
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(RedisLost(str(exc or "the connection has ended")))
                answer.exception()  # whoever has left need not hear it

    def ask(self, *command: str | bytes | int) -> asyncio.Future[Reply]:
        """Send a command; the answer comes, or ``RedisLost``."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        if not self.is_open:
            answer.set_exception(RedisLost("the connection has ended"))
            return answer
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub names a tuple of one
        now = self._loop.time()
        self._waiting.append((now, answer))
        if self._watch is None:
            self._watch = self._loop.call_later(PATIENCE, self._look)
        return answer

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self.lost.done():
            self._transport.write(b"".join(unsent))

    def _look(self) -> None:
        """Give up if the eldest waits for too long."""
        self._watch = None
        if not self._waiting:
            return
        left = self._waiting[0][0] + PATIENCE - self._loop.time()
        if left <= 0:
            self.abort()
        else:
            self._watch = self._loop.call_later(left, self._look)

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(RedisLost("given up"))


async def connect(url: RedisUrl) -> RedisConnection:
    """Return a connection that has logged in and chosen its database.

    Raises:
        OSError: it cannot be reached, or its certificate is not trusted; RedisLost is one.
        RedisError: it refuses the login or the database.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE * 2):
        if url.path:
            _, connection = await loop.create_unix_connection(RedisConnection, url.path)
        else:
            tls = ssl.create_default_context() if url.is_tls else None
            _, connection = await loop.create_connection(RedisConnection, url.host, url.port, ssl=tls)
        try:
            if url.password:
                who = (url.username, url.password) if url.username else (url.password,)
                check_reply(await connection.ask("AUTH", *who))
            if url.database:
                check_reply(await connection.ask("SELECT", url.database))
        except BaseException:
            connection.abort()
            raise
    return connection


def check_reply(reply: Reply) -> Reply:
    """Return an answer that is no refusal.

    Raises:
        RedisError
    """
    if isinstance(reply, RedisError):
        raise reply
    return reply

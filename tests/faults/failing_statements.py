"""PostgreSQL whose N-th statement fails, in the way it is told to; and a store that lives on an event loop of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg
import pytest

from watchword.adapters import postgres_link
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy

T = TypeVar("T")

POLL: Final = "SELECT epoch FROM counters"
"""Asked all the time, by nobody's request: it is not counted."""

RESET, ANSWER_LOST, NETWORK_RESET = "reset", "answer lost", "network reset"
SERVER_ERRORS: Final = {
    "58030": "io_error",
    "53100": "disk_full",
    "40001": "serialization_failure",
    "XX000": "internal",
}
WAYS: Final = (RESET, ANSWER_LOST, NETWORK_RESET, *SERVER_ERRORS)


class Statements:
    """Counts what is said to the database since ``arm``, and lets one of it fail. ``BEGIN`` and ``COMMIT`` count."""

    def __init__(self, road: FaultProxy, way: str) -> None:
        self._road = road
        self._way = way
        self._nth = 0
        self.said: list[str] = []
        self.has_fired = False
        """Whether the one that was to fail has been said, since ``arm``."""

    def arm(self, nth: int) -> None:
        self._nth, self.said, self.has_fired = nth, [], False

    def disarm(self) -> None:
        self._nth = 0

    async def say(self, db: Any, statement: str, send: Callable[[], Awaitable[T]]) -> T:
        if statement.strip() == POLL:
            return await send()
        self.said.append(" ".join(statement.split())[:60])
        if len(self.said) != self._nth:
            return await send()
        self.has_fired = True
        if self._way == RESET:
            db.terminate()
            raise ConnectionResetError("told to fail")
        if self._way == ANSWER_LOST:
            await send()
            db.terminate()
            raise asyncpg.ConnectionDoesNotExistError("told to fail")
        if self._way == NETWORK_RESET:
            self._road.impose(Fault(breaks=Break.RESET))
            self._road.heal()
            return await send()
        await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'told to fail' USING ERRCODE = '{self._way}'; END $$")
        raise AssertionError("it has not failed")


class FailingConnection:
    """A connection of asyncpg whose every statement is counted."""

    def __init__(self, db: Any, statements: Statements) -> None:
        self._db = db
        self._statements = statements

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._db, name)
        if name not in {"execute", "fetch", "fetchrow", "fetchval"}:
            return attribute

        def say(query: str, *values: object) -> Awaitable[object]:
            return self._statements.say(self._db, query, lambda: attribute(query, *values))

        return say

    @asynccontextmanager
    async def transaction(self, **how: object) -> AsyncGenerator[None]:
        transaction = self._db.transaction(**how)
        await self._statements.say(self._db, "BEGIN", transaction.start)
        try:
            yield
        except BaseException:
            await transaction.rollback()
            raise
        try:
            await self._statements.say(self._db, "COMMIT", transaction.commit)
        except asyncpg.PostgresError:
            if not self._db.is_closed():
                await transaction.rollback()
            raise


def install(monkeypatch: pytest.MonkeyPatch, statements: Statements) -> None:
    """Let every connection made from now on be counted."""
    connect = postgres_link.connect

    async def failing(url: str, **how: Any) -> Any:
        return FailingConnection(await connect(url, **how), statements)

    monkeypatch.setattr(postgres_link, "connect", failing)


class OnALoop:
    """Whatever belongs to one event loop, used from any: its coroutines run there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._target: Any = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def hold(self, target: Any) -> None:
        self._target = target

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def call(*values: object, **named: object) -> object:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(attribute(*values, **named), self.loop))

        return call

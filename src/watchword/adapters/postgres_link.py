"""A connection to PostgreSQL that comes back by itself, and what its failures mean."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol, TypeVar, cast

import asyncpg  # type: ignore[import-untyped]  # it ships no types; what is used of it has them here

from watchword.adapters.postgres_failures import LOST, Failed, is_lost, unavailable
from watchword.adapters.postgres_pulse import Pulse
from watchword.adapters.postgres_url import masked, options_of, per_host
from watchword.errors import BadSettings, StoreUnavailable

T = TypeVar("T")
Row = Sequence["str | int | float | bytes | None"]

CONNECT_SECONDS: Final = 2.0
STATEMENT_SECONDS: Final = 2.0
_STAGGER_SECONDS: Final = 0.25
OLDEST_SERVER: Final = 130_000


class Connection(Protocol):
    """What is used of ``asyncpg.Connection``."""

    # ruff: noqa: D102 -- documented where it is made

    async def execute(self, query: str, *args: object) -> str: ...
    async def fetch(self, query: str, *args: object) -> Sequence[Row]: ...
    async def fetchrow(self, query: str, *args: object) -> Row | None: ...
    async def fetchval(self, query: str, *args: object) -> object: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    async def copy_records_to_table(
        self, table_name: str, *, schema_name: str, columns: Sequence[str], records: Sequence[Sequence[object]]
    ) -> str: ...
    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]: ...
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...
    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109 -- the library's own


_SESSION: Final = """
SELECT set_config('search_path', 'watchword', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('statement_timeout', $1, false),
       set_config('lock_timeout', $1, false),
       set_config('idle_in_transaction_session_timeout', $1, false),
       set_config('client_min_messages', 'error', false),
       set_config('synchronous_commit', current_setting('synchronous_commit'), false),
       pg_is_in_recovery(), current_setting('server_encoding')
"""
"""Said by hand and not at the connection's start, which a pooler in between would not pass on. What the database says about
waiting for its disk, or for its standbys, holds for the whole life of the connection."""


async def connect(url: str, *, seconds: float = STATEMENT_SECONDS) -> Connection:
    """Open one connection to the server that takes writes; no statement of it takes longer than ``seconds``.

    Where the URL names several, one that says nothing holds up none of the others.

    Raises:
        StoreUnavailable: it cannot be opened.
        BadSettings: store.encoding, store.server
    """
    urls = per_host(url)
    if len(urls) == 1:
        return await _connect(url, seconds)
    tasks = [asyncio.create_task(_connect(each, seconds, after=n * _STAGGER_SECONDS)) for n, each in enumerate(urls)]
    chosen = None
    try:
        for finished in asyncio.as_completed(tasks):
            with suppress(StoreUnavailable):
                chosen = await finished
                return chosen
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(functools.partial(_discard, chosen))


def _discard(chosen: Connection | None, task: asyncio.Task[Connection]) -> None:
    if not task.cancelled() and task.exception() is None and task.result() is not chosen:
        task.result().terminate()


async def _connect(url: str, seconds: float, *, after: float = 0) -> Connection:
    if after:
        await asyncio.sleep(after)
    try:
        opened = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            command_timeout=seconds + 1,
            target_session_attrs=options_of(url).get("target_session_attrs", "read-write"),
        )
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        if isinstance(error, OSError):
            raise unavailable(error) from error
        raise BadSettings(
            "settings.database", detail=f"{masked(url)} cannot be used: {type(error).__name__}"
        ) from error
    except Failed as error:
        raise unavailable(error) from error
    db = cast("Connection", opened)
    try:
        return await _prepare(db, opened.get_server_version(), seconds)
    except BaseException as error:
        db.terminate()
        if isinstance(error, Failed):
            raise unavailable(error) from error
        raise


async def _prepare(db: Connection, version: Sequence[int], seconds: float) -> Connection:
    row = await db.fetchrow(_SESSION, f"{round(seconds * 1000)}ms")
    is_standby, encoding = (row[-2], row[-1]) if row is not None else (None, None)
    if version[0] * 10_000 < OLDEST_SERVER:
        raise BadSettings("store.server", detail=f"PostgreSQL {version[0]} is too old: use 13 or newer")
    if encoding != "UTF8":
        raise BadSettings("store.encoding", detail=f"the database is in {encoding!r}: make one with ENCODING 'UTF8'")
    if is_standby:
        raise StoreUnavailable("store.read_only", detail="this server is a standby: name the one that takes writes")
    return db


@asynccontextmanager
async def transaction(db: Connection) -> AsyncGenerator[None]:
    """Begin and end a transaction. Where the database did not answer in time, its word on the end is not waited for either."""
    async with db.transaction():
        try:
            yield
        except TimeoutError:
            db.terminate()
            raise


class Link:
    """One connection, made when it is needed and made anew when it is lost. One task has it at a time.

    Whoever waited for a connection that could not be made fails with that attempt, and does not begin another. ``seconds`` are
    the longest of a statement; ``patience`` that of everything from the question on, waiting for others and for a connection
    included. Nothing is begun while ``pulse`` is silent, and what is under way when it falls silent fails.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = STATEMENT_SECONDS,
        patience: float | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._url = url
        self._seconds = seconds
        self._patience = patience
        self.pulse = pulse or Pulse()
        self.pulse.on_silence(self.lose)
        self._lock = asyncio.Lock()
        self._db: Connection | None = None
        self._connecting: asyncio.Timeout | None = None
        self._failure = (-1.0, "store.unreachable", "")  # never the exception: its frames would hold the one before it
        self._is_closed = False

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do what changes nothing; once more, on a new connection, if the old one turned out to be lost.

        Raises:
            StoreUnavailable
        """
        self.pulse.check()
        return await self.probe(work)

    async def probe(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Read, also while nothing is heard of the database.

        Raises:
            StoreUnavailable
        """
        asked = time.monotonic()
        async with self._lock:
            was_there = self._db is not None and not self._db.is_closed()
            try:
                return await self._do(work, asked)
            except LOST as error:
                if not (was_there and is_lost(error)) or isinstance(error, TimeoutError):
                    raise unavailable(error) from error
            except asyncpg.InvalidCachedStatementError:
                pass  # the tables have changed since it was prepared
            except asyncpg.PostgresError as error:
                raise unavailable(error) from error
            try:
                return await self._do(work, asked)
            except Failed as error:
                raise unavailable(error) from error

    async def write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do it once. Every failure comes out as it is; after one that ``is_lost``, nobody knows whether it was done.

        Raises:
            StoreUnavailable: it was not begun.
        """
        self.pulse.check()
        asked = time.monotonic()
        async with self._lock:
            return await self._do(work, asked)

    async def _do(self, work: Callable[[Connection], Awaitable[T]], asked: float) -> T:
        timer = self._set_timer(asked)
        try:
            db = await self._connected(asked)
            try:
                answer = await work(db)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:  # judged by who asked
                if not is_lost(error):
                    self.pulse.heard()
                raise
            except (
                BaseException
            ):  # cancelled, timed out, or broken in the middle: what it would say next belongs to nobody
                self._drop()
                raise
            finally:
                if db.is_closed():
                    self._drop()
            self.pulse.heard()
            return answer
        finally:
            if timer is not None:
                timer.cancel()

    def _set_timer(self, asked: float) -> asyncio.TimerHandle | None:
        if self._patience is None:
            return None
        left = asked + self._patience - time.monotonic()
        if left <= 0:
            raise StoreUnavailable("store.busy", detail="others were in the way for too long")
        return asyncio.get_running_loop().call_later(left, self.lose)

    async def _connected(self, asked: float) -> Connection:
        if self._is_closed:
            raise StoreUnavailable("store.closed")
        if self._db is not None and not self._db.is_closed():
            return self._db
        failed_at, reason, detail = self._failure
        if failed_at >= asked:
            raise StoreUnavailable(reason, detail=detail)
        try:
            async with asyncio.timeout(None) as self._connecting:
                self._db = await connect(self._url, seconds=self._seconds)
        except (StoreUnavailable, TimeoutError) as error:
            fault = unavailable(error)
            self._failure = (time.monotonic(), fault.reason, fault.detail)
            raise StoreUnavailable(fault.reason, detail=fault.detail) from error
        finally:
            self._connecting = None
        self.pulse.heard()
        return self._db

    def lose(self) -> None:
        """Give up what is under way, and the connection: who has it fails, and who waits for it."""
        if self._connecting is not None:
            self._connecting.reschedule(asyncio.get_running_loop().time())
            self._connecting = None
        self._failure = (time.monotonic(), "store.unreachable", "the database did not answer in time")
        self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None and not db.is_closed():
            db.terminate()

    async def close(self) -> None:
        """Wait for who has it, and release it. Idempotent."""
        self._is_closed = True
        async with self._lock:
            db, self._db = self._db, None
            if db is not None and not db.is_closed():
                with suppress(*LOST):
                    await db.close(timeout=1)

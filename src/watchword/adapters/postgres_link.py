"""A connection to PostgreSQL that comes back by itself, and what its failures mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, Protocol, TypeVar, cast

import asyncpg  # type: ignore[import-untyped]  # it ships no types; what is used of it has them here

from watchword.adapters.postgres_url import masked, options_of
from watchword.errors import BadSettings, StoreUnavailable

T = TypeVar("T")
Row = Sequence["str | int | float | bytes | None"]

CONNECT_SECONDS: Final = 2.0
STATEMENT_SECONDS: Final = 2.0
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

_LOST: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
)
AGAIN: Final[tuple[type[Exception], ...]] = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,
)
"""Nothing was done, and it may be done another time: in the last case, with statements prepared anew for tables that changed."""

TooLong: Final[tuple[type[Exception], ...]] = (asyncpg.QueryCanceledError,)
"""A statement took longer than it may, and nothing of it was done."""

Refused: Final[tuple[type[Exception], ...]] = (asyncpg.IntegrityConstraintViolationError,)
Impossible: Final[tuple[type[Exception], ...]] = (asyncpg.DivisionByZeroError,)
Failed: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Everything that the library raises about the server or the connection."""


def is_lost(error: BaseException) -> bool:
    """Tell whether, after this failure, a connection is of no more use, and what was under way may or may not have happened."""
    if isinstance(error, (ValueError, asyncpg.QueryCanceledError)):  # never sent; or ended by the statement timeout
        return False
    return isinstance(error, _LOST)


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return what a failure of PostgreSQL means to a caller."""
    shown = f"{type(error).__name__}: {error}"
    if isinstance(error, StoreUnavailable):
        return error
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return StoreUnavailable("store.credentials", detail=f"the database does not let us in ({shown})")
    if isinstance(error, (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)):
        return StoreUnavailable("store.full", detail=f"the database has no room: make some ({shown})")
    if isinstance(error, (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError)):
        return StoreUnavailable("store.read_only", detail=f"the database cannot be written ({shown})")
    if isinstance(error, (*AGAIN, asyncpg.QueryCanceledError, asyncpg.TooManyConnectionsError)):
        return StoreUnavailable("store.busy", detail=f"the database has too much to do ({shown})")
    if is_lost(error):
        return StoreUnavailable("store.unreachable", detail=f"the database cannot be reached ({shown})")
    return StoreUnavailable("store.io", detail=f"the database cannot be used now ({shown})")


async def connect(url: str, *, seconds: float = STATEMENT_SECONDS) -> Connection:
    """Open one connection to the server that takes writes; no statement of it takes longer than ``seconds``.

    Raises:
        StoreUnavailable: it cannot be opened.
        BadSettings: store.encoding, store.server
    """
    options = options_of(url)
    try:
        opened = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            command_timeout=seconds + 1,
            target_session_attrs=options.get("target_session_attrs", "read-write"),
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


class Link:
    """One connection, made when it is needed and made anew when it is lost. One task has it at a time.

    Whoever waited for a connection that could not be made fails with that attempt, and does not begin another.
    """

    def __init__(self, url: str, *, seconds: float = STATEMENT_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._db: Connection | None = None
        self._failure: tuple[float, StoreUnavailable] = (-1.0, StoreUnavailable("store.unreachable"))
        self._is_closed = False

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do what changes nothing; once more, on a new connection, if the old one turned out to be lost.

        Raises:
            StoreUnavailable
        """
        asked = time.monotonic()
        async with self._lock:
            was_there = self._db is not None and not self._db.is_closed()
            try:
                return await self._do(work, asked)
            except _LOST as error:
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
            StoreUnavailable: there is no connection.
        """
        async with self._lock:
            return await self._do(work, time.monotonic())

    async def _do(self, work: Callable[[Connection], Awaitable[T]], asked: float) -> T:
        db = await self._connected(asked)
        try:
            return await work(db)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
            raise  # judged below
        except BaseException:  # cancelled, timed out, or broken in the middle: what it would say next belongs to nobody
            self._drop()
            raise
        finally:
            if db.is_closed():
                self._drop()

    async def _connected(self, asked: float) -> Connection:
        if self._is_closed:
            raise StoreUnavailable("store.closed")
        if self._db is not None and not self._db.is_closed():
            return self._db
        failed_at, failure = self._failure
        if failed_at >= asked:
            raise StoreUnavailable(failure.reason, detail=failure.detail)
        try:
            self._db = await connect(self._url, seconds=self._seconds)
        except StoreUnavailable as error:
            self._failure = (time.monotonic(), error)
            raise
        return self._db

    def drop(self) -> None:
        """Forget the connection; the next who needs one makes a new one."""
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
                with suppress(*_LOST):
                    await db.close(timeout=1)

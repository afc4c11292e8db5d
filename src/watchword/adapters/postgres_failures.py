"""What the failures of PostgreSQL mean."""

from __future__ import annotations

from typing import Final

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from watchword.errors import StoreUnavailable

LOST: Final[tuple[type[Exception], ...]] = (
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

TooLong: Final[tuple[type[Exception], ...]] = (asyncpg.QueryCanceledError, TimeoutError)
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
    return isinstance(error, LOST)


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

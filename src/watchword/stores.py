"""Where the store is: a file in the data directory, or the PostgreSQL database that a setting names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from watchword.adapters.postgres_url import check_url
from watchword.adapters.sqlite import SqliteStore
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import OTHERS, read_private_file
from watchword.clock import Clock
from watchword.errors import BadSettings
from watchword.ports.store import Store
from watchword.server.schema import Plan
from watchword.settings import ServerSettings

if TYPE_CHECKING:
    from watchword.adapters import postgres

log = structlog.get_logger("watchword.server")

STORE_FILE: Final = "watchword.db"
DATABASE_FILE: Final = "database.url"
"""Holds the URL of the database, with its password, where ``watchword init`` was given one."""

_INSTALL: Final = 'the setting database needs what is not installed: python -m pip install "watchword[postgres]"'


def find_database(settings: ServerSettings) -> str | None:
    """Return the URL of the database, or nothing where the store is the file in the data directory.

    Raises:
        BadSettings: settings.database
    """
    if settings.database is not None:
        return settings.database.get_secret_value()
    if settings.database_file is None:
        return None
    return read_url(settings.database_file)


def read_url(file: Path) -> str:
    """Return the URL that stands in a file.

    Raises:
        BadSettings: settings.database; it is none, or the file is open to others.
    """
    try:
        return check_url(read_private_file(file, forbidden=OTHERS).strip())
    except LoginMisconfigured as error:
        raise BadSettings("settings.database", detail=f"database_file: {error.detail}") from error


def engine() -> type[postgres.PostgresStore]:
    """Return the store in PostgreSQL, whose libraries are an extra.

    Raises:
        BadSettings: settings.database; it is not installed.
    """
    try:
        from watchword.adapters.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise BadSettings("settings.database", detail=_INSTALL) from error
    return PostgresStore


async def open_store(settings: ServerSettings) -> Store:
    """Open the store; nothing is made or changed.

    Raises:
        BadSettings, StoreUnavailable: those of ``SqliteStore.open`` and ``PostgresStore.open``.
    """
    database = find_database(settings)
    return SqliteStore.open(settings.data / STORE_FILE) if database is None else await engine().open(database)


async def check_place(settings: ServerSettings) -> None:
    """Return unless the store is a copy that PostgreSQL's means have put back, and that was not told so.

    Its keys may have been retired or given up since it was made, and it cannot know.

    Raises:
        BadSettings: store.copy; and as ``open_store``.
        StoreUnavailable
    """
    database = find_database(settings)
    if database is None:
        return
    engine()
    from watchword.adapters.postgres import was_put_back

    if await was_put_back(database):
        detail = (
            "the database was put back from a copy, or moved: what is newer is not known to it, nor which of its keys were given "
            f"up since. Run `watchword store restored --data {settings.data}`, which lets it go on with new keys"
        )
        raise BadSettings("store.copy", detail=detail)


async def create_store(directory: Path, database: str | None, *, clock: Clock) -> Store:
    """Make a store, in the database where one is named, else as a file in this directory.

    Raises:
        BadSettings: store.exists, and as ``open_store``
        StoreUnavailable
    """
    if database is None:
        return SqliteStore.create(directory / STORE_FILE, clock=clock)
    return await engine().create(database, clock=clock)


async def remove_database(database: str) -> None:
    """Remove a store that was made a moment ago and that nobody knows of.

    Raises:
        StoreUnavailable
    """
    engine()
    from watchword.adapters.postgres import remove

    await remove(database)


async def plan_upgrade(data: Path, database: str | None, *, clock: Clock) -> Plan:
    """Return which steps the schema of the store is behind this version's, and which nodes work on it.

    Raises:
        BadSettings, StoreUnavailable
    """
    if database is None:
        from watchword.adapters.sqlite_upgrade import plan_upgrade as of_file

        return of_file(data / STORE_FILE, now=clock())
    engine()
    from watchword.adapters.postgres_upgrade import plan_upgrade as of_database

    return await of_database(database, clock=clock)


async def upgrade_store(data: Path, database: str | None, *, clock: Clock) -> int:
    """Bring the schema of the store up to this version's, while others work on it; return the number of steps taken.

    Raises:
        BadSettings
        StoreUnavailable: store.older_nodes, store.busy; or it cannot be used.
    """
    if database is None:
        from watchword.adapters.sqlite_upgrade import upgrade_file

        return upgrade_file(data / STORE_FILE, now=clock())
    engine()
    from watchword.adapters.postgres_upgrade import upgrade

    return await upgrade(database, clock=clock)


def newest_schema(database: str | None) -> int:
    """Return the number of this version's schema."""
    if database is None:
        from watchword.adapters.sqlite_migrations import KNOWN as OF_FILE

        return OF_FILE
    engine()
    from watchword.adapters.postgres_migrations import KNOWN as OF_DATABASE

    return OF_DATABASE


async def tell_schema(store: Store) -> None:
    """Log it where the tables are a later version's: this one may go on, but it is not the one that they were made for.

    Raises:
        BadSettings, StoreUnavailable
    """
    schema = await store.schema()
    if schema.is_newer:
        log.warning("schema_newer", present=schema.present, known=schema.known)

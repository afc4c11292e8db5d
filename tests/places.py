"""Where a server under test keeps what it knows: every test of a whole server runs on each of these places.

A test asks for the fixture ``place`` (in ``tests/whole`` all do), and whatever server it starts has a new store of this kind.
One that cannot be the same everywhere says so: ``@pytest.mark.places("sqlite", why="...")``.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import dump, give_back, new_database, require_postgres, take_database
from tests.redis import RedisServer, require_redis
from watchword.adapters import postgres_lookups, postgres_writer
from watchword.adapters.postgres import PostgresStore
from watchword.adapters.sqlite import SqliteStore
from watchword.clock import Clock
from watchword.ports.store import Store
from watchword.testing.memory import MemoryStore
from watchword.testing.process import Place
from watchword.testing.server import InProcessServer

SQLITE, POSTGRES, POSTGRES_AND_REDIS = "sqlite", "postgres", "postgres+redis"
PLACES = (SQLITE, POSTGRES, POSTGRES_AND_REDIS)
MEMORY = "memory"
IN_PROCESS = (MEMORY, SQLITE, POSTGRES)
"""A server in this process has a clock that stands still. A Redis has its own."""

_CACHES = 10_000

_numbers = itertools.count()


def new_place(kind: str) -> Callable[[], Place]:
    """Return what gives each new server a new store of this kind, or skip where its programs are not installed."""
    if kind == POSTGRES_AND_REDIS:
        require_redis()
        return lambda: Place(new_database(), new_cache())
    return (lambda: Place(new_database())) if kind == POSTGRES else Place


def new_cache() -> str:
    """Return the URL of an empty Redis."""
    return f"{shared_cache().url.removesuffix('/0')}/{next(_numbers) % _CACHES}"


@functools.cache
def shared_cache() -> RedisServer:
    """Start the Redis that tests share; one that is to be stopped or emptied is not this."""
    folder = Path(tempfile.mkdtemp(prefix="watchword-redis-"))
    server = RedisServer(folder, "--databases", str(_CACHES))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    server.start()
    return server


def kept_elsewhere(place: Place) -> dict[str, bytes]:
    """Return what a server keeps outside of its directory."""
    found = {"database": dump(place.database)} if place.database else {}
    return found | ({"cache": shared_cache().contents(place.cache)} if place.cache else {})


@contextmanager
def in_process_stores(kind: str, folder: Path) -> Iterator[Callable[[Clock], Coroutine[Any, Any, Store]]]:
    """Give what makes a new store of this kind for each server that runs in this process; close them all in the end."""
    made: list[Store] = []
    databases: list[str] = []
    if kind == POSTGRES:
        require_postgres()

    async def new_store(clock: Clock) -> Store:
        store: Store
        if kind == POSTGRES:
            databases.append(await take_database())
            store = await PostgresStore.open(databases[-1])
        elif kind == SQLITE:
            store = SqliteStore.create(folder / f"store-{len(made)}.db", clock=clock)
        else:
            store = MemoryStore()
        made.append(store)
        return store

    with pytest.MonkeyPatch.context() as patience:  # what is asked here is not how long a busy machine takes
        for module in (postgres_lookups, postgres_writer):
            patience.setattr(module, "PATIENCE", 20.0)
        yield new_store
    for store in made:
        InProcessServer.run(store.close())
    for database in databases:
        InProcessServer.run(give_back(database))


def places_of(item: pytest.Item, known: tuple[str, ...] = PLACES) -> tuple[str, ...]:
    """Return where a test is to run, of what is known.

    Raises:
        pytest.UsageError: the mark names no known place, or no reason.
    """
    mark = item.get_closest_marker("places")
    if mark is None:
        return known
    if not mark.args or not set(mark.args) <= set(known) or not mark.kwargs.get("why"):
        raise pytest.UsageError(f"{item.nodeid}: places() names some of {', '.join(known)}, and why")
    return tuple(map(str, mark.args))

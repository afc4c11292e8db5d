"""What several processes or nodes share beside the store: how often it was asked, and what works only once.

Where a cache is named both are in it; else each process counts for itself, and what works once is where the store is: in its
database, or in a file beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.adapters.limits_memory import MemoryRateLimiter
from watchword.adapters.redis_url import RedisUrl, parse_redis_url
from watchword.adapters.sqlite_replay import SqliteReplay
from watchword.adapters.sqlite_replay_file import make_replay
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import OTHERS, read_private_file
from watchword.clock import Clock
from watchword.errors import BadSettings
from watchword.ports.replay import Replay, milliseconds
from watchword.ports.store import Store
from watchword.server.limits import Limits, Observe, RequestLimits
from watchword.server.possession.dpop import DpopRules
from watchword.settings import ServerSettings
from watchword.stores import find_database

if TYPE_CHECKING:
    from watchword.adapters.redis_link import RedisLink

REPLAY_FILE = "replay.db"
CLOCKS_DIFFER = timedelta(seconds=5)
"""How far the clocks of the machines may differ that share a database or a cache, and read each other's nonces."""


def build_limits(
    numbers: Limits, observe: Observe, *, cache: RedisLink | None = None, issuer: str = ""
) -> RequestLimits:
    """Say where it is counted how often: in this process, and where a cache is shared, among all who share the issuer."""
    if cache is None:
        return RequestLimits(numbers, lambda _, rate: MemoryRateLimiter(rate), observe)
    from watchword.adapters.redis_limits import RedisRateLimiter

    return RequestLimits(
        numbers, lambda name, rate: RedisRateLimiter(cache, f"{issuer} {name}", rate, MemoryRateLimiter(rate)), observe
    )


def build_dpop(settings: ServerSettings) -> DpopRules:
    """Say how proofs are judged; on several machines, the nonces of one are read by the others."""
    is_shared = find_database(settings) is not None or find_cache(settings) is not None
    return DpopRules(
        max_age=timedelta(seconds=settings.dpop_max_age),
        leeway=timedelta(seconds=settings.dpop_leeway),
        demand_nonce=settings.dpop_nonces == "required",
        nodes_differ=CLOCKS_DIFFER if is_shared else timedelta(0),
    )


@asynccontextmanager
async def open_cache(
    settings: ServerSettings, observe: Callable[[bool], None] = lambda _: None
) -> AsyncIterator[RedisLink | None]:
    """Open the Redis or Valkey of the settings, if they name one; its library is imported here.

    Raises:
        BadSettings: settings.cache, cache.evicting, cache.replica, cache.refused
        CacheUnavailable: cache.unreachable
    """
    url = find_cache(settings)
    if url is None:
        yield None
        return
    try:
        from watchword.adapters.redis_link import RedisLink
    except ModuleNotFoundError as error:
        detail = 'a cache needs one more library: python -m pip install "watchword[redis]"'
        raise BadSettings("settings.cache", detail=detail) from error
    link = RedisLink(url, observe=observe)
    try:
        await link.open()
        yield link
    finally:
        await link.close()


def find_cache(settings: ServerSettings) -> RedisUrl | None:
    """Return where the cache is, from the setting or the file it names.

    Raises:
        BadSettings: settings.cache
    """
    if settings.cache_file is None:
        return settings.cache
    try:
        return parse_redis_url(read_private_file(settings.cache_file, forbidden=OTHERS))
    except LoginMisconfigured as error:
        raise BadSettings("settings.cache", detail=f"cache_file: {error.detail}") from error


async def begin_replay(directory: Path, database: str | None, *, clock: Clock) -> None:
    """Make the memory of what was presented, empty and sure of it, beside a store that was made a moment ago.

    Raises:
        OSError
        StoreUnavailable
    """
    if database is None:
        make_replay(directory / REPLAY_FILE, milliseconds(clock()))
        return
    from watchword.adapters.postgres_replay import begin_first_life

    await begin_first_life(database)


@asynccontextmanager
async def open_replay(settings: ServerSettings, cache: RedisLink | None, store: Store) -> AsyncIterator[Replay]:
    """Open the memory of what was presented before: in the cache, else where the store is; in one database with it, it
    shares its knowledge of whether anything is heard of that.

    Raises:
        BadSettings: replay.foreign, cache.*
        ReplayUnavailable, CacheUnavailable
    """
    replay: Replay
    if cache is not None:
        from watchword.adapters.redis_replay import RedisReplay

        replay = await RedisReplay.open(cache, name=settings.issuer)
    elif (database := find_database(settings)) is not None:
        from watchword.adapters.postgres import PostgresStore
        from watchword.adapters.postgres_replay import PostgresReplay

        pulse = store.pulse if isinstance(store, PostgresStore) else None
        replay = await PostgresReplay.open(database, pulse=pulse)
    else:
        replay = SqliteReplay.open(settings.data / REPLAY_FILE)
    try:
        yield replay
    finally:
        await replay.close()

"""The way to a Redis or Valkey that can be relied on: looked at before it is used, then each second, and after each loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from watchword.adapters.redis_connection import RedisConnection, RedisError, check_reply, connect
from watchword.adapters.redis_url import RedisUrl
from watchword.errors import BadSettings, CacheUnavailable, Fault

log = structlog.get_logger("watchword.server")

BEAT: Final = 1.0
"""Seconds between two looks."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a server says of itself. ``life`` changes whenever its memory may not be what it was."""

    life: str
    version: str
    memory_limit: int


Watcher = Callable[[RedisConnection, RedisFacts], Awaitable[None]]
"""Told at every look, before anybody else may use a new connection. Must not raise."""

Observe = Callable[[bool], None]


class RedisLink:
    """Gives the connection while there is one to a server that forgets nothing of its own accord."""

    def __init__(self, url: RedisUrl, *, observe: Observe = lambda _: None) -> None:
        self._url = url
        self._observe = observe
        self._watchers: list[Watcher] = []
        self._connection: RedisConnection | None = None
        self._is_usable = False
        self._is_up = False
        self._keeper: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._looking = asyncio.Lock()

    @property
    def connection(self) -> RedisConnection | None:
        """The connection, if there is one that can be relied on."""
        return (
            self._connection if self._is_usable and self._connection is not None and self._connection.is_open else None
        )

    async def open(self) -> None:
        """Look for the first time, then keep looking.

        Raises:
            BadSettings: cache.evicting, cache.replica, cache.refused
            CacheUnavailable: cache.unreachable
        """
        try:
            await self._look()
        except BaseException:
            self._drop()
            raise
        self._keeper = asyncio.create_task(self._keep())

    async def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` at every look from now on, and at once.

        Raises:
            BadSettings, CacheUnavailable
        """
        self._watchers.append(watcher)
        await self._look()

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it nothing more."""
        with suppress(ValueError):
            self._watchers.remove(watcher)

    def look_again(self) -> None:
        """Look soon: somebody has seen something."""
        self._again.set()

    async def close(self) -> None:
        """Let go. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._drop()
        await asyncio.sleep(0)  # the event loop closes the socket in its next turn

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._look()
                pause = _FIRST_PAUSE
                await self._until_next_look()
            except Fault:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _until_next_look(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT):
                await self._again.wait()
        self._again.clear()

    async def _look(self) -> None:
        async with self._looking:
            await self._look_alone()

    async def _look_alone(self) -> None:
        try:
            if self._connection is None or not self._connection.is_open:
                self._is_usable = False  # a new one is not, until all watchers have seen it
                self._connection = await connect(self._url)
                self._connection.lost.add_done_callback(lambda _: self._again.set())
            facts = check_facts(await _ask_facts(self._connection), self._url)
            for watcher in tuple(self._watchers):
                await watcher(self._connection, facts)
        except (OSError, RedisError, UnicodeError) as error:
            self._drop()
            fault = _fault(error, self._url)
            self._tell(fault)
            raise fault from error
        except Fault as fault:
            self._drop()
            self._tell(fault)
            raise
        self._tell(None)

    def _drop(self) -> None:
        self._is_usable = False
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _tell(self, fault: Fault | None) -> None:
        is_up = fault is None
        if is_up != self._is_up and self._keeper is not None:
            if fault is None:
                log.info("cache_back", cache=str(self._url))
            else:
                log.warning("cache_lost", cache=str(self._url), reason=fault.reason, detail=fault.detail)
        self._is_up = self._is_usable = is_up
        self._observe(is_up)


def check_facts(info: Mapping[str, str], url: RedisUrl) -> RedisFacts:
    """Return what matters of a server that can be relied on.

    Raises:
        BadSettings: cache.evicting, cache.replica
        CacheUnavailable: cache.unreachable
    """
    if info.get("loading") != "0":
        raise CacheUnavailable("cache.unreachable", detail=f"{url} is loading its data")
    if info.get("role") != "master":
        raise BadSettings("cache.replica", detail=f"{url} is a replica: name the one that takes writes")
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        detail = (
            f"{url} may forget what it was told (maxmemory-policy {policy}), and what is forgotten can be used twice: "
            "CONFIG SET maxmemory-policy noeviction, or name another"
        )
        raise BadSettings("cache.evicting", detail=detail)
    life = "-".join(info[name] for name in ("run_id", "master_replid", "evicted_keys"))
    return RedisFacts(life, info.get("redis_version", ""), int(info.get("maxmemory", "0")))


async def _ask_facts(connection: RedisConnection) -> dict[str, str]:
    reply = check_reply(await connection.ask("INFO"))
    text = reply.decode() if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def _fault(error: Exception, url: RedisUrl) -> Fault:
    if isinstance(error, RedisError):
        return BadSettings("cache.refused", detail=f"{url} refuses what is asked: {error}")
    return CacheUnavailable(
        "cache.unreachable", detail=f"{url} cannot be reached: {str(error) or type(error).__name__}"
    )

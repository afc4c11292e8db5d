"""What can be wrong with the cache that nodes share: out of reach, forgetful, overheard, without a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchword.errors import Fault
from watchword.settings import ServerSettings
from watchword.sharing import find_cache, open_cache
from watchword.upkeep.findings import Finding, error, note, warning

if TYPE_CHECKING:
    from watchword.adapters.redis_connection import RedisConnection
    from watchword.adapters.redis_link import RedisFacts


async def check_cache(settings: ServerSettings) -> list[Finding]:
    """It can be reached and relied on, and nobody else reads what is said to it."""
    try:
        url = find_cache(settings)
    except Fault as fault:
        return [error("cache", fault.detail, f"ls -l {settings.cache_file}")]
    if url is None:
        return []
    ask = f"redis-cli -h {url.host or url.path} INFO server"
    findings = []
    if not (url.is_near or url.is_tls):
        findings.append(warning("cache", f"what is said to {url} can be overheard: use rediss://", ask))
    try:
        limit = await _memory_limit(settings)
    except Fault as fault:
        return [*findings, error("cache", fault.detail or fault.reason, ask)]
    if limit == 0:
        finding = (
            f"{url} has no maxmemory: the system may end it when memory runs out, and what was claimed is lost then"
        )
        findings.append(note("cache", finding, "redis-cli CONFIG SET maxmemory 256mb"))
    return findings


async def _memory_limit(settings: ServerSettings) -> int:
    limits = []

    async def watcher(_: RedisConnection, facts: RedisFacts) -> None:
        limits.append(facts.memory_limit)

    async with open_cache(settings) as link:
        if link is not None:
            await link.watch(watcher)
    return limits[0] if limits else 0

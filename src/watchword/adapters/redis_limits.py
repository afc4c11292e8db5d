"""Counters in a Redis or Valkey, shared by all nodes that use it: the generic cell rate algorithm in one script.

Beside them are the counters of this process, which are what is left when the shared ones are out of reach.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from watchword.adapters.redis_connection import RedisError, RedisLost
from watchword.adapters.redis_link import RedisLink
from watchword.ports.ratelimit import NO_WAIT, Rate, RateLimiter

_COUNT: Final = b"""
local now, step, most, is_taken = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local stored = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) - now, 0)
local counted = math.min(stored, most)
local over = counted + step - most
if is_taken and over <= 0 then counted = counted + step end
if counted ~= stored then
  redis.call('SET', KEYS[1], string.format('%.0f', now + counted), 'PX', math.ceil(counted / 1000) + 1000)
end
return math.max(over, 0)
"""
"""In microseconds: a number of theirs holds them exactly."""

_MICROSECOND: Final = timedelta(microseconds=1)


class RedisRateLimiter:
    """Implements ``ports.ratelimit.RateLimiter`` for all who use this name and rate there. ``own``: this process's counters."""

    def __init__(self, link: RedisLink, name: str, rate: Rate, own: RateLimiter) -> None:
        self._link = link
        self._own = own
        self._name = f"{name} {rate} ".encode()
        self._step = max(1, rate.period // _MICROSECOND // rate.amount)
        self._most = self._step * rate.amount

    async def take(self, key: str, now: datetime) -> timedelta:
        """Count one more unless that is over the rate."""
        own = await self._own.take(key, now)
        return max(own, await self._ask(key, now, is_taken=not own))

    async def wait(self, key: str, now: datetime) -> timedelta:
        """Say how long until one more would be counted."""
        return max(await self._own.wait(key, now), await self._ask(key, now, is_taken=False))

    async def _ask(self, key: str, now: datetime, *, is_taken: bool) -> timedelta:
        connection = self._link.connection
        if connection is None:
            return NO_WAIT
        who = self._name + key.encode("utf-8", "surrogatepass")
        slot = b"watchword:limit:" + blake2b(who, digest_size=16).digest()
        moment = round(now.timestamp() * 1_000_000)
        try:
            reply = await connection.ask("EVAL", _COUNT, 1, slot, moment, self._step, self._most, int(is_taken))
        except RedisLost:
            return NO_WAIT
        if isinstance(reply, RedisError) or not isinstance(reply, int):
            return NO_WAIT
        return reply * _MICROSECOND

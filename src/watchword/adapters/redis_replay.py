"""The memory of presented ids in a Redis or Valkey, shared by all nodes that use it.

It may be emptied, restarted or replaced by a copy that knows less, at any moment. So one more key, the marker, lives beside the
ids: it names the life of the server's memory and the horizon before which nothing is known, every claim names it, and a claim
that names another is none. It expires sooner than any id that still counts, so that a clock that jumps takes it away first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Final

import structlog

from watchword.adapters.redis_connection import RedisConnection, RedisError, Reply, check_reply
from watchword.adapters.redis_link import RedisFacts, RedisLink
from watchword.clock import Clock, system_clock
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Claim, Verdict, build_claim, milliseconds

log = structlog.get_logger("watchword.server")

MAX_SKEW: Final = 10_000
"""Milliseconds by which a node's clock and the server's may differ; beyond it nothing is claimed."""

MARKER_LIFE: Final = 60_000
_KEPT_LONGER: Final = MARKER_LIFE + 2 * MAX_SKEW
_LARGEST_BATCH: Final = 256

_ATTEST: Final = b"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[2]) > tonumber(ARGV[3]) then return 'clock' end
local marker = redis.call('GET', KEYS[1])
if not marker or string.sub(marker, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then
  marker = ARGV[1] .. ':' .. string.format('%.0f', now + ARGV[3])
end
redis.call('SET', KEYS[1], marker, 'PX', ARGV[4])
return {marker}
"""
_CLAIM: Final = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[2]) > tonumber(ARGV[3]) then return 'clock' end
local first = {}
for i = 2, #KEYS do
  first[i - 1] = redis.call('SET', KEYS[i], '', 'NX', 'PX', ARGV[i + 2]) and 1 or 0
end
return first
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    claim: Claim
    done: asyncio.Future[Verdict]

    def settle(self, verdict: Verdict) -> None:
        if not self.done.done():
            self.done.set_result(verdict)

    def refuse(self, reason: str, detail: str) -> None:
        if not self.done.done():
            self.done.set_exception(ReplayUnavailable(reason, detail=detail))


class RedisReplay:
    """Implements ``ports.replay.Replay``: all that is claimed in one turn of the event loop goes in one script."""

    def __init__(self, link: RedisLink, *, name: str, clock: Clock) -> None:
        """Use ``open``."""
        self._link = link
        self._clock = clock
        self.prefix = b"watchword:{%b}:replay:" % blake2b(name.encode(), digest_size=8).hexdigest().encode()
        self.marker = b""
        self._horizon = 0
        self._problem = ("replay.unavailable", "the memory has not been looked at")
        self._is_closed = False
        self._waiting: list[_Waiting] = []

    @classmethod
    async def open(cls, link: RedisLink, *, name: str, clock: Clock = system_clock) -> RedisReplay:
        """Open the memory of all who use this ``name`` there: the issuer.

        Raises:
            BadSettings, CacheUnavailable: as of the link.
            ReplayUnavailable: replay.clock
        """
        replay = cls(link, name=name, clock=clock)
        await link.watch(replay._attest)
        if not replay.marker:
            await replay.close()
            raise replay._refusal()
        return replay

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id, once."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")
        loop = asyncio.get_running_loop()
        one = _Waiting(build_claim(namespace, identifier, since, until), loop.create_future())
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append(one)
        return await one.done

    async def check(self) -> None:
        """Claim nothing, as if it were something."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")
        connection = self._link.connection
        if connection is None or not self.marker:
            raise self._refusal()
        nothing: list[_Waiting] = []
        answer = connection.ask("EVAL", _CLAIM, 1, self.prefix, self.marker, milliseconds(self._clock()), MAX_SKEW)
        await asyncio.wait([answer])
        if problem := self._settle(nothing, answer):
            raise ReplayUnavailable(problem[0], detail=problem[1])

    async def close(self) -> None:
        """Claim nothing more; the link is not this one's to close. Idempotent."""
        self._is_closed = True
        self._link.unwatch(self._attest)

    def _refusal(self) -> ReplayUnavailable:
        reason, detail = self._problem
        return ReplayUnavailable(reason, detail=detail)

    async def _attest(self, connection: RedisConnection, facts: RedisFacts) -> None:
        """Find the marker of this life, or set one; what it replaces may have known more."""
        now = milliseconds(self._clock())
        ask = connection.ask("EVAL", _ATTEST, 1, self.prefix, facts.life, now, MAX_SKEW, MARKER_LIFE)
        reply = check_reply(await ask)
        if not isinstance(reply, list):
            self._forget("replay.clock", "this machine's clock and the cache's differ by more than 10 s")
            return
        (marker,) = reply
        if marker == self.marker:
            return
        horizon = int(marker.rpartition(b":")[2])
        if self._horizon and horizon > self._horizon:
            log.warning("replay_lost", horizon=datetime.fromtimestamp(horizon / 1000, UTC).isoformat())
        self.marker, self._horizon = marker, horizon

    def _forget(self, reason: str, detail: str) -> None:
        self.marker = b""
        self._problem = (reason, detail)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        connection, now = self._link.connection, milliseconds(self._clock())
        if connection is None or not self.marker:
            reason, detail = self._problem if connection else ("replay.unavailable", "the cache cannot be reached")
            for one in waiting:
                one.refuse(reason, detail)
            return
        fitting = []
        for one in waiting:
            if one.claim.is_remembered(now=now, horizon=self._horizon, swept=0):
                fitting.append(one)
            else:
                one.settle(Verdict.UNSURE)
        for start in range(0, len(fitting), _LARGEST_BATCH):
            batch = fitting[start : start + _LARGEST_BATCH]
            keys = [self.prefix + one.claim.key for one in batch]
            lives = [one.claim.until - now + _KEPT_LONGER for one in batch]
            rest: list[bytes | int] = [self.marker, now, MAX_SKEW, *lives]
            answer = connection.ask("EVAL", _CLAIM, 1 + len(batch), self.prefix, *keys, *rest)
            answer.add_done_callback(partial(self._settle, batch))

    def _settle(self, batch: Sequence[_Waiting], answer: asyncio.Future[Reply]) -> tuple[str, str] | None:
        """Give everybody the answer; return what was wrong, if something was."""
        problem = self._problem_of(answer)
        if problem is not None:
            for one in batch:
                one.refuse(*problem)
            return problem
        reply = answer.result()
        for one, is_first in zip(batch, reply if isinstance(reply, list) else (), strict=True):
            one.settle(Verdict.FIRST if is_first == 1 else Verdict.REPEATED)
        return None

    def _problem_of(self, answer: asyncio.Future[Reply]) -> tuple[str, str] | None:
        if answer.cancelled():
            return "replay.closed", ""
        if error := answer.exception():
            return "replay.unavailable", f"the cache was lost: {error}"
        reply = answer.result()
        if isinstance(reply, list):
            return None
        if isinstance(reply, RedisError):
            return ("replay.full" if str(reply).startswith("OOM") else "replay.unavailable"), str(reply)
        self._link.look_again()
        if reply == b"clock":
            return "replay.clock", "this machine's clock and the cache's differ by more than 10 s"
        self._forget("replay.unavailable", "the cache has lost its memory")
        return "replay.unavailable", "the cache has lost its memory"

"""How often, and how many at once: every number in one table, and the one place that counts failures.

A busy honest agent is not what this is against: the rates for good requests are above what one process can answer until somebody
lowers them. What protects a server as it comes are the counts of failures and of requests under way.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final

from watchword.errors import OAuthError, Problem, RateLimited
from watchword.ports.ratelimit import Rate, RateLimiter
from watchword.server.networks import source_of

RECORD: Final = Rate(1, timedelta(seconds=60))
"""Of the refusals by one limit of one key, this many leave an event and a line in the log; all are counted."""

MAX_PROVED: Final = 32_768
MAX_NAME: Final = 256
"""Characters of a claimed name that are told apart."""

NewLimiter = Callable[[str, Rate], RateLimiter]
"""Makes the counters of one name and rate. Those who share counters share them by name."""

Observe = Callable[[str], None]
"""Told the name of the limit at every refusal. Must not raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The table. A peer is an IPv4 address or an IPv6 /64. Each worker process counts by itself, unless a cache is shared."""

    peer: Rate = field(default=Rate(20_000, timedelta(seconds=2)))
    agent: Rate = field(default=Rate(20_000, timedelta(seconds=2)))
    login_failures: Rate = field(default=Rate(20, timedelta(seconds=60)))
    peer_failures: Rate = field(default=Rate(600, timedelta(seconds=60)))
    concurrent_requests: int = 256
    concurrent_admin_requests: int = 32


class RequestLimits:
    """Admits requests, or refuses them with ``RateLimited``. Shared by all endpoints, so that no path has counts of its own."""

    def __init__(self, numbers: Limits, new_limiter: NewLimiter, observe: Observe) -> None:
        self.numbers = numbers
        self.observe = observe
        self._peer = _Limit("limit.peer", numbers.peer, new_limiter, observe)
        self._agent = _Limit("limit.agent", numbers.agent, new_limiter, observe)
        self._login_failures = _Limit("limit.login_failures", numbers.login_failures, new_limiter, observe)
        self._peer_failures = _Limit("limit.peer_failures", numbers.peer_failures, new_limiter, observe)
        self._proved = _Proved()
        self._failed = Failed()

    async def admit_peer(self, address: str, now: datetime) -> None:
        """Count a request of whoever it may be, before anything is done for it.

        Raises:
            RateLimited: limit.peer
        """
        await self._peer.admit(source_of(address), now)

    async def admit_agent(self, client_id: str, now: datetime) -> None:
        """Count a request of an agent that has proved who it is.

        Raises:
            RateLimited: limit.agent
        """
        await self._agent.admit(client_id, now)

    def attempt(self, address: str, now: datetime) -> Attempt:
        """Return what encloses the steps up to the moment at which it is known who asks."""
        return Attempt(source_of(address), now, self._login_failures, self._peer_failures, self._proved, self._failed)


@dataclass(slots=True)
class Failed:
    """How many attempts have failed so far, whoever's they were."""

    number: int = 0


class Attempt:
    """``async with``: a refusal inside is a failure of its peer and, once a name was claimed, of that name from that peer.

    Failures of a name stop this name from this peer, right credential or not, and nobody else. Failures of a peer stop whatever
    comes from it, but for names that have been proved from there before: a neighbour behind the same address is not locked out.
    No success takes a failure back.
    """

    def __init__(
        self,
        source: str,
        now: datetime,
        login_failures: _Limit,
        peer_failures: _Limit,
        proved: _Proved,
        failed: Failed,
    ) -> None:
        self._source = source
        self._now = now
        self._login_failures = login_failures
        self._peer_failures = peer_failures
        self._proved = proved
        self._failed = failed
        self._seen = 0
        self._login = ""
        self._peer_wait = timedelta(0)

    async def __aenter__(self) -> Attempt:
        await self._look_at_peer()
        return self

    async def _look_at_peer(self) -> None:
        self._peer_wait = await self._peer_failures.limiter.wait(self._source, self._now)

    async def claim(self, name: str) -> None:
        """Say who the caller claims to be, before it is checked. Known and unknown names are treated alike.

        The counts are looked at now. Who waits for anything between this and the check looks again (``confirm``).

        Raises:
            RateLimited: limit.login_failures, limit.peer_failures
        """
        self._login = f"{self._source} {_spelling(name)}"
        await self._look()

    async def confirm(self) -> None:
        """Look again if anybody has failed since: many guesses may have waited together for what they are compared with.

        Raises:
            RateLimited: limit.login_failures, limit.peer_failures
        """
        while self._seen != self._failed.number:
            await self._look()

    async def _look(self) -> None:
        self._seen = self._failed.number
        await self._look_at_peer()
        if wait := await self._login_failures.limiter.wait(self._login, self._now):
            raise await self._login_failures.refusal(self._login, wait, self._now)
        if self._peer_wait and self._login not in self._proved:
            raise await self._peer_failures.refusal(self._source, self._peer_wait, self._now)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None and self._login:
            self._proved.add(self._login)
        if isinstance(error, (OAuthError, Problem)) and not isinstance(error, RateLimited):
            await self._fail(error)

    async def _fail(self, error: OAuthError | Problem) -> None:
        """Whose peer has failed too often is not told what was wrong this time, whoever it is."""
        self._failed.number += 1
        if self._login:
            await self._login_failures.limiter.take(self._login, self._now)
        await self._peer_failures.limiter.take(self._source, self._now)
        if self._peer_wait:
            raise await self._peer_failures.refusal(self._source, self._peer_wait, self._now) from error


class _Limit:
    """One rate of the table, and the refusals by it: each counted, the first of a while recorded."""

    def __init__(self, reason: str, rate: Rate, new_limiter: NewLimiter, observe: Observe) -> None:
        self.limiter = new_limiter(reason.removeprefix("limit."), rate)
        self._reason = reason
        self._name = reason.removeprefix("limit.")
        self._records = new_limiter(f"{self._name}-records", RECORD)
        self._unrecorded = 0
        self._observe = observe

    async def admit(self, key: str, now: datetime) -> None:
        if wait := await self.limiter.take(key, now):
            raise await self.refusal(key, wait, now)

    async def refusal(self, key: str, wait: timedelta, now: datetime) -> RateLimited:
        self._observe(self._name)
        if await self._records.take(key, now):
            self._unrecorded += 1
            return RateLimited(self._reason, retry_after=wait, is_recorded=False)
        unrecorded, self._unrecorded = self._unrecorded, 0
        return RateLimited(self._reason, retry_after=wait, unrecorded=unrecorded)


class _Proved:
    """The names lately proved, each from its peer: bounded, the one not seen for longest is forgotten first."""

    def __init__(self) -> None:
        self._logins: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, login: str) -> bool:
        return hash(login) in self._logins

    def add(self, login: str) -> None:
        slot = hash(login)
        self._logins[slot] = None
        self._logins.move_to_end(slot)
        if len(self._logins) > MAX_PROVED:
            self._logins.popitem(last=False)


def _spelling(name: str) -> str:
    """One spelling for all that a reader might take for the same name: no variant has counts of its own."""
    return "".join(unicodedata.normalize("NFKC", name[:MAX_NAME]).casefold().split())

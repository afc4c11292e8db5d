"""What is revoked, as the server knows it at this moment, and what becomes of it when nothing is left that it could hit.

R8: a cut-off is a whole second, and what was issued in that second or earlier is dead, whichever came first. A cut-off is never
behind the clock of a node that may be issuing, so a token that a fast clock has dated ahead is hit too; and who is given a token
after the cut-off gets one whose ``iat`` is later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from watchword.clock import Clock
from watchword.ports.cluster import Cluster
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.ports.store import Store, TellsEpochAtOnce
from watchword.protocol.access_token import MAX_LEEWAY
from watchword.protocol.revocation import Revocation, RevocationKind, RevocationView
from watchword.server.key_schedule import LONGEST_LIFETIME
from watchword.server.offices import BEAT, LEASE, Job, Term

SECOND: Final = timedelta(seconds=1)
MARGIN: Final = timedelta(minutes=1)
"""How long a revocation is kept beyond the end of the last token that it could hit: clocks differ."""

LONGEST_HELD: Final = timedelta(hours=2)
"""How long an API that cannot reach the key set goes on with the one it has: a key that was given up is refused for so long."""

PAGE: Final = 1000
PRUNE_EVERY: Final = timedelta(minutes=1)


class LiveRevocations:
    """All that is revoked, taken anew where the store's epoch has moved: a revocation shows at the next request."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._view = RevocationView()
        self._epoch = -1
        self._sequence = 0
        self._pruned_at = clock()
        self._turn = asyncio.Lock()

    async def current(self) -> RevocationView:
        """Return what is revoked now. It is one object that goes on changing: ask it before the next ``await``.

        Raises:
            StoreUnavailable: nobody can say what is revoked.
        """
        epoch = await self._store.epoch()
        if epoch != self._epoch:
            async with self._turn:
                await self._catch_up(epoch)
        now = self._clock()
        if abs(now - self._pruned_at) >= PRUNE_EVERY:
            self._pruned_at = now
            self._view.prune(now)
        return self._view

    async def _catch_up(self, epoch: int) -> None:
        """Take what has come since. Sequences come in the order of commits: nothing is ever added behind the last one."""
        if epoch == self._epoch:
            return
        while found := await self._store.revocations(after=self._sequence, limit=PAGE):
            self._view.add(found)
            self._sequence = found[-1].sequence
        self._epoch = epoch


async def cutoff_now(store: Store, now: datetime) -> datetime:
    """Return the cut-off of what is revoked now: no node has issued anything later yet.

    All processes on a store that is a file have one clock. Else a node that reported moments ago may be ahead of us by more
    than its report shows, by as much as there is between two reports.

    Raises:
        StoreUnavailable
    """
    latest = max((await _clocks(store, now)), default=now)
    return whole_second(max(now, latest))


async def _clocks(cluster: Cluster, now: datetime) -> Iterable[datetime]:
    """Return how late it may be at this moment by the clock of each node that is heard of."""
    is_one_clock = isinstance(cluster, TellsEpochAtOnce)
    seen = [node.seen_at for node in await cluster.nodes() if node.seen_at > now - LEASE]
    return [at for at in seen if at > now] if is_one_clock else [at + BEAT for at in seen]


def whole_second(moment: datetime) -> datetime:
    """Return the moment, rounded up to a whole second: ``iat`` has no fractions."""
    return moment if not moment.microsecond else moment.replace(microsecond=0) + SECOND


def until(cutoff: datetime) -> datetime:
    """Return when nothing is left that a cut-off could hit."""
    return cutoff + LONGEST_LIFETIME + MAX_LEEWAY + MARGIN


def revoke(kind: RevocationKind, target: str, *, cutoff: datetime, now: datetime) -> Revoke:
    """Return the change that ends what this target was issued until the cut-off."""
    return Revoke(Revocation(kind=kind, target=target, cutoff=cutoff, created_at=now, expires_at=until(cutoff)))


async def prune(term: Term) -> None:
    """Remove the revocations that can hit nothing any more.

    Raises:
        Conflict: office.term
        StoreUnavailable
    """
    now, after, number = term.now, 0, 0
    while found := await term.store.revocations(after=after, limit=PAGE):
        number += sum(one.expires_at <= now for one in found)
        after = found[-1].sequence
    if number:
        facts = {"revocations": str(number)}
        await term.commit("pruned", PruneRevocations(now), action="revocation.prune", details=facts)


PRUNING: Final = Job("prune_revocations", timedelta(minutes=5), prune)
"""What one node does for all. Each process forgets by itself what it holds in memory."""

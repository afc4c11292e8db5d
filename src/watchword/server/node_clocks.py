"""The time, where each node has a clock: what must not come too early is judged by the slowest, and noted by the fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from watchword.errors import Conflict
from watchword.ports.cluster import Cluster, Node
from watchword.server.offices import LEASE


@dataclass(frozen=True, slots=True)
class Clocks:
    """The least and the most that any clock is known to show. ``slowest`` is the node that is behind, if one is: by its clock, or
    because it has ended without a word and was not forgotten yet. Nobody can tell which.
    """

    earliest: datetime
    latest: datetime
    slowest: Node | None = None

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say whose clock it was that made something come too early.

        Raises:
            Conflict: the one that was raised in the block.
        """
        try:
            yield
        except Conflict as conflict:
            if conflict.reason != "key.too_early" or self.slowest is None:
                raise
            shown = f"{self.slowest.seen_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            node = f"The clock of the node {self.slowest.name} showed {shown} last"
            detail = f"{conflict.detail} {node}: correct the clocks; if it has ended, it is forgotten after 11 minutes."
            raise Conflict(conflict.reason, detail=detail) from conflict


async def compare_clocks(cluster: Cluster, *, now: datetime) -> Clocks:
    """Return what the clock of this process, which shows ``now``, and those of the known nodes show.

    Each node tells its own time every few seconds; who was heard of within a lease is not behind.

    Raises:
        StoreUnavailable
    """
    earliest = latest = now
    slowest = None
    for node in await cluster.nodes():
        latest = max(latest, node.seen_at)
        if node.seen_at + LEASE < earliest:
            earliest, slowest = node.seen_at + LEASE, node
    return Clocks(earliest, latest, slowest)

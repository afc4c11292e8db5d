"""Which servers there are on one store, how they stand, and what becomes of those that are heard of no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import Conflict
from watchword.ports.cluster import Cluster, ForgetNode, Node
from watchword.ports.store import Store
from watchword.server.audit import claimed
from watchword.server.offices import LEASE, UPKEEP, Job, Term

FORGET_AFTER: Final = timedelta(minutes=10)
"""A node that did not say goodbye stays in the list for so long: people want to see what is missing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A node, the offices that it holds now, and whether nothing was heard of it for the length of a lease."""

    node: Node
    offices: tuple[str, ...]
    is_silent: bool


async def standings(cluster: Cluster, *, now: datetime) -> tuple[Standing, ...]:
    """Return how every node stands, by name.

    Raises:
        StoreUnavailable
    """
    held = [office for office in await cluster.offices() if office.until > now]
    return tuple(
        Standing(
            node,
            tuple(office.name for office in held if office.holder == node.id),
            is_silent=node.seen_at <= now - LEASE,
        )
        for node in await cluster.nodes()
    )


async def summary(store: Store, *, now: datetime) -> Mapping[str, str]:
    """Return in words how many nodes there are, who does the periodic work, and whose the tables are.

    Raises:
        StoreUnavailable
    """
    nodes, schema = await standings(store, now=now), await store.schema()
    silent = sum(one.is_silent for one in nodes)
    holders = [one.node.name for one in nodes if UPKEEP in one.offices]
    return {
        "nodes": f"{len(nodes) - silent}" + (f", {silent} silent" if silent else ""),
        UPKEEP: holders[0] if holders else "nobody",
        "schema": f"{schema.present}" + (f", this version knows {schema.known}" if schema.is_newer else ""),
    }


class Forgetting:
    """Forgets every node of which nothing was heard for ``FORGET_AFTER``, each with an event of its own.

    A node that goes on reporting is alive, however far behind its clock is: so it is looked at twice.
    """

    def __init__(self) -> None:
        self._heard: dict[str, datetime] = {}
        self.job = Job("forget_nodes", timedelta(minutes=1), self.work)

    async def work(self, term: Term) -> None:
        """Forget those that were silent at the last look, too, and have not said a word since.

        Raises:
            Conflict: office.term
            StoreUnavailable
        """
        before, heard = term.now - FORGET_AFTER, self._heard
        nodes = await term.store.nodes()
        self._heard = {node.id: node.seen_at for node in nodes}
        for node in nodes:
            if node.seen_at < before and heard.get(node.id) == node.seen_at:
                await _forget(term, node, before)


async def _forget(term: Term, node: Node, before: datetime) -> None:
    facts = {"node_id": node.id, "name": claimed(node.name)}
    try:
        await term.commit("forgotten", ForgetNode(node.id, before), action="node.forget", details=facts)
    except Conflict as conflict:
        if conflict.reason != "node.missing":  # else it was heard of again in the moment between
            raise

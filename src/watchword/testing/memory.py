"""A store in memory: the reference behaviour of ``ports.store.Store``, with a switch that makes it fail."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from watchword.errors import StoreUnavailable, Superseded
from watchword.ports.agents import Agent, AgentState, Credential, CredentialState, Operator, Registration, Resource
from watchword.ports.audit import GENESIS, AuditEvent, ChainHead, StoredEvent, link
from watchword.ports.cluster import Node, Office
from watchword.ports.issuers import TrustedIssuer
from watchword.ports.keys import SigningKey
from watchword.ports.schema import Schema
from watchword.ports.store import Basis, Change, StoreIdentity, moves_epoch
from watchword.protocol.revocation import Revocation
from watchword.testing.memory_issuers import find_issuer
from watchword.testing.memory_offices import hold, resign
from watchword.testing.memory_tables import Tables, apply_change, find_named, is_federated, sorted_rows

CHAIN: Final = "memory"
FILTERS: Final = frozenset({"action", "outcome", "reason", "actor", "client_id", "request_id", "jti"})


class MemoryStore:
    """Keeps everything in dictionaries; one chain named ``memory``.

    ``trail`` holds every committed event, oldest first. While ``is_down``, everything raises ``StoreUnavailable``.
    """

    def __init__(self) -> None:
        self.trail: list[AuditEvent] = []
        self.is_down = False
        self._tables = Tables()
        self._events: list[StoredEvent] = []
        self._epoch = 0
        self._status_blocks = 0
        self._failing_commits = 0
        self._failing_reads = 0
        self._is_closed = False
        self._lock = threading.Lock()

    def fail_next(self, *, commits: int = 0, reads: int = 0) -> None:
        """Make the next so many commits and the next so many reads raise ``StoreUnavailable``; nothing is applied."""
        self._failing_commits = commits
        self._failing_reads = reads

    async def commit(self, event: AuditEvent, changes: Sequence[Change] = (), *, basis: Basis | None = None) -> None:
        """Apply the changes and append the event, or do neither."""
        self._check_writable()
        with self._lock:
            tables = self._tables
            if basis is not None and not basis.registration.permits_as(
                _registration(tables, basis.registration.agent.client_id)
            ):
                raise Superseded("store.superseded")
            if changes:
                tables = tables.copy()
            for change in changes:
                apply_change(tables, change)
            payload = event.canonical_bytes()
            previous = self._events[-1].hash if self._events else GENESIS
            place = len(self._events) + 1
            self._tables = tables
            self._events.append(StoredEvent(place, CHAIN, place, payload, link(previous, payload)))
            self.trail.append(event)
            self._epoch += moves_epoch(changes)

    async def report(self, node: Node) -> None:
        """Remember that this node was there."""
        self._check_writable()
        with self._lock:
            self._tables.nodes[node.id] = node

    async def leave(self, node_id: str) -> None:
        """Forget this node, and what it holds."""
        self._check_writable()
        with self._lock:
            self._tables.nodes.pop(node_id, None)
            for office in list(self._tables.offices):
                resign(self._tables.offices, office, node_id)

    async def nodes(self) -> Sequence[Node]:
        """Return every node, by name and id."""
        return sorted(self._read().nodes.values(), key=lambda node: (node.name, node.id))

    async def offices(self) -> Sequence[Office]:
        """Return every office, by name."""
        return sorted_rows(self._read().offices)

    async def hold(self, office: str, holder: str, *, now: datetime, until: datetime) -> int | None:
        """Take or keep an office, or be refused."""
        self._check_writable()
        with self._lock:
            return hold(self._tables.offices, office, holder, now=now, until=until)

    async def resign(self, office: str, holder: str) -> None:
        """Give up an office."""
        self._check_writable()
        with self._lock:
            resign(self._tables.offices, office, holder)

    async def epoch(self) -> int:
        """Return the number of commits that changed anything but a last use."""
        self._read()
        return self._epoch

    async def schema(self) -> Schema:
        """Return the only one there is."""
        self._read()
        return Schema(present=1, known=1, compatible_from=1)

    async def identity(self) -> StoreIdentity:
        """Return whose store this is."""
        return self._read().identity

    async def check(self) -> None:
        """Return unless the store is down, closed, or told to fail."""
        self._check_open()
        if self._failing_commits or self._failing_reads:
            raise StoreUnavailable("store.memory", detail="told to fail")

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._is_closed = True

    async def credentials(self, client_id: str) -> tuple[Credential, ...] | None:
        """Return the credentials of one client."""
        tables = self._read()
        found = tuple(row for row in sorted_rows(tables.credentials) if row.client_id == client_id)
        return found if client_id in tables.agents else None

    async def ending_credentials(
        self, *, after: tuple[datetime, str], before: datetime, limit: int, silence: bool = False
    ) -> Sequence[Credential]:
        """Return a page of active credentials by end and id."""
        ends = [
            (row.expires_at, row.id, row) for row in self._read().credentials.values() if row.expires_at is not None
        ]
        found = [
            row
            for end, row_id, row in sorted(ends, key=lambda one: one[:2])
            if (end, row_id) > after
            and end <= before
            and row.state is CredentialState.ACTIVE
            and (row.silence is not None or not silence)
        ]
        return found[: max(limit, 0)]

    async def registration(self, client_id: str) -> Registration | None:
        """Return everything about one client."""
        return _registration(self._read(), client_id)

    async def find_agent(self, name_or_id: str) -> Agent | None:
        """Return an agent by ``client_id``, or a not deleted one by name."""
        tables = self._read()
        return tables.agents.get(name_or_id) or find_named(tables, name_or_id)

    async def agents(self, *, after: str, limit: int, state: AgentState | None = None) -> Sequence[Agent]:
        """Return a page of agents by ``client_id``."""

        def is_wanted(agent: Agent) -> bool:
            return agent.state is not AgentState.DELETED if state is None else agent.state is state

        rows = [row for row in sorted_rows(self._read().agents) if row.client_id > after and is_wanted(row)]
        return rows[: max(limit, 0)]

    async def resource(self, name: str) -> Resource | None:
        """Return one resource by name."""
        return self._read().resources.get(name)

    async def resources(self, *, after: str, limit: int) -> Sequence[Resource]:
        """Return a page of resources by name."""
        return [row for row in sorted_rows(self._read().resources) if row.name > after][: max(limit, 0)]

    async def operator(self, token_hash: bytes) -> Operator | None:
        """Return an operator by the keyed hash of its credential; an empty hash is nobody's."""
        rows = self._read().operators.values()
        return next((row for row in rows if token_hash and row.token_hash == token_hash), None)

    async def operators(self) -> Sequence[Operator]:
        """Return all operators by name."""
        return sorted(self._read().operators.values(), key=lambda row: (row.name, row.id))

    async def trusted_issuer(self, name: str) -> TrustedIssuer | None:
        """Return one trusted issuer by name."""
        return self._read().trusted_issuers.get(name)

    async def trusted_issuer_of(self, issuer: str) -> TrustedIssuer | None:
        """Return one trusted issuer by what stands in ``iss``."""
        return find_issuer(self._read().trusted_issuers, issuer)

    async def trusted_issuers(self) -> Sequence[TrustedIssuer]:
        """Return all trusted issuers by name."""
        return sorted_rows(self._read().trusted_issuers)

    async def federated(self, name: str, *, limit: int) -> Sequence[Credential]:
        """Return active credentials that trust this issuer, by id."""
        found = [row for row in sorted_rows(self._read().credentials) if is_federated(row, name)]
        return found[: max(limit, 0)]

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """Return revocations by sequence."""
        return self._read().revocations.page(after=after, limit=limit)

    async def revocation_sequence(self) -> int:
        """Return the sequence that was given last."""
        return self._read().revocations.sequence

    async def status_blocks(self) -> int:
        """Return how many blocks of places have been taken."""
        self._read()
        return self._status_blocks

    async def take_status_block(self) -> int:
        """Return a block of places that is nobody else's."""
        self._check_writable()
        with self._lock:
            self._status_blocks += 1
            return self._status_blocks - 1

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""
        return sorted(self._read().signing_keys.values(), key=lambda row: (row.created_at, row.kid))

    async def events(
        self, *, after: int = 0, limit: int = 100, filters: Mapping[str, str] | None = None, newest_first: bool = False
    ) -> Sequence[StoredEvent]:
        """Return a page of events."""
        wanted = dict(filters or {})
        if unknown := wanted.keys() - FILTERS:
            raise ValueError(f"no such filter: {sorted(unknown)}")
        self._read()

        def is_wanted(stored: StoredEvent) -> bool:
            if after and (stored.cursor >= after if newest_first else stored.cursor <= after):
                return False
            event = self.trail[stored.cursor - 1]
            return all(str(getattr(event, name)) == value for name, value in wanted.items())

        rows = reversed(self._events) if newest_first else iter(self._events)
        return [row for row in rows if is_wanted(row)][: max(limit, 0)]

    async def heads(self) -> Sequence[ChainHead]:
        """Return the one head, once there is an event."""
        self._read()
        return [ChainHead(CHAIN, row.position, row.hash) for row in self._events[-1:]]

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("store.closed")
        if self.is_down:
            raise StoreUnavailable("store.memory", detail="told to be down")

    def _check_writable(self) -> None:
        self._check_open()
        if self._failing_commits:
            self._failing_commits -= 1
            raise StoreUnavailable("store.memory", detail="told to fail")

    def _read(self) -> Tables:
        self._check_open()
        if self._failing_reads:
            self._failing_reads -= 1
            raise StoreUnavailable("store.memory", detail="told to fail")
        return self._tables


def _registration(tables: Tables, client_id: str) -> Registration | None:
    agent = tables.agents.get(client_id)
    if agent is None:
        return None
    permissions = tuple(row for row in sorted_rows(tables.permissions) if row.client_id == client_id)
    return Registration(
        agent=agent,
        credentials=tuple(row for row in sorted_rows(tables.credentials) if row.client_id == client_id),
        permissions=permissions,
        resources={row.resource: tables.resources[row.resource] for row in permissions},
    )

"""How often and when credentials are used: counted here, written when their last use is, at most once an hour or so.

A token does not cost a write of its own: what was counted goes along with the next note of a last use, and what is left is
written each hour and when the process stops. A process that is killed loses what it had counted since: ``Credential.uses`` is
what there were at least. The audit trail has every single one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from watchword.clock import Clock
from watchword.errors import StoreUnavailable
from watchword.ports.agents import Credential
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.store import Store, TouchCredential
from watchword.server.credential_ends import exactness
from watchword.server.networks import network_of

FLUSH_INTERVAL: Final = timedelta(hours=1)
CAPACITY: Final = 10_000
"""Credentials whose uses one process counts; of more, each use is written at once."""

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class _Count:
    uses: int
    at: datetime
    network: str


@dataclass(frozen=True, slots=True)
class Use:
    """One use: what is to be stored with its event, and what to call if that does not become durable."""

    changes: tuple[TouchCredential, ...]
    undo: Callable[[], None]


class Uses:
    """What this process has counted and not written."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._counted: dict[str, _Count] = {}

    def count(self, credential: Credential, at: datetime, address: str) -> Use:
        """Count one use; where its note is due, all that was counted goes along with it."""
        one = _Count(1, at, network_of(address))
        if not self._is_due(credential, one):
            self._add(credential.id, one)
            return Use((), partial(self._add, credential.id, _Count(-1, at, one.network)))
        before = self._counted.pop(credential.id, None)
        uses = 1 + (before.uses if before else 0)
        undo = partial(self._add, credential.id, before) if before else _nothing
        return Use((TouchCredential(credential.id, at, one.network, uses),), undo)

    def _is_due(self, credential: Credential, use: _Count) -> bool:
        last = credential.last_used_at
        is_known = last is not None and use.at - last < exactness(credential)
        is_full = len(self._counted) >= self._capacity and credential.id not in self._counted
        return is_full or not is_known or credential.last_used_network != use.network

    def _add(self, credential_id: str, more: _Count) -> None:
        known = self._counted.get(credential_id)
        if known is not None:
            latest = max(known, more, key=lambda one: one.at)
            more = _Count(known.uses + more.uses, latest.at, latest.network)
        if more.uses > 0:
            self._counted[credential_id] = more
        else:
            self._counted.pop(credential_id, None)

    def take(self) -> Sequence[TouchCredential]:
        """Return the notes of all that was counted, which counts as written from now on."""
        counted, self._counted = self._counted, {}
        return [TouchCredential(name, one.at, one.network, one.uses) for name, one in counted.items()]

    def give_back(self, notes: Sequence[TouchCredential]) -> None:
        """Count again what could not be written."""
        for note in notes:
            self._add(note.credential_id, _Count(note.uses, note.at, note.network))


def _nothing() -> None:
    """Undo nothing."""


@asynccontextmanager
async def written(uses: Uses, store: Store, clock: Clock, node: str) -> AsyncIterator[None]:
    """Write what is counted each hour, and when the block is left. What cannot be written is tried the next time."""

    async def keep_writing() -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL.total_seconds() * (0.9 + secrets.randbelow(100) / 1000))
            await write(uses, store, clock, node)

    writing = asyncio.create_task(keep_writing(), name="watchword-uses")
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await write(uses, store, clock, node)


async def write(uses: Uses, store: Store, clock: Clock, node: str) -> None:
    """Write what is counted, so many at a time, each with one event that says how many."""
    notes = uses.take()
    for first in range(0, len(notes), _BATCH):
        batch = notes[first : first + _BATCH]
        facts = {"credentials": str(len(batch)), "uses": str(sum(note.uses for note in batch))}
        event = AuditEvent(
            id=secrets.token_hex(16),
            time=clock(),
            action="credential.count",
            outcome=Outcome.SUCCESS,
            reason="counted",
            actor=f"node:{node}",
            details=facts,
        )
        try:
            await store.commit(event, batch)
        except StoreUnavailable:
            uses.give_back(notes[first:])
            return

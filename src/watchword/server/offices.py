"""What one node does for all: it reports that it is there, holds the office if it can, and while it does, works.

A lease says who works, so that work is seldom done twice; the term says whose work counts, so that it never is: whatever a job
writes it writes through ``Term.commit``, which the store refuses once anybody has taken the office since. A node that was
stopped for a minute in the middle of a job, and knows nothing of it, does no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from watchword.clock import Clock
from watchword.errors import Conflict
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.cluster import InTerm, Node
from watchword.ports.store import Change, Store

UPKEEP: Final = "upkeep"
"""The office of whoever does the periodic work."""

BEAT: Final = timedelta(seconds=5)
"""How often a node reports, at the least; a little earlier, so that several do not meet."""

LEASE: Final = timedelta(seconds=15)
"""How long an office is held without being renewed: three beats. At most a beat later another node has it."""

_LAST_WORDS: Final = 2.0  # seconds that a job may take to end when it is told to


class Ending(StrEnum):
    """How one run of a job ended."""

    DONE = "done"
    FAILED = "failed"
    FENCED = "fenced"
    """The office was another's by then: nothing of it counts."""


class Witness(Protocol):
    """Told what happens to a node. Must not raise."""

    # ruff: noqa: D102 -- the names say it

    def saw(self, nodes: int) -> None: ...
    def missed(self, error: Exception) -> None: ...
    def took(self, office: str, term: int) -> None: ...
    def lost(self, office: str, term: int) -> None: ...
    def ended(self, job: str, ending: Ending, error: Exception | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Term:
    """One holding of an office: what a job works with."""

    store: Store
    clock: Clock
    office: str
    number: int
    node: Node

    @property
    def now(self) -> datetime:
        """The time: aware, UTC."""
        return self.clock()

    async def commit(
        self, reason: str, *changes: Change, action: str, details: Mapping[str, str], **facts: str
    ) -> None:
        """Make the changes and record them, if this term is not over. ``facts`` are members of the event.

        Raises:
            Conflict: office.term; or a change does not fit what is stored.
            StoreUnavailable
        """
        event = AuditEvent(
            id=secrets.token_hex(16),
            time=self.now,
            action=action,
            outcome=Outcome.SUCCESS,
            reason=reason,
            actor=f"node:{self.node.id}",
            details=details,
            **facts,  # type: ignore[arg-type]  # the event's own fields, checked by its constructor
        )
        await self.store.commit(event, (InTerm(self.office, self.number), *changes))


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done again and again, about ``every`` so often, by one node. Safe to do twice, and to break off."""

    name: str
    every: timedelta
    work: Callable[[Term], Awaitable[None]]


class Attendance:
    """A node's part in the cluster. Nothing that fails here fails anything else: it is witnessed, and tried again."""

    def __init__(
        self, store: Store, node: Node, jobs: Sequence[Job], *, clock: Clock, witness: Witness, office: str = UPKEEP
    ) -> None:
        self._store = store
        self._node = node
        self._jobs = jobs
        self._clock = clock
        self._witness = witness
        self._office = office
        self._until = clock()
        self._term: Term | None = None
        self._working: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[None]:
        """Take part until the block is left; then give up the office and leave."""
        beating = asyncio.create_task(self._keep_beating(), name="watchword-beat")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            await self._leave()

    async def _keep_beating(self) -> None:
        while True:
            await self.beat()
            await _pause(BEAT, least=0.9)

    async def beat(self) -> None:
        """Report once; take the office, keep it, or notice that it is lost."""
        now = self._clock()
        try:
            await self._store.report(replace(self._node, seen_at=now))
            await self._store.epoch()  # whoever may not write to the store any more holds no office
            number = await self._store.hold(self._office, self._node.id, now=now, until=now + LEASE)
            nodes = await self._store.nodes()
        except Exception as error:  # noqa: BLE001 -- a node that cannot report now goes on, and tries again
            self._witness.missed(error)
            if self._clock() >= self._until:
                await self._stop_working()
            return
        self._until = now + LEASE
        self._witness.saw(sum(node.seen_at > now - LEASE for node in nodes))
        if self._term is None or self._term.number != number:
            await self._stop_working()
            if number is not None:
                self._begin(Term(self._store, self._clock, self._office, number, self._node))

    def _begin(self, term: Term) -> None:
        self._term = term
        self._witness.took(term.office, term.number)
        for job in self._jobs:
            self._working.add(asyncio.create_task(self._keep_doing(job, term), name=f"watchword-{job.name}"))

    async def _keep_doing(self, job: Job, term: Term) -> None:
        await _pause(job.every, least=0.0)
        while self._clock() >= self._until or await self._do(job, term):  # a lease that is over may yet be renewed
            await _pause(job.every, least=0.9)

    async def _do(self, job: Job, term: Term) -> bool:
        """Do it once; tell whether it may be done again in this term."""
        ending, failure = Ending.DONE, None
        try:
            await job.work(term)
        except Exception as error:  # noqa: BLE001 -- a job that fails ends neither itself nor the others
            is_late = isinstance(error, Conflict) and error.reason == "office.term"
            ending, failure = Ending.FENCED if is_late else Ending.FAILED, error
        self._witness.ended(job.name, ending, failure)
        return ending is not Ending.FENCED

    async def _stop_working(self) -> None:
        term, self._term = self._term, None
        working, self._working = self._working, set()
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working, timeout=_LAST_WORDS)
        if term is not None:
            self._witness.lost(term.office, term.number)

    async def _leave(self) -> None:
        await self._stop_working()
        try:
            await self._store.leave(self._node.id)
        except Exception as error:  # noqa: BLE001 -- the others will notice by themselves
            self._witness.missed(error)


async def _pause(duration: timedelta, *, least: float) -> None:
    """Sleep for a part of the duration, by chance: never less than ``least`` of it."""
    part = least + (1 - least) * secrets.randbelow(1000) / 1000
    await asyncio.sleep(duration.total_seconds() * part)

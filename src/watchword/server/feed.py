"""The revocation feed of one process: it looks at the store while anybody listens, and tells all of them at once.

Nothing is queued for a reader. It has a position, and takes from there what it has not: who reads slowly holds up nobody, and
misses nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from watchword.clock import Clock
from watchword.errors import OAuthError, Overloaded, RateLimited
from watchword.ports.store import Store
from watchword.server.feed_access import FeedAccess, Reader
from watchword.server.feed_events import EventPages, EventSigner, SignedEvent

POLL: Final = 0.01
"""Seconds between two looks at the store's epoch while somebody listens."""

PAUSE: Final = 0.25
"""Seconds until another attempt after one has failed, and between two rounds in which readers are judged anew."""

RETRY_AFTER: Final = timedelta(seconds=5)
_JUDGED_PER_TURN: Final = 64


class Witness(Protocol):
    """Told what happens to the feed. Must not raise."""

    # ruff: noqa: D102 -- the names say it

    def listening(self, readers: int) -> None: ...
    def ended(self, reason: str) -> None: ...
    def told(self, revocations: int, seconds: float) -> None: ...
    def failed(self, error: Exception) -> None: ...
    def works(self) -> None: ...


class SilentWitness:
    """Tells nobody."""

    # ruff: noqa: D102 -- the names say it

    def listening(self, readers: int) -> None: ...
    def ended(self, reason: str) -> None: ...
    def told(self, revocations: int, seconds: float) -> None: ...
    def failed(self, error: Exception) -> None: ...
    def works(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRules:
    """How often a beat comes, and how many may read at once in a process: in all, and as one agent."""

    heartbeat: timedelta = timedelta(seconds=1)
    readers: int = 3000
    readers_per_agent: int = 500


@dataclass(slots=True, eq=False)
class Listener:
    """One reader. ``generation`` and ``position`` are what it holds; ``ending`` is why it ends, once it does."""

    reader: Reader
    generation: int = 0
    position: int = 0
    in_snapshot: bool = False
    beats: int = 0
    ending: str = ""
    _waiter: asyncio.Future[None] | None = field(default=None, repr=False)

    def end(self, reason: str) -> None:
        """Say that it is over."""
        self.ending = self.ending or reason
        self.wake()

    def wake(self) -> None:
        """Have it look whether there is something for it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return when it is to look."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Feed:
    """``async with feed.listen(...)``, then ``next`` again and again."""

    def __init__(
        self, store: Store, signer: EventSigner, access: FeedAccess, clock: Clock, rules: FeedRules, witness: Witness
    ) -> None:
        self.access = access
        self.rules = rules
        self._store = store
        self._pages = EventPages(store, signer, clock)
        self._clock = clock
        self._witness = witness
        self._listeners: set[Listener] = set()
        self._agents: Counter[str] = Counter()
        self._position = 0
        self._epoch = -1
        self._beat: SignedEvent | None = None
        self._beats = 0
        self._working: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._is_closed = False

    @asynccontextmanager
    async def listen(self, reader: Reader, *, generation: int, position: int) -> AsyncIterator[Listener]:
        """Give a place to a reader that holds everything up to ``position`` of ``generation``; 0 and 0 if it holds nothing.

        Raises:
            RateLimited: feed.agent_readers: this agent has too many places already.
            Overloaded: feed.readers: there is none left; feed.closing: this process stops.
            Fault: the store cannot be read.
        """
        listener = self._take_place(reader)
        try:
            await self._start()
            self._place(listener, generation, position)
            yield listener
        finally:
            self._listeners.discard(listener)
            self._agents -= Counter([reader.client_id])
            self._witness.listening(len(self._listeners))
            self._witness.ended(listener.ending or "left")
            if not self._listeners:
                self._stop()

    async def next(self, listener: Listener) -> SignedEvent | None:
        """Return what the listener has not had yet, or nothing once it ends. Waits until there is something.

        Raises:
            Fault: it cannot be read or signed now.
        """
        while not listener.ending:
            found = await self._find(listener)
            if found is not None:
                return found
            await listener.wait()
        return None

    def has_news(self, listener: Listener) -> bool:
        """Tell whether there is more for it than a beat."""
        return listener.in_snapshot or listener.position < self._position

    def close(self) -> None:
        """End everything: this process stops. Nobody is let in any more."""
        self._is_closed = True
        for listener in tuple(self._listeners):
            listener.end("closing")

    def _take_place(self, reader: Reader) -> Listener:
        if self._is_closed:
            raise Overloaded("feed.closing")
        if len(self._listeners) >= self.rules.readers:
            raise Overloaded("feed.readers")
        if self._agents[reader.client_id] >= self.rules.readers_per_agent:
            raise RateLimited("feed.agent_readers", retry_after=RETRY_AFTER)
        listener = Listener(reader)
        self._listeners.add(listener)
        self._agents[reader.client_id] += 1
        self._witness.listening(len(self._listeners))
        return listener

    def _place(self, listener: Listener, generation: int, position: int) -> None:
        is_known = generation == self._pages.generation and 0 <= position <= self._position
        listener.generation = self._pages.generation
        listener.position = position if is_known else 0
        listener.in_snapshot = not is_known

    async def _find(self, listener: Listener) -> SignedEvent | None:
        if self.has_news(listener):
            page = await self._pages.page(listener.position, known=self._position, is_snapshot=listener.in_snapshot)
            listener.position = page.position
            listener.in_snapshot = listener.in_snapshot and not page.is_last_page
            return page
        if listener.beats != self._beats and self._beat is not None and self._beat.position == listener.position:
            listener.beats = self._beats
            return self._beat
        return None

    async def _start(self) -> None:
        async with self._starting:
            if self._working:
                return
            self._epoch = -1
            self._beat = None
            await self._look()
            self._working = [asyncio.create_task(work(), name="watchword-feed") for work in (self._watch, self._judge)]

    def _stop(self) -> None:
        working, self._working = self._working, []
        for task in working:
            task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 -- no beat comes meanwhile: who reads knows what that means
                self._witness.failed(error)
                await asyncio.sleep(PAUSE)
            else:
                self._witness.works()
            await asyncio.sleep(POLL)

    async def _look(self) -> None:
        """See whether there is something new, and tell everybody; tell them that there is not when it is time for that."""
        epoch = await self._store.epoch()
        if epoch != self._epoch:
            await self._advance()
            self._epoch = epoch
        now = self._clock()
        if self._beat is None or abs(now - self._beat.event.issued_at) >= self.rules.heartbeat:
            self._beat = await self._pages.beat(self._position, now)
            self._beats += 1
            self._wake()

    async def _advance(self) -> None:
        generation = (await self._store.identity()).generation
        if generation != self._pages.generation:
            self._pages.begin(generation)
            self._position = 0
            for listener in self._listeners if self._working else ():
                listener.end("generation")
        began, known = self._clock(), await self._store.revocation_sequence()
        if not self._working:  # nobody stands anywhere yet
            self._position = known
        while self._position < known:
            page = await self._pages.page(self._position, known=known, is_snapshot=False)
            self._position = page.position
            self._wake()
            self._witness.told(len(page.event.revocations), (self._clock() - began).total_seconds())

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.wake()

    async def _judge(self) -> None:
        """End those who may read no longer: at once after a change, and when their token ends."""
        epoch = -1
        while True:
            with suppress(Exception):  # the watch says that the store is away; nobody is judged without it
                epoch = await self._judge_all(epoch)
            await asyncio.sleep(PAUSE)

    async def _judge_all(self, judged: int) -> int:
        epoch, now = await self._store.epoch(), self._clock()
        for number, listener in enumerate(tuple(self._listeners), 1):
            if now >= listener.reader.ends_at:
                listener.end("token.expired")
            elif epoch != judged:
                await self._judge_one(listener, now)
            if number % _JUDGED_PER_TURN == 0:
                await asyncio.sleep(0)
        return epoch

    async def _judge_one(self, listener: Listener, now: datetime) -> None:
        try:
            await self.access.confirm(listener.reader, now)
        except OAuthError as refusal:
            listener.end(refusal.reason)

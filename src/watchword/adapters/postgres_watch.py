"""How far the epoch has come, known without asking each time: polled, hastened by a hint, and refused once it is old."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from watchword.adapters.postgres_link import Connection, Link
from watchword.adapters.postgres_migrations import KNOWN
from watchword.errors import Fault, StoreUnavailable
from watchword.ports.store import LONGEST_LAG
from watchword.server.schema import OUTDATED

CHANNEL: Final = "watchword"
_POLL_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 0.1
_LIFE: Final = 1 << 48
_ASK: Final = f"SELECT epoch, compatible_from > {KNOWN} FROM counters"  # noqa: S608 -- a constant of this adapter


class Watch:
    """Keeps the newest epoch that any answer of the database has told of, and when the question for it had left.

    A database that was lost and is there again may be another one, put back or promoted, whose count had stood still: every new
    connection, like a count that has fallen, begins a life in which no number of an earlier one comes again.
    """

    def __init__(self, link: Link, *, listens: bool = True) -> None:
        self._link = link
        self._listens = listens
        self._epoch = 0
        self._as_of = float("-inf")
        self._heard = float("inf")
        self._life = -1
        self._is_outdated = False
        self._connection: Connection | None = None
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask for the first time, and from now on again and again.

        Raises:
            StoreUnavailable
        """
        await self.ask()
        self._link.pulse.start()
        self._task = asyncio.create_task(self._run(), name="watchword-epoch")

    @property
    def life(self) -> int:
        """How much the epochs of the present life have above the database's own."""
        return self._life * _LIFE

    def note(self, epoch: object, asked: float) -> None:
        """Take in what an answer to a question that left at the monotonic time ``asked`` said."""
        if not isinstance(epoch, int):
            return
        has_fallen = epoch < self._epoch and asked > self._heard
        if has_fallen:
            self._life += 1
        if has_fallen or epoch > self._epoch:
            self._epoch, self._heard = epoch, time.monotonic()
        self._as_of = max(asked, self._as_of)

    def current(self) -> int:
        """Return the epoch.

        Raises:
            StoreUnavailable: store.stale; nobody has heard of the database for too long. store.newer; its tables were brought
                forward under this program.
        """
        if self._is_outdated:
            raise StoreUnavailable("store.newer", detail=OUTDATED)
        if time.monotonic() - self._as_of > LONGEST_LAG.total_seconds():
            raise StoreUnavailable("store.stale", detail="nothing was heard of the database lately")
        return self._epoch + self.life

    async def ask(self) -> None:
        """Ask now.

        Raises:
            StoreUnavailable
        """
        asked = time.monotonic()
        epoch = await self._link.probe(self._ask)
        self.note(epoch, asked)

    async def _ask(self, db: Connection) -> object:
        if db is not self._connection:
            if self._listens:
                await db.add_listener(CHANNEL, self._hear)
            epoch = await self._fetch(db)
            self._connection, self._life = db, self._life + 1
            self._epoch, self._heard = epoch if isinstance(epoch, int) else 0, time.monotonic()
            return epoch
        return await self._fetch(db)

    async def _fetch(self, db: Connection) -> object:
        row = await db.fetchrow(_ASK)
        epoch, is_outdated = row if row is not None else (None, False)
        self._is_outdated = bool(is_outdated)
        return epoch

    def _hear(self, *_: object) -> None:
        self._hint.set()

    async def _run(self) -> None:
        while True:
            pause = _POLL_SECONDS
            try:
                await self.ask()
            except StoreUnavailable as fault:
                self._link.pulse.failed(fault)
                pause = _RETRY_SECONDS
            except Fault:
                pause = _RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hint.wait()
            self._hint.clear()

    async def close(self) -> None:
        """Stop asking. Idempotent."""
        self._link.pulse.close()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._link.close()

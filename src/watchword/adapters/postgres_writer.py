"""The one task of a process that writes: what waits is written in one transaction, each commit of it failing alone.

A batch of events alone is one statement. A batch with changes locks the row of the counters first, so that in the whole cluster
one at a time changes the store. When the connection is lost in the middle, the chain is claimed anew, which shuts out what may
still be under way, and then tells whether the batch stands.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_chain import Chain, Places, claim, give_back, place, stands
from watchword.adapters.postgres_failures import AGAIN, Failed, Impossible, is_lost, unavailable
from watchword.adapters.postgres_link import Connection, Link, transaction
from watchword.adapters.postgres_migrations import KNOWN
from watchword.adapters.postgres_pulse import BEAT_SECONDS
from watchword.adapters.postgres_schema import check_floor
from watchword.adapters.postgres_units import Fitting, Unit
from watchword.adapters.postgres_watch import CHANNEL, Watch
from watchword.errors import StoreUnavailable
from watchword.ports.store import Basis, Change

PATIENCE: Final = 1.2  # seconds that a commit waits
_PAUSE: Final = 0.05  # seconds between two attempts
_LARGEST_BATCH: Final = 1024

_MEMBERS: Final = ", ".join(rows.FILTERS)
_GIVEN: Final = ", ".join(map("given.".__add__, rows.FILTERS))
_ARRAYS: Final = ", ".join(f"${number}::text[]" for number in range(11, 11 + len(rows.FILTERS)))
_WRITE: Final = f"""
WITH place AS (
    UPDATE counters SET events = events + $3, epoch = epoch + $4, probes = probes + $5
    WHERE ($10::bigint IS NULL OR epoch = $10) AND compatible_from <= {KNOWN} RETURNING events, epoch
), head AS (
    UPDATE heads SET position = position + $3, hash = $6, used_at = now()
    WHERE chain = $1 AND owner = $2 AND position = $7 RETURNING position
), added AS (
    INSERT INTO audit (cursor, chain, position, payload, hash, {_MEMBERS})
    SELECT place.events - $3 + given.n, $1, $7 + given.n, given.payload, given.hash, {_GIVEN}
    FROM place, head, unnest($8::text[], $9::bytea[], {_ARRAYS}) WITH ORDINALITY AS given (payload, hash, {_MEMBERS}, n)
)
SELECT coalesce((SELECT epoch FROM place), 0) / ((SELECT count(*) FROM place) * (SELECT count(*) FROM head))
"""  # noqa: S608 -- constants of this adapter
"""The statement of every batch. Where the head is not ours any more, the epoch not the one that is given, or the tables such as
this program may not write, the division fails, and with it all of the statement; a condition of one part on another would not
survive a wait for a row's lock."""

_ALONE: Final = "SELECT epoch FROM counters FOR UPDATE"
_TELL: Final = "SELECT pg_notify($1, '')"


class _ShutOut(Exception):
    """Another writer has taken our chain, or the epoch has moved; nothing was written."""


_AGAIN: Final[tuple[type[Exception], ...]] = (_ShutOut, *AGAIN)


class Writer:
    """Owns the writing connection. ``watch`` is told the epoch of every batch, and when the batch had left."""

    def __init__(self, link: Link, watch: Watch) -> None:
        self._link = link
        self._watch = watch
        self._waiting: list[Unit] = []
        self._wake = asyncio.Event()
        self._is_closed = False
        self._chain: Chain | None = None
        self._former: Chain | None = None
        self._end: Chain | None = None
        self._batch: list[Unit] = []
        self._is_sending = False
        self._task = asyncio.create_task(self._run(), name="watchword-writer")

    async def commit(
        self, payload: str, members: tuple[str, ...], changes: Sequence[Change], basis: Basis | None
    ) -> None:
        """Wait for one unit.

        Raises:
            Conflict, Superseded, StoreUnavailable
        """
        if self._is_closed:
            raise StoreUnavailable("store.closed")
        self._link.pulse.check()
        unit = Unit(payload, members, changes, basis, asyncio.get_running_loop().create_future())
        self._waiting.append(unit)
        self._wake.set()
        await unit.done

    async def close(self) -> None:
        """Write what waits, give the chain back, release the connection. Idempotent."""
        self._is_closed = True
        self._wake.set()
        await self._task
        await self._link.close()

    async def _run(self) -> None:
        while not (self._is_closed and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0)  # who begins to wait in this turn comes along
            while self._waiting:
                batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
                self._batch = batch
                timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._hurry, batch)
                fault = await self._serve(batch)
                timer.cancel()
                self._batch = []
                for unit in batch:
                    unit.settle(fault)
        with suppress(*Failed, StoreUnavailable):
            if self._chain is not None:
                chain = self._chain
                await self._link.write(lambda db: give_back(db, chain))

    def _hurry(self, batch: Sequence[Unit]) -> None:
        """Refuse whoever has waited too long, for this batch or for the next, until this one is through.

        The batch goes on: a database that is slow is not left for that. What waits has not been sent, and is not going to be.
        """
        if self._batch is not batch:
            return
        latest = time.monotonic() - PATIENCE
        slow = StoreUnavailable("store.busy", detail="the database takes too long to write")
        for unit in batch:
            if unit.since <= latest:
                unit.give_up(self._uncertain(slow))
        for unit in self._waiting:
            if unit.since <= latest:
                unit.give_up(slow)
        self._waiting = [unit for unit in self._waiting if not unit.is_given_up]
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._hurry, batch)

    async def _serve(self, batch: Sequence[Unit]) -> StoreUnavailable | None:
        """Write the batch; return why nothing of it was written, if so."""
        deadline = batch[0].since + PATIENCE
        self._end = None
        while True:
            try:
                if not await self._link.write(lambda db: self._attempt(db, batch)):
                    return None
                fault = StoreUnavailable("store.busy", detail="other writers were in the way for too long")
            except StoreUnavailable as error:
                if error.reason == "store.newer":
                    return self._uncertain(error)
                fault = error
            except Failed as error:
                fault = unavailable(error)
                if not is_lost(error):
                    self._leave_chain()
                    return fault
            except Exception as error:  # noqa: BLE001 -- a dead writer would leave every later commit waiting for ever
                fault = StoreUnavailable("store.writer", detail=f"{type(error).__name__}: {error}")
                self._leave_chain()
                return fault
            self._leave_chain()
            if time.monotonic() >= deadline or self._link.pulse.is_silent:
                return self._uncertain(fault)
            await asyncio.sleep(_PAUSE * (1 + secrets.randbelow(100) / 100))  # two who collided do not again

    def _uncertain(self, fault: StoreUnavailable) -> StoreUnavailable:
        if self._end is None and not self._is_sending:
            return fault
        return StoreUnavailable("store.uncertain", detail=f"lost while committing; {fault.detail}")

    def _leave_chain(self) -> None:
        """Claim it anew before the next batch."""
        if self._chain is not None:
            self._former, self._chain = self._chain, None

    async def _attempt(self, db: Connection, batch: Sequence[Unit]) -> bool:
        """Write the batch, or find that it was written already; tell whether it has to be tried again."""
        if self._chain is None:
            await check_floor(db)
            self._chain = await claim(db, self._former)
            if self._end is not None and await stands(db, self._end):
                return False
            self._end = None
        self._is_sending = True
        wanted = [unit for unit in batch if not unit.is_given_up]
        try:
            if wanted and not await self._append(db, wanted):
                await self._transact(db, wanted)
        except _AGAIN:
            self._end = None
            return True
        finally:
            self._is_sending = False
        return False

    async def _append(self, db: Connection, batch: Sequence[Unit]) -> bool:
        """Write events alone, in one statement; tell whether that could be: nothing changes, nothing has been overtaken."""
        bases = {unit.basis.epoch for unit in batch if unit.basis is not None}
        if len(bases) > 1 or any(unit.changes for unit in batch):
            return False
        written = [unit for unit in batch if unit.payload]
        try:
            expected = min(bases) - self._watch.life if bases else None
            epoch, asked = await self._write(db, written, probes=len(batch) - len(written), expected=expected)
        except _ShutOut:
            return False
        self._watch.note(epoch, asked)
        return True

    async def _transact(self, db: Connection, batch: Sequence[Unit]) -> None:
        async with transaction(db):
            before = await db.fetchval(_ALONE)
            fitting = Fitting(db, before if isinstance(before, int) else 0, batch, self._watch.life)
            units = [unit for unit in batch if await fitting.fits(unit)]
            if not units:
                return
            written = [unit for unit in units if unit.payload]
            probes = len(units) - len(written)
            epoch, asked = await self._write(db, written, probes=probes, changed=fitting.changed)
            if fitting.changed:
                await db.execute(_TELL, CHANNEL)
        self._watch.note(epoch, asked)  # not earlier: what is rolled back must not have been counted

    async def _write(
        self, db: Connection, units: Sequence[Unit], *, probes: int, changed: int = 0, expected: int | None = None
    ) -> tuple[object, float]:
        """Append the events of some units, if the epoch is still the one ``expected``; return it, and when it was asked for."""
        chain = self._chain
        if chain is None:
            raise TypeError("no chain")
        asked, places = time.monotonic(), place(chain, [unit.payload for unit in units])
        self._end = places.after if units else None
        try:
            epoch = await db.fetchval(_WRITE, *_values(chain, places, units, changed, probes, expected))
        except Impossible as error:
            raise _ShutOut from error
        self._chain = places.after
        return epoch, asked


def _values(
    chain: Chain, places: Places, units: Sequence[Unit], changed: int, probes: int, expected: int | None
) -> tuple[object, ...]:
    """Return the values of ``_WRITE``."""
    columns = zip(*(unit.members for unit in units), strict=True) if units else [()] * len(rows.FILTERS)
    searched = [[rows.searched(value) for value in column] for column in columns]
    return (
        chain.name,
        chain.owner,
        len(units),
        changed,
        probes,
        places.after.hash,
        chain.position,
        places.payloads,
        places.hashes,
        expected,
        *searched,
    )

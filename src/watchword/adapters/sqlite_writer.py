"""The one thread of a process that writes: many waiting commits share one flush to the disk, each failing alone."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import apsw

from watchword.adapters.sqlite_changes import apply_change
from watchword.adapters.sqlite_cluster import Work
from watchword.adapters.sqlite_file import connect, unavailable
from watchword.adapters.sqlite_gate import Gate
from watchword.adapters.sqlite_migrations import KNOWN
from watchword.adapters.sqlite_registration import read_registration
from watchword.adapters.sqlite_schema import read_epoch
from watchword.errors import Conflict, StoreUnavailable, Superseded
from watchword.ports.audit import GENESIS, link
from watchword.ports.store import Basis, Change, moves_epoch

CHAIN: Final = "local"

_PATIENCE: Final = 2.0  # seconds that a commit waits for another process
_TURN: Final = 0.02  # seconds for which this process keeps the lock while commits keep coming
_LARGEST_BATCH: Final = 1024


@dataclass(slots=True, eq=False)
class Unit:
    """One commit that waits. An empty ``payload`` has no event: it does some ``work``, or only proves that the store can be
    written."""

    payload: str
    changes: Sequence[Change]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[int | None]
    basis: Basis | None = None
    work: Work | None = None
    answer: int | None = None
    since: float = field(default_factory=time.monotonic)
    refusal: Exception | None = None

    def settle(self) -> None:
        """Tell the waiter, unless it has gone."""
        if self.done.done():
            return
        if self.refusal is None:
            self.done.set_result(self.answer)
        else:
            self.done.set_exception(self.refusal)


class Writer:
    """Owns the writing connection. ``submit`` from any thread; the answers come to the units' own event loops."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _identity(path)
        self._gate = Gate(path)
        self._queue: queue.SimpleQueue[list[Unit] | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._is_closed = False
        self._db: apsw.Connection | None = None
        self._head: tuple[int, bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="watchword-writer", daemon=True)
        self._thread.start()

    def check_open(self) -> None:
        """Return while commits are taken.

        Raises:
            StoreUnavailable: store.closed.
        """
        if self._is_closed:
            raise StoreUnavailable("store.closed")

    def submit(self, units: list[Unit]) -> None:
        """Queue some commits. Each is answered, with ``store.closed`` if they come too late."""
        with self._door:
            if not self._is_closed:
                self._queue.put(units)
                return
        _deliver(units, StoreUnavailable("store.closed"))

    def close(self) -> None:
        """Write what is queued, then end; returns when all is released. Idempotent."""
        with self._door:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (units := self._queue.get()) is not None:
            self._serve(units + self._gather())
        self._disconnect()
        self._gate.close()

    def _gather(self) -> list[Unit]:
        """Take what has queued up meanwhile; the end mark stays for ``_run``."""
        batch: list[Unit] = []
        with suppress(queue.Empty):
            while len(batch) < _LARGEST_BATCH:
                units = self._queue.get_nowait()
                if units is None:
                    self._queue.put(None)
                    break
                batch += units
        return batch

    def _serve(self, batch: list[Unit]) -> None:
        try:
            self._gate.acquire(batch[0].since + _PATIENCE)
        except StoreUnavailable as fault:
            _deliver(batch, fault)
            return
        try:
            until = time.monotonic() + _TURN
            while batch:
                _deliver(batch, self._write(batch))
                batch = self._gather() if time.monotonic() < until else []
        finally:
            self._gate.release()

    def _write(self, batch: Sequence[Unit]) -> StoreUnavailable | None:
        """Write the batch; return why nothing of it was written, if so, and begin the next one afresh."""
        try:
            db = self._connect()
            if not self._append(db, batch):
                self._transact(db, batch)
        except StoreUnavailable as fault:
            refusal = fault
        except (apsw.Error, OSError) as error:
            refusal = unavailable(error)
        except Exception as error:  # noqa: BLE001 -- a dead writer would leave every later commit waiting for ever
            refusal = StoreUnavailable("store.writer", detail=f"{type(error).__name__}: {error}")
        else:
            return None
        self._disconnect()
        return refusal

    def _connect(self) -> apsw.Connection:
        if _identity(self._path) != self._identity:
            raise StoreUnavailable("store.replaced", detail=f"{self._path} was replaced or removed: restart")
        if self._db is None:
            self._db = connect(self._path)
        return self._db

    def _disconnect(self) -> None:
        self._head = None
        db, self._db = self._db, None
        if db is not None:
            with suppress(apsw.Error):
                db.close(True)

    def _append(self, db: apsw.Connection, batch: Sequence[Unit]) -> bool:
        """Append events alone: one statement, which is its own transaction and releases the interpreter only once.

        Tell whether that was possible: nothing else is to be written, and nothing has changed that they were decided on.
        """
        bases = {unit.basis.epoch for unit in batch if unit.basis is not None}
        if len(bases) > 1 or not all(unit.payload and not unit.changes for unit in batch):
            return False
        epoch = min(bases, default=None)
        try:
            head = _insert_events(db, self._head or _read_head(db), batch, epoch)
        except apsw.ConstraintError:  # another process has written since: the remembered head is old
            head = _insert_events(db, _read_head(db), batch, epoch)
        if not db.changes():
            return False
        self._head = head
        return True

    def _transact(self, db: apsw.Connection, batch: Sequence[Unit]) -> None:
        db.execute("BEGIN IMMEDIATE")
        epoch, changed, fitting = read_epoch(db), 0, []
        for unit in batch:
            if _stands(db, unit, epoch + changed) and _fits(db, unit):
                fitting.append(unit)
                changed += moves_epoch(unit.changes)
        head = _insert_events(db, _read_head(db), [unit for unit in fitting if unit.payload])
        probes = sum(not unit.payload and unit.work is None for unit in fitting)
        if changed or probes:
            db.execute("UPDATE counters SET epoch = epoch + ?, probes = probes + ?", (changed, probes))
        db.execute("COMMIT")
        self._head = head


def _stands(db: apsw.Connection, unit: Unit, epoch: int) -> bool:
    """Tell whether what a unit was decided on is still so; remember it if not."""
    if unit.basis is None or unit.basis.epoch == epoch:
        return True
    registration = unit.basis.registration
    if registration.permits_as(read_registration(db, registration.agent.client_id)):
        return True
    unit.refusal = Superseded("store.superseded")
    return False


def _fits(db: apsw.Connection, unit: Unit) -> bool:
    """Apply the changes of one unit, or none of them and remember why."""
    if not unit.changes and unit.work is None:
        return True
    db.execute("SAVEPOINT unit")
    try:
        for change in unit.changes:
            apply_change(db, change)
        unit.answer = unit.work(db) if unit.work is not None else None
    except Conflict as conflict:
        unit.refusal = conflict
    except apsw.ConstraintError as error:
        unit.refusal = Conflict("store.constraint", detail=str(error))
    except (ValueError, TypeError, OverflowError) as error:  # a value that SQLite cannot hold
        unit.refusal = error
    if unit.refusal is not None:
        db.execute("ROLLBACK TO unit")
    db.execute("RELEASE unit")
    return unit.refusal is None


def _read_head(db: apsw.Connection) -> tuple[int, bytes]:
    row = db.execute("SELECT position, hash FROM heads WHERE chain = ?", (CHAIN,)).fetchone()
    return (0, GENESIS) if row is None else (cast("int", row[0]), cast("bytes", row[1]))


_INSERT_EVENTS: Final = (
    "INSERT INTO audit (chain, position, payload, hash)"  # noqa: S608 -- a constant of this adapter
    " SELECT ?1, value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?2)"
    f" WHERE (SELECT compatible_from <= {KNOWN} AND (?3 IS NULL OR ?3 = epoch) FROM counters)"
)


def _insert_events(
    db: apsw.Connection, head: tuple[int, bytes], units: Sequence[Unit], epoch: int | None = None
) -> tuple[int, bytes]:
    """Append events behind ``head`` and return the new head; with an ``epoch``, only if the store still stands there.

    And only while this program may work on its tables: they may be brought forward between any two statements.
    """
    if not units:
        return head
    position, previous = head
    places = []
    for unit in units:
        position, previous = position + 1, link(previous, unit.payload.encode())
        places.append((position, unit.payload, previous.hex()))
    db.execute(_INSERT_EVENTS, (CHAIN, json.dumps(places), epoch))
    return position, previous


def _deliver(batch: Sequence[Unit], fault: StoreUnavailable | None) -> None:
    """Settle every unit on its own loop, one wake-up per loop; after a fault all of them failed."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Unit]] = defaultdict(list)
    for unit in batch:
        if fault is not None:
            unit.refusal = StoreUnavailable(fault.reason, detail=fault.detail)
        by_loop[unit.loop].append(unit)
    for loop, units in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed: nobody waits there
            loop.call_soon_threadsafe(_settle, units)


def _settle(units: Sequence[Unit]) -> None:
    for unit in units:
        unit.settle()


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)

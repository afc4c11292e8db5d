"""The memory of presented ids in one SQLite file beside the store, shared by the processes of one machine."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_file import unavailable
from watchword.adapters.sqlite_gate import Gate
from watchword.adapters.sqlite_replay_file import ReplayFile, connect_replay, out_of_reach
from watchword.adapters.sqlite_replay_table import claim_all
from watchword.clock import Clock, system_clock
from watchword.errors import Fault, ReplayUnavailable, StoreUnavailable
from watchword.ports.replay import Claim, Verdict, build_claim, milliseconds

CAPACITY: Final = 4_000_000
"""Ids remembered at once: some 350 MB."""

_PATIENCE: Final = 2.0  # seconds that a claim waits for another process
_LARGEST_BATCH: Final = 1024


@dataclass(slots=True, eq=False)
class _Waiting:
    """One claim that waits; without one it is only asked whether claims can be made."""

    claim: Claim | None
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Verdict]
    since: float = field(default_factory=time.monotonic)
    answer: Verdict | ReplayUnavailable = Verdict.UNSURE

    def settle(self) -> None:
        if self.done.done():
            return
        if isinstance(self.answer, ReplayUnavailable):
            self.done.set_exception(self.answer)
        else:
            self.done.set_result(self.answer)


class SqliteReplay:
    """Implements ``ports.replay.Replay``: one thread claims for all who wait, in one transaction, in the order of the processes'
    locks. What a process has been told stays so when it is killed; after a loss of power the horizon rises."""

    def __init__(self, path: Path, *, clock: Clock, capacity: int) -> None:
        """Use ``open``."""
        self._path = path
        self._clock = clock
        self._capacity = capacity
        self._gate = Gate(path)
        self._file = ReplayFile(path, self._gate)
        self._number = (0, 0)
        self._db: apsw.Connection | None = None
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._is_closed = False
        self._waiting: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._thread = threading.Thread(target=self._run, name="watchword-replay", daemon=True)

    @classmethod
    def open(cls, path: Path, *, clock: Clock = system_clock, capacity: int = CAPACITY) -> SqliteReplay:
        """Open the file, which is made where there is none.

        Raises:
            BadSettings: replay.foreign
            ReplayUnavailable: replay.unavailable
        """
        path = path.resolve()
        try:
            replay = cls(path, clock=clock, capacity=capacity)
        except StoreUnavailable as error:
            raise out_of_reach(error) from error
        try:
            replay._file.enter(milliseconds(clock()) + 1, time.monotonic() + _PATIENCE)
        except Fault:
            replay._gate.close()
            raise
        replay._number = _number(path)
        replay._thread.start()
        return replay

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id, once; durable but for a loss of power."""
        return await self._ask(build_claim(namespace, identifier, since, until))

    async def check(self) -> None:
        """Take the locks and write a row."""
        await self._ask(None)

    async def _ask(self, claim: Claim | None) -> Verdict:
        """Wait for the answer; all that begin to wait in one turn of the event loop are asked together."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")
        loop = asyncio.get_running_loop()
        one = _Waiting(claim, loop, loop.create_future())
        waiting = self._waiting.get(loop)
        if waiting is None:
            self._waiting[loop] = [one]
            loop.call_soon(self._hand_over, loop)
        else:
            waiting.append(one)
        return await one.done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop, None)
        if not waiting:
            return
        with self._door:
            if not self._is_closed:
                self._queue.put(waiting)
                return
        _refuse(waiting, ReplayUnavailable("replay.closed"))

    async def close(self) -> None:
        """Answer what waits, then release every file. Idempotent."""
        self._hand_over(asyncio.get_running_loop())
        with self._door:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            self._serve(batch + self._gather())
        self._disconnect()
        self._file.leave(time.monotonic() + _PATIENCE)
        self._gate.close()

    def _gather(self) -> list[_Waiting]:
        """Take what has queued up meanwhile; the end mark stays for ``_run``."""
        batch: list[_Waiting] = []
        with suppress(queue.Empty):
            while len(batch) < _LARGEST_BATCH:
                waiting = self._queue.get_nowait()
                if waiting is None:
                    self._queue.put(None)
                    break
                batch += waiting
        return batch

    def _serve(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._gate.acquire(batch[0].since + _PATIENCE)
            try:
                self._claim(batch)
            finally:
                self._gate.release()
        except ReplayUnavailable as fault:
            _refuse(batch, fault)
        except StoreUnavailable as fault:
            _refuse(batch, out_of_reach(fault))
        except (apsw.Error, OSError) as error:
            _refuse(batch, out_of_reach(unavailable(error)))
        except Exception as error:  # noqa: BLE001 -- a dead thread would leave every later claim waiting for ever
            _refuse(batch, ReplayUnavailable("replay.unavailable", detail=f"{type(error).__name__}: {error}"))
        else:
            _deliver(batch)
            return
        self._disconnect()

    def _claim(self, batch: Sequence[_Waiting]) -> None:
        wanted = [one.claim for one in batch if one.claim is not None]
        db, now = self._connect(), milliseconds(self._clock())
        answers = iter(claim_all(db, wanted, now=now, capacity=self._capacity))
        for one in batch:
            one.answer = Verdict.FIRST if one.claim is None else next(answers)

    def _connect(self) -> apsw.Connection:
        if _number(self._path) != self._number:
            raise ReplayUnavailable("replay.unavailable", detail=f"{self._path} was replaced or removed: restart")
        if self._db is None:
            self._db = connect_replay(self._path)
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(apsw.Error):
                db.close(True)


def _refuse(batch: Sequence[_Waiting], fault: ReplayUnavailable) -> None:
    for one in batch:
        one.answer = ReplayUnavailable(fault.reason, detail=fault.detail)
    _deliver(batch)


def _deliver(batch: Sequence[_Waiting]) -> None:
    """Settle every claim on its own loop, one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for one in batch:
        by_loop.setdefault(one.loop, []).append(one)
    for loop, waiting in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed: nobody waits there
            loop.call_soon_threadsafe(_settle, waiting)


def _settle(waiting: Sequence[_Waiting]) -> None:
    for one in waiting:
        one.settle()


def _number(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)

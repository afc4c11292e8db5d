"""The supervisor: forks workers that share the listening sockets, replaces those that die, passes signals on.

It forks before there is a thread, an event loop or a connection, and never has one of its own, so every later worker starts
from the same clean state. What a worker needs of the outside (the store, keys, randomness) it opens itself.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

import structlog

from watchword import errors
from watchword.asgi.sockets import let_nobody_in
from watchword.errors import Fault, WatchwordError

log = structlog.get_logger("watchword.server")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_LONGEST_PAUSE: Final = 10.0
_FIRST_PAUSE: Final = 0.1
_GOOD_LIFE: Final = 10.0
"""Seconds after which a worker's death is not blamed on its start."""

_SAME_SIGNAL: Final = 1.0
"""Seconds in which a second signal is an echo of the first: some senders signal the process, and then its group."""

_PATIENCE: Final = 5.0
"""Seconds beyond the drain time after which a worker that does not end is killed."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker is given. ``lifeline`` is a descriptor that ends when the supervisor does."""

    place: int
    lifeline: int
    report: int

    def ready(self) -> None:
        """Tell the supervisor that all listeners of this worker accept."""
        _tell(self.report, {"ready": True})


Work = Callable[[Seat], None]


@dataclass(slots=True)
class _Worker:
    """One place: the process that holds it now, or when there will be one."""

    place: int
    pid: int = 0
    report: int = -1
    is_ready: bool = False
    born: float = 0.0
    failures: int = 0
    due: float = 0.0
    told: dict[str, object] = field(default_factory=dict)


class Supervisor:
    """Runs ``work`` in ``number`` processes. ``work`` serves until it is sent SIGTERM, or its lifeline ends, and returns.

    ``ready`` is called once, when all of them accept; ``lost`` with the place of each that has ended before its time.

    SIGTERM and SIGINT stop all of them, gracefully; a second one at once. SIGHUP is passed on.
    """

    def __init__(
        self,
        work: Work,
        number: int,
        *,
        sockets: Sequence[socket.socket],
        drain_seconds: float,
        ready: Callable[[], None],
        lost: Callable[[int], None],
    ) -> None:
        self._work = work
        self._workers = [_Worker(place) for place in range(number)]
        self._sockets = sockets
        self._patience = drain_seconds + _PATIENCE
        self._ready = ready
        self._lost = lost
        self._is_announced = False
        self._signals: list[int] = []

    def run(self) -> None:
        """Return when it was told to stop and every worker has ended.

        Raises:
            WatchwordError: what the first worker said that could not start.
            Fault: worker.ended; it could not say why.
        """
        self._lifeline, self._hold = os.pipe()
        self._waker, self._alarm = socket.socketpair()
        for end in (self._waker, self._alarm):
            end.setblocking(False)
        signal.set_wakeup_fd(self._alarm.fileno(), warn_on_full_buffer=False)
        before = {name: signal.signal(name, self._hear) for name in _SIGNALS}
        gc.collect()
        gc.freeze()  # the collector of a worker does not write to what it shares with the others
        try:
            self._supervise()
        finally:
            self._end(signal.SIGKILL)
            for name, handler in before.items():
                signal.signal(name, handler)
            signal.set_wakeup_fd(-1)
            for each in (self._waker, self._alarm, *self._sockets):
                each.close()
            for descriptor in (self._lifeline, self._hold):
                os.close(descriptor)

    def _hear(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    def _supervise(self) -> None:
        while not self._is_told_to_stop():
            now = time.monotonic()
            for worker in self._workers:
                if not worker.pid and worker.due <= now:
                    self._start(worker)
            self._wait()
            self._collect()
            self._announce()
        self._stop()

    def _is_told_to_stop(self) -> bool:
        heard, self._signals = self._signals, []
        if signal.SIGHUP in heard:
            self._send(signal.SIGHUP)
        return not _STOPPING.isdisjoint(heard)

    def _start(self, worker: _Worker) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the child no longer hears them as this process does
        pid = os.fork()
        if pid == 0:
            self._become(Seat(worker.place, self._lifeline, writing), reading)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(writing)
        os.set_blocking(reading, False)
        worker.pid, worker.report, worker.is_ready, worker.told = pid, reading, False, {}
        worker.born = time.monotonic()

    def _become(self, seat: Seat, reading: int) -> NoReturn:
        """In the child: give back what is the supervisor's, work, end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._waker.close()
            self._alarm.close()
            for name in (signal.SIGINT, signal.SIGHUP):  # a terminal sends both to every process of its group
                signal.signal(name, signal.SIG_IGN)
            for name in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(name, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for descriptor in (self._hold, reading, *(each.report for each in self._workers if each.pid)):
                os.close(descriptor)
            self._work(seat)
            code = 0
        except Exception as error:  # noqa: BLE001 -- told to the supervisor: nobody else hears how a worker ends
            _tell(seat.report, _to_words(error))
        finally:
            os._exit(code)

    def _wait(self) -> None:
        """Sleep until there is something to do."""
        due = [worker.due for worker in self._workers if not worker.pid]
        seconds = max(min(due) - time.monotonic(), 0) if due else None
        reports = [worker.report for worker in self._workers if worker.pid and worker.report >= 0]
        readable, _, _ = select.select([self._waker.fileno(), *reports], [], [], seconds)
        with suppress(BlockingIOError):
            self._waker.recv(4096)
        for worker in self._workers:
            if worker.report in readable:
                self._listen(worker)

    def _listen(self, worker: _Worker) -> None:
        line = os.read(worker.report, 65_536)
        if line:
            worker.told.update(json.loads(line))
        else:
            os.close(worker.report)
            worker.report = -1
        if worker.told.get("ready") and not worker.is_ready:
            worker.is_ready = True
            if self._is_announced:
                log.info("worker_ready", worker=worker.place, pid=worker.pid)

    def _collect(self) -> None:
        """Bury the dead; as the first process of a container, also those of others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for worker in self._workers:
                if worker.pid == pid:
                    self._lose(worker, os.waitstatus_to_exitcode(status))

    def _lose(self, worker: _Worker, status: int) -> None:
        if worker.report >= 0:
            self._listen(worker)
        if worker.report >= 0:
            os.close(worker.report)
        pid, worker.pid, worker.report = worker.pid, 0, -1
        self._lost(worker.place)
        if not self._is_announced:
            raise _to_error(worker.told, status)
        lived = time.monotonic() - worker.born
        worker.failures = 0 if worker.is_ready and lived >= _GOOD_LIFE else worker.failures + 1
        pause = min(_FIRST_PAUSE * 2 ** (worker.failures - 1), _LONGEST_PAUSE) if worker.failures > 1 else 0.0
        worker.due = time.monotonic() + pause
        reason = str(worker.told.get("reason", ""))
        log.error("worker_ended", worker=worker.place, pid=pid, status=status, reason=reason, restart_seconds=pause)

    def _announce(self) -> None:
        if not self._is_announced and all(worker.is_ready for worker in self._workers):
            self._is_announced = True
            self._ready()

    def _stop(self) -> None:
        log.info("stopping", workers=sum(1 for worker in self._workers if worker.pid))
        for one in self._sockets:
            let_nobody_in(one)
            one.close()
        self._end(signal.SIGTERM)

    def _end(self, name: signal.Signals) -> None:
        """Send a signal to all and wait until they have ended; whoever does not within the time allowed is killed."""
        self._send(name)
        begun = time.monotonic()
        while any(worker.pid for worker in self._workers):
            is_impatient = not _STOPPING.isdisjoint(self._signals) and time.monotonic() > begun + _SAME_SIGNAL
            if is_impatient or time.monotonic() > begun + self._patience:
                self._send(signal.SIGKILL)
            self._signals = []
            select.select([self._waker], [], [], 0.1)
            with suppress(BlockingIOError):
                self._waker.recv(4096)
            self._forget_ended()

    def _forget_ended(self) -> None:
        for worker in self._workers:
            if worker.pid and os.waitpid(worker.pid, os.WNOHANG)[0]:
                worker.pid = 0

    def _send(self, name: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, name)


def _tell(descriptor: int, words: dict[str, object]) -> None:
    with suppress(OSError):
        os.write(descriptor, json.dumps(words).encode())


def _to_words(error: Exception) -> dict[str, object]:
    """Of what nobody has foreseen only kind and place are told: its text may hold a secret."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, WatchwordError):
        return {"kind": type(error).__name__, "reason": error.reason, "detail": error.detail}
    place = "".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-1:])
    detail = str(error) if isinstance(error, OSError) else f"a bug: {type(error).__name__} at {place}"
    return {"kind": "Fault", "reason": "worker.ended", "detail": detail}


def _to_error(words: dict[str, object], status: int) -> WatchwordError:
    """Return what a worker said before it ended; every fault is made from a reason and a detail."""
    kind = getattr(errors, str(words.get("kind")), Fault)
    if "reason" not in words or not issubclass(kind, Fault):
        return Fault("worker.ended", detail=f"a worker ended with status {status} before it was ready: see the log")
    error: Fault = kind(str(words["reason"]), detail=str(words["detail"]))
    return error

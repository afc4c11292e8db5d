"""One flight per key: whoever asks first does the work, everybody else gets its result, threads and tasks alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, wait
from typing import Final, Generic, TypeVar

from watchword import forking

T = TypeVar("T")

_LOOK_AGAIN: Final = 1.0
"""Seconds after which a waiter looks whether the leader can still go on."""


class _Abandoned(Exception):
    """The leader was cancelled; one of those who waited takes over."""


class _Flight(Generic[T]):
    __slots__ = ("future", "loop", "thread")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # from here on no waiter's cancellation can reach it
        self.thread = threading.get_ident()
        self.loop = loop

    def would_block_itself(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Waiting in this thread could keep the leader from going on: the work is then done twice instead.

        ``loop`` is that of the waiting task. A waiting thread has none, even where it blocks one that is running.
        """
        if self.thread == threading.get_ident():
            return loop is None or self.loop is not loop
        return loop is None and self.loop is not None and _running_loop() is not None

    def stands_still(self) -> bool:
        """The leader is a task of a loop that has been left or closed: nobody knows whether it ever goes on."""
        return self.loop is not None and not self.loop.is_running()


class SingleFlight(Generic[T]):
    """At most one piece of work per key at a time, across threads and the tasks of any number of event loops.

    A waiter that is cancelled disturbs nobody. A leader that is cancelled, or whose event loop stands still, hands over
    to one of the waiters. A failure is everybody's failure. The work must leave its result where the next caller looks
    before it calls here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight[T]] = {}
        forking.register(self)

    def renew_after_fork(self) -> None:
        """Forget the flights of the parent process: their leaders do not exist here."""
        self._lock = threading.Lock()
        self._flights = {}

    def is_flying(self, key: Hashable) -> bool:
        """Somebody is at work on this key now."""
        return key in self._flights

    def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return the result of ``work``, one's own or that of the flight already under way; blocks this thread."""
        while True:
            flight, leads = self._board(key, None)
            if leads:
                return self._lead(key, flight, work)
            if flight.would_block_itself(None):
                return work()
            wait((flight.future,), timeout=_LOOK_AGAIN)
            try:
                if self._has_landed(key, flight):
                    return flight.future.result()
            except _Abandoned:
                continue

    async def arun(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``work``, one's own or that of the flight already under way; for a task."""
        loop = asyncio.get_running_loop()
        while True:
            flight, leads = self._board(key, loop)
            if leads:
                return await self._alead(key, flight, work)
            if flight.would_block_itself(loop):
                return await work()
            await _wait(flight.future)
            try:
                if self._has_landed(key, flight):
                    return flight.future.result()
            except _Abandoned:
                continue

    def _board(self, key: Hashable, loop: asyncio.AbstractEventLoop | None) -> tuple[_Flight[T], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = _Flight(loop)
            return flight, True

    def _has_landed(self, key: Hashable, flight: _Flight[T]) -> bool:
        """Say whether the flight has ended. One that stands still is given up: the next to board leads another."""
        if flight.future.done():
            return True
        if flight.stands_still():
            self._land(key, flight)
        return False

    def _lead(self, key: Hashable, flight: _Flight[T], work: Callable[[], T]) -> T:
        try:
            result = work()
        except BaseException as failure:
            self._land(key, flight)
            flight.future.set_exception(_for_the_others(failure))
            raise
        self._land(key, flight)
        flight.future.set_result(result)
        return result

    async def _alead(self, key: Hashable, flight: _Flight[T], work: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await work()
        except BaseException as failure:
            self._land(key, flight)
            flight.future.set_exception(_for_the_others(failure))
            raise
        self._land(key, flight)
        flight.future.set_result(result)
        return result

    def _land(self, key: Hashable, flight: _Flight[T]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]


def _for_the_others(failure: BaseException) -> Exception:
    return failure if isinstance(failure, Exception) else _Abandoned()


async def _wait(future: Future[T]) -> None:
    """Wait for the future or for ``_LOOK_AGAIN``. What is seen of it here is thrown away, its failure included."""
    seen = asyncio.wrap_future(future)
    try:
        await asyncio.wait((seen,), timeout=_LOOK_AGAIN)
    finally:
        if seen.done() and not seen.cancelled():
            seen.exception()  # looked at, or asyncio complains
        seen.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

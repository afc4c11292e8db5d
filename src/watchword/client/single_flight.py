"""One flight per key: whoever asks first does the work, everybody else gets its result, threads and tasks alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from watchword.client import forking

T = TypeVar("T")


class _Abandoned(Exception):
    """The leader was cancelled; one of those who waited takes over."""


class _Flight(Generic[T]):
    __slots__ = ("future", "is_async", "thread")

    def __init__(self, *, is_async: bool) -> None:
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # from here on no waiter's cancellation can reach it
        self.thread = threading.get_ident()
        self.is_async = is_async

    def would_block_itself(self) -> bool:
        """Waiting in this thread could keep the leader from going on: the work is then done twice instead."""
        return self.thread == threading.get_ident() or (self.is_async and _in_event_loop())


class SingleFlight(Generic[T]):
    """At most one piece of work per key at a time, across threads and the tasks of any number of event loops.

    A waiter that is cancelled disturbs nobody. A leader that is cancelled hands over to one of the waiters. A failure is
    everybody's failure. The work must leave its result where the next caller looks before it calls here.
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
            flight, leads = self._board(key, is_async=False)
            if leads:
                return self._lead(key, flight, work)
            if flight.would_block_itself():
                return work()
            try:
                return flight.future.result()
            except _Abandoned:
                continue

    async def arun(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``work``, one's own or that of the flight already under way; for a task."""
        while True:
            flight, leads = self._board(key, is_async=True)
            if leads:
                return await self._alead(key, flight, work)
            try:
                return await asyncio.wrap_future(flight.future)
            except _Abandoned:
                continue

    def _board(self, key: Hashable, *, is_async: bool) -> tuple[_Flight[T], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = _Flight(is_async=is_async)
            return flight, True

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


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

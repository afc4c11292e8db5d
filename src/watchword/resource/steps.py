"""Work that has to wait now and then, written once for threads and for event loops."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from typing import TypeVar

from watchword.errors import VerifierUnavailable

Result = TypeVar("Result")
Steps = Generator["Future[None]", None, Result]
"""Work that yields what must be waited for, and returns its result."""


async def run(steps: Steps[Result]) -> Result:
    """Do it in a task of an event loop."""
    while True:
        try:
            flight = next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        import asyncio  # a third of the time that importing the verifier would take, and a WSGI process has no use for it

        await asyncio.wrap_future(flight)  # cancelling this wait does not reach a flight under way


def run_blocking(steps: Steps[Result]) -> Result:
    """Do it in a thread that may block."""
    while True:
        try:
            flight = next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        flight.result()


def run_at_once(work: Coroutine[object, object, Result]) -> Result:
    """Do what must not wait at all.

    Raises:
        VerifierUnavailable: verifier.waiting
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    work.close()
    raise VerifierUnavailable("verifier.waiting", detail="this memory of used proofs can only be awaited")

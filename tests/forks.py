"""A child of this very process, forked at a bad moment."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import pytest

LIMIT = 20
"""Seconds that the child may take: a lock that nobody holds there would be waited for without end."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def is_right_in_a_child(check: Callable[[], bool], *, held: Iterable[threading.Lock] = ()) -> bool:
    """Return what ``check`` says in a child forked while another thread of ours holds these locks."""
    with _held_by_another(tuple(held)), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            _end(check)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _end(check: Callable[[], bool]) -> NoReturn:
    signal.alarm(LIMIT)
    try:
        os._exit(0 if check() else 1)
    finally:
        os._exit(2)


@contextlib.contextmanager
def _held_by_another(locks: tuple[threading.Lock, ...]) -> Iterator[None]:
    """In the child, where that thread is not, they stay locked."""
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            holds.set()
            release.wait(LIMIT)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(LIMIT)
    try:
        yield
    finally:
        release.set()
        holder.join(LIMIT)

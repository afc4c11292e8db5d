"""Requests for a token that are told to come again before they are parsed: what is left of the time is for those let in.

Only one is refused here whose end every reader sees in the same place (RFC 9112 §6): the connection stays open, and what comes
next on it is the next request. Everything else is read as ever.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

from watchword.asgi.early_refusals import render_early
from watchword.asgi.overload import Slots

_FIELD: Final = rb"[A-Za-z][A-Za-z0-9-]{0,63}:[ ]?[!-~][ -~]*\r\n"
_DECIDING: Final = re.compile(rb"\n(content-length|host|transfer-encoding|connection|expect|upgrade|trailer):")
_LENGTH: Final = re.compile(rb"\ncontent-length: ?([0-9]{1,5})\r\n")
_END: Final = b"\r\n\r\n"
_ANSWER: Final = render_early("overloaded")

PERIOD_SECONDS: Final = 1.0


class Asker(Protocol):
    """A connection. ``asked_in`` is the period in which it last asked."""

    asked_in: int


Refusal = Callable[[bytes, Asker], bytes]


def nothing(_data: bytes, _asker: Asker) -> bytes:
    """Refuse nothing unread."""
    return b""


class Shedding:
    """Refuses what cannot be answered soon.

    Who is refused may ask again at once, and be refused again: few clients make many refusals. So all places are given out again
    when no more connections have asked in a period than there are places.
    """

    def __init__(self, slots: Slots, path: bytes, *, now: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._now = now
        self._head = re.compile(rb"POST " + re.escape(path) + rb" HTTP/1\.1\r\n(?:" + _FIELD + rb")+\r\n")
        self._let_in = 0
        self._period = self._askers = 0
        self._ends_at = -math.inf

    def refusal(self, data: bytes, asker: Asker) -> bytes:
        """Return the answer to these bytes, which begin a request on a connection at rest; nothing if they are to be read."""
        if not self._slots.is_crowded:
            return b""
        self._count(asker)
        if self._is_let_in():
            return b""
        head = self._head.match(data)
        if head is None or not _ends_here(data, head.end()):
            return b""
        self._slots.refuse()
        return _ANSWER

    def _count(self, asker: Asker) -> None:
        now = self._now()
        if now >= self._ends_at:
            if now < self._ends_at + PERIOD_SECONDS and self._askers <= self._slots.number:
                self._slots.give_all()
            self._period, self._askers, self._ends_at = self._period + 1, 0, now + PERIOD_SECONDS
        if asker.asked_in != self._period:
            asker.asked_in = self._period
            self._askers += 1

    def _is_let_in(self) -> bool:
        """Let in as many as there are places; they take them in the next turn of the event loop."""
        if self._let_in >= self._slots.free:
            return False
        if not self._let_in:
            asyncio.get_running_loop().call_soon(self._forget)
        self._let_in += 1
        return True

    def _forget(self) -> None:
        self._let_in = 0


def _ends_here(data: bytes, body: int) -> bool:
    """Tell whether a head that ends at ``body`` says that the request ends with these bytes."""
    head = data[:body].lower()
    if sorted(_DECIDING.findall(head)) != [b"content-length", b"host"]:
        return False
    length = _LENGTH.search(head)
    return length is not None and int(length[1]) == len(data) - body

"""The proofs that one process has accepted, so that it accepts none twice. RFC 9449 §11.1.

Bounded: when it is full nothing is accepted until something is over. It begins with the process, so it cannot say of a proof
from before whether it was used: that is refused, and a nonce shows the next one to be newer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from watchword import forking
from watchword.clock import Clock, system_clock
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Claim, Verdict, build_claim, milliseconds

if TYPE_CHECKING:
    from datetime import datetime

CAPACITY: Final = 500_000
"""Proofs; some 200 bytes each."""

_SLICE: Final = 8_192
"""Milliseconds: proofs whose time ends in the same slice are forgotten together."""


class ProofMemory:
    """Implements ``ports.replay.Replay`` within one process. Thread-safe. Make one for each API, and keep it."""

    def __init__(self, *, clock: Clock = system_clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._known: set[bytes] = set()
        self._ending: dict[int, list[bytes]] = {}
        self._swept = -1
        self._horizon = _before(clock)
        self._lock = threading.Lock()
        self._is_closed = False
        forking.register(self)

    def renew_after_fork(self) -> None:
        """Begin anew: what the other processes accept from now on is not known here."""
        self._lock = threading.Lock()
        self._horizon = _before(self._clock)

    def __len__(self) -> int:
        """Return how many proofs are remembered."""
        return len(self._known)

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim a proof, once. Never waits."""
        claim = build_claim(namespace, identifier, since, until)
        with self._lock:
            if self._is_closed:
                raise ReplayUnavailable("replay.closed")
            return self._decide(claim, milliseconds(self._clock()))

    def _decide(self, claim: Claim, now: int) -> Verdict:
        if claim.key in self._known:
            return Verdict.REPEATED
        self._sweep(now)
        if not claim.is_remembered(now=now, horizon=self._horizon, swept=self._swept):
            return Verdict.UNSURE
        if len(self._known) >= self._capacity:
            raise ReplayUnavailable("replay.full")
        self._known.add(claim.key)
        self._ending.setdefault(claim.until // _SLICE, []).append(claim.key)
        return Verdict.FIRST

    def _sweep(self, now: int) -> None:
        """Forget the slices that are over."""
        over = [part for part in self._ending if (part + 1) * _SLICE <= now]
        for part in over:
            self._known.difference_update(self._ending.pop(part))
            self._swept = max(self._swept, (part + 1) * _SLICE - 1)

    async def check(self) -> None:
        """Return unless it was closed."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")

    async def close(self) -> None:
        """Accept nothing any more."""
        self._is_closed = True


def _before(clock: Clock) -> int:
    """The last millisecond before this one: in this one no other process has accepted anything, and ended."""
    return milliseconds(clock()) - 1

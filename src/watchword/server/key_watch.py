"""How the signing keys stand, told again and again while a node serves: for metrics, log and alerts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from watchword.clock import Clock
from watchword.errors import WatchwordError
from watchword.ports.keys import KeyState, KeyStore, SigningKey
from watchword.server import key_schedule
from watchword.server.key_schedule import KeyTimes, Step

LOOK: Final = timedelta(seconds=10)
OVERDUE: Final = timedelta(minutes=15)
"""A step may be late: another node takes the office first, and waits by its own clock for as long as verifiers need."""


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """The keys, what is to come, and what is long past its time."""

    keys: tuple[SigningKey, ...]
    plan: tuple[Step, ...]
    now: datetime

    @property
    def ages(self) -> dict[str, timedelta]:
        """How long the key of each algorithm has been signing."""
        active = [key for key in self.keys if key.state is KeyState.ACTIVE]
        return {key.algorithm: self.now - (key.activated_at or key.created_at) for key in active}

    @property
    def waits(self) -> dict[str, timedelta]:
        """How long it is until the next step of each algorithm that has one; negative: it should have been taken."""
        return {step.algorithm: step.at - self.now for step in reversed(self.plan)}

    def overdue(self, times: KeyTimes) -> tuple[Step, ...]:
        """Return the steps that somebody ought to have taken by now, were there a node that can."""
        return tuple(step for step in self.plan if step.at < self.now - OVERDUE - _patience(step, times))


def _patience(step: Step, times: KeyTimes) -> timedelta:
    """How long the node that takes it waits by its own steady clock, where it has only just begun."""
    waits = {key_schedule.Move.ACTIVATE: times.notice, key_schedule.Move.RETIRE: times.linger}
    return waits.get(step.move, timedelta(0))


class KeyWitness(Protocol):
    """Told how the keys stand. Must not raise."""

    # ruff: noqa: D102 -- the names say it

    def saw_keys(self, standing: KeyStanding, overdue: Sequence[Step]) -> None: ...


@asynccontextmanager
async def watching_keys(store: KeyStore, times: KeyTimes, *, clock: Clock, witness: KeyWitness) -> AsyncIterator[None]:
    """Look each ``LOOK`` until the block is left. A store that cannot be read is looked at again."""
    looking = asyncio.create_task(_keep_looking(store, times, clock, witness), name="watchword-keys")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _keep_looking(store: KeyStore, times: KeyTimes, clock: Clock, witness: KeyWitness) -> None:
    while True:
        try:
            standing = await look(store, times, now=clock())
        except WatchwordError:
            pass  # who needs the store says so
        else:
            witness.saw_keys(standing, standing.overdue(times))
        await asyncio.sleep(LOOK.total_seconds())


async def look(store: KeyStore, times: KeyTimes, *, now: datetime) -> KeyStanding:
    """Return how the keys stand.

    Raises:
        StoreUnavailable
    """
    keys = tuple(await store.signing_keys())
    return KeyStanding(keys, key_schedule.plan(keys, times), now)

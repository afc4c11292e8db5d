"""What can be wrong with the signing keys: none signs, one signs for too long, steps that nobody takes, clocks that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from watchword.ports.agents import Resource
from watchword.ports.cluster import Node
from watchword.ports.store import Store
from watchword.server.key_schedule import KeyTimes, Move
from watchword.server.key_watch import KeyStanding, look
from watchword.server.offices import LEASE
from watchword.settings import ServerSettings
from watchword.upkeep.findings import Finding, error, warning

OLDEST: Final = timedelta(days=365)
"""So long a key may sign where no schedule replaces it."""
_BATCH: Final = 200
_WHAT: Final = {Move.PUBLISH: "published", Move.ACTIVATE: "signing", Move.RETIRE: "out of the key set"}


async def check_keys(store: Store, settings: ServerSettings, now: datetime) -> list[Finding]:
    """Every algorithm in use has a key that signs, and what is due is done.

    Raises:
        StoreUnavailable
    """
    times = KeyTimes(period=timedelta(seconds=settings.signing_key_period))
    standing, place = await look(store, times, now=now), str(settings.data)
    resources = await _resources(store)
    return [
        *_check_there(standing, {settings.signing_algorithm, *(one.signing_algorithm for one in resources)}, place),
        *_check_overdue(standing, times, place),
        *_check_age(standing, times, place),
        *_check_lifetimes(resources, times, place),
        *_check_clocks(await store.nodes(), now, times),
    ]


def _check_there(standing: KeyStanding, algorithms: set[str], place: str) -> Iterator[Finding]:
    for algorithm in sorted(algorithms - standing.ages.keys()):
        command = f"watchword key rotate --alg {algorithm} --data {place}"
        yield error(
            "signing-key", f"no key signs with {algorithm}, which is in use: no such token can be issued", command
        )


def _check_overdue(standing: KeyStanding, times: KeyTimes, place: str) -> Iterator[Finding]:
    for step in standing.overdue(times):
        key = f"the key {step.kid}" if step.kid else "the next key"
        finding = (
            f"{key} of {step.algorithm} should be {_WHAT[step.move]} since {step.at:%Y-%m-%d %H:%M}: no server does it"
        )
        yield warning("key-overdue", finding, f"watchword node list --data {place}")


def _check_age(standing: KeyStanding, times: KeyTimes, place: str) -> Iterator[Finding]:
    if times.period:
        return  # what is too old is overdue
    for algorithm, age in standing.ages.items():
        if age > OLDEST:
            finding = f"the key of {algorithm} has signed for {age.days} days, and no schedule replaces it"
            yield warning("key-age", finding, f"watchword key rotate --alg {algorithm} --data {place}")


def _check_lifetimes(resources: Sequence[Resource], times: KeyTimes, place: str) -> Iterator[Finding]:
    """A key leaves when no token of it can be valid, by the longest lifetime that there may be."""
    longest = times.longest_lifetime
    for one in resources:
        if one.token_lifetime > longest:
            finding = f"tokens for {one.name} outlive their key: {one.token_lifetime} is more than {longest}"
            command = f"watchword resource update {one.name} --lifetime {longest.seconds} --data {place}"
            yield error("key-schedule", finding, command)


def _check_clocks(nodes: Sequence[Node], now: datetime, times: KeyTimes) -> Iterator[Finding]:
    """Nobody can tell a node that is behind from one that has ended; one that is ahead shows."""
    for node in nodes:
        if node.seen_at > now + times.skew - LEASE:
            finding = (
                f"the clock of the node {node.name} showed {node.seen_at:%Y-%m-%d %H:%M:%S}, this one {now:%H:%M:%S}"
            )
            yield error("clock", finding, "timedatectl set-ntp true")


async def _resources(store: Store) -> list[Resource]:
    found: list[Resource] = []
    while page := await store.resources(after=found[-1].name if found else "", limit=_BATCH):
        found += page
    return found

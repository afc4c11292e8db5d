"""Single use: what was presented once is not accepted a second time (RFC 7523 §3, RFC 9449 §11.1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from watchword.errors import ReplayUnavailable

KEY_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Verdict(StrEnum):
    """What the memory says of an id. Only ``FIRST`` is a yes."""

    FIRST = "first"
    """Nobody has claimed it before, and nobody will after."""

    REPEATED = "repeated"

    UNSURE = "unsure"
    """The memory does not reach over all of the time in which it may have been claimed: who refuses it refuses no replay too
    few. It is over, or not yet begun; or it began before memory was lost."""


class Replay(Protocol):
    """The memory of what was presented. Adapters pass ``watchword.testing.replay_contract``.

    ``claim`` is atomic among all who share the memory: tasks, processes, nodes, and those that come after a restart. It keeps an
    id until ``until``, forgets none for want of room, and never says ``FIRST`` twice of one id in one namespace. Where memory may
    have been lost (an end that was not clean, a cache that was flushed or restarted), whatever began before that is ``UNSURE``.
    """

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id that its maker's signature was found to cover; both texts may be of any length.

        ``since`` and ``until`` are the first and the last moment at which a message with this id is accepted by anybody: its
        ``iat`` less the skew that is allowed, and its ``exp`` (or ``iat`` and the greatest age) with it. They follow from the
        message alone, never from when it came.

        A caller that is cancelled disturbs no other; its id may or may not be claimed.

        Raises:
            ReplayUnavailable: replay.full, replay.unavailable, replay.clock, replay.closed. Nothing was accepted.
        """
        ...

    async def check(self) -> None:
        """Return when an id could be claimed now; used by readiness.

        Raises:
            ReplayUnavailable
        """
        ...

    async def close(self) -> None:
        """Finish what is under way and release everything. Idempotent."""
        ...


class NoReplay:
    """No memory, so nothing is accepted: what stands where nobody has opened one."""

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:  # noqa: ARG002 -- the port's
        """Refuse."""
        raise ReplayUnavailable("replay.closed", detail="no memory of what was presented is open here")

    async def check(self) -> None:
        """Refuse."""
        raise ReplayUnavailable("replay.closed", detail="no memory of what was presented is open here")

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as an adapter stores it: a key of ``KEY_BYTES``, whatever the id was, and milliseconds since 1970."""

    key: bytes
    since: int
    until: int

    def is_remembered(self, *, now: int, horizon: int, swept: int) -> bool:
        """Tell whether the memory reaches over all of the claim's time.

        It does when that has begun after ``horizon``, up to which memory may have been lost; lasts at ``now``; and ends after
        ``swept``, the latest end that was ever forgotten (a clock set back gives no second chance).
        """
        return horizon < self.since <= now <= self.until and self.until > swept


def build_claim(namespace: str, identifier: str, since: datetime, until: datetime) -> Claim:
    """Return the claim: times are rounded outwards, and no two pairs of texts share a key."""
    name = namespace.encode("utf-8", "surrogatepass")
    text = b"%d:%b%b" % (len(name), name, identifier.encode("utf-8", "surrogatepass"))
    key = hashlib.blake2b(text, digest_size=KEY_BYTES).digest()
    return Claim(key, milliseconds(since), milliseconds_up(until))


def milliseconds(moment: datetime) -> int:
    """Return the whole milliseconds since 1970 that have passed at an aware moment."""
    return (moment - _EPOCH) // _MILLISECOND


def milliseconds_up(moment: datetime) -> int:
    """Return the same, rounded up."""
    return -((_EPOCH - moment) // _MILLISECOND)

"""Revocations: the few rows that make tokens useless before they expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from watchword.protocol.revocation import Revocation


@dataclass(frozen=True, slots=True)
class Revoke:
    """Store a revocation under the next sequence, over the one of its kind and target if its cut-off is later.

    Never a conflict. One whose cut-off is no later changes nothing and has no sequence.
    """

    revocation: Revocation


@dataclass(frozen=True, slots=True)
class PruneRevocations:
    """Remove the revocations that ended at ``now`` or earlier. The epoch does not change."""

    now: datetime


class Revocations(Protocol):
    """Reads of them.

    Raises:
        StoreUnavailable
    """

    async def revocations(self, *, after: int, limit: int) -> Sequence[Revocation]:
        """Return revocations by ascending sequence, beginning after ``after``."""
        ...

    async def revocation_sequence(self) -> int:
        """Return the sequence that was given last; 0 if none ever was. Never goes down."""
        ...

    async def status_blocks(self) -> int:
        """Return how many blocks of places in the status lists have been taken."""
        ...

    async def take_status_block(self) -> int:
        """Return the number of a block of places in the status lists that nobody else has, or ever will have. From 0."""
        ...

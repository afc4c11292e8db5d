"""Places in the status lists for new tokens: a block at a time, so that no token costs a write. Token Status List §13.2.

Which place a token gets tells nothing of when it was issued, or how many were: the order in a block is random. What is left of a
block when a process ends is nobody's; no place is ever given twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Final

from watchword.ports.revocations import Revocations
from watchword.protocol import names
from watchword.protocol.status_list import LIST_SIZE, build_status, parse_status

BLOCK: Final = 4096
BLOCKS_PER_LIST: Final = LIST_SIZE // BLOCK
_FEW: Final = BLOCK // 4


def list_uri(issuer: str, number: int) -> str:
    """Return where a list stands, which is its name too."""
    return f"{issuer}{names.PATH_STATUS}/{number}"


def status_claim(issuer: str, place: int) -> dict[str, object]:
    """Return the claim of the token that has this place among those of all lists."""
    return build_status(list_uri(issuer, place // LIST_SIZE), place % LIST_SIZE)


def place_of(claims: Mapping[str, object]) -> int | None:
    """Return the place among those of all lists that a token of ours names, or nothing where it has none."""
    claim = claims.get(names.STATUS)
    reference = None if claim is None else parse_status(claim)
    if reference is None:
        return None
    return int(reference.uri.rpartition("/")[2]) * LIST_SIZE + reference.index


class StatusPlaces:
    """Gives each token a place of its own. One of them belongs to one event loop."""

    def __init__(self, store: Revocations) -> None:
        self._store = store
        self._places: list[int] = []
        self._turn = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None

    async def take(self) -> int:
        """Return a place that no token ever had.

        Raises:
            StoreUnavailable: a new block is needed, and cannot be had.
        """
        if len(self._places) <= _FEW and (self._ahead is None or self._ahead.done()):
            self._ahead = asyncio.create_task(self._fill(_FEW), name="watchword-status-places")
            self._ahead.add_done_callback(_note_nothing)
        while not self._places:
            await self._fill(0)
        return self._places.pop()

    async def _fill(self, enough: int) -> None:
        async with self._turn:
            if len(self._places) <= enough:
                block = await self._store.take_status_block()
                places = list(range(block * BLOCK, (block + 1) * BLOCK))
                secrets.SystemRandom().shuffle(places)
                self._places = places + self._places


def _note_nothing(task: asyncio.Task[None]) -> None:
    """Who needs the block and cannot have it is told; that it could not be had ahead of time is nobody's business."""
    if not task.cancelled():
        task.exception()

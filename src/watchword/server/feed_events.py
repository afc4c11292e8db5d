"""The events of the feed, each signed once in a process for all who read it: pages from the store, and the beats between."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from watchword.clock import Clock
from watchword.ports.keys import Signer
from watchword.ports.store import Store
from watchword.protocol import names
from watchword.protocol.jose import assemble, signing_input
from watchword.protocol.security_event import PAGE, FeedEvent, build_header, build_security_event
from watchword.server.signing_keys import SigningKeys

KEPT: Final = 256
"""Events that are kept for those who come from a little behind."""

KEPT_CHARACTERS: Final = 16_777_216
"""Characters of all of them together, about."""

PAGE_AGE: Final = timedelta(seconds=5)
"""How long a page is given to others: its age counts for who judges by it how fresh the feed is."""


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """What one event brings whom where, and its characters. ``frame`` is the event as a server-sent one."""

    event: FeedEvent
    token: str = field(repr=False)
    frame: bytes = field(repr=False)

    @property
    def position(self) -> int:
        """Where a reader stands who has it."""
        return self.event.sequence

    @property
    def is_last_page(self) -> bool:
        """Whether a snapshot ends with it."""
        return self.event.is_complete


class EventSigner:
    """Signs with the active key of one algorithm."""

    def __init__(self, issuer: str, algorithm: str, keys: SigningKeys, signer: Signer) -> None:
        self._issuer = issuer
        self._algorithm = algorithm
        self._keys = keys
        self._signer = signer

    async def sign(self, event: FeedEvent) -> SignedEvent:
        """Return it signed.

        Raises:
            NoSigningKey, StoreUnavailable, and those of the signer.
        """
        key = await self._keys.active(self._algorithm)
        claims = build_security_event(
            event,
            issuer=self._issuer,
            audience=self._issuer + names.PATH_EVENTS,
            jti=secrets.token_urlsafe(16),
            txn=f"{event.generation}-{event.sequence}",
        )
        unsigned = signing_input(build_header(algorithm=key.algorithm, kid=key.kid), claims)
        token = assemble(unsigned, await self._signer.sign(key, unsigned))
        frame = f"id: {event.generation}-{event.sequence}\nevent: revocations\ndata: {token}\n\n".encode("ascii")
        return SignedEvent(event, token, frame)


class EventPages:
    """The pages that bring a reader from where it stands towards the present. Each is read and signed once for all."""

    def __init__(self, store: Store, signer: EventSigner, clock: Clock) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._kept: OrderedDict[tuple[int, bool], SignedEvent] = OrderedDict()
        self._characters = 0
        self._turn = asyncio.Lock()
        self.generation = 0

    def begin(self, generation: int) -> None:
        """Forget everything of another life of the store."""
        if generation != self.generation:
            self._kept.clear()
            self._characters = 0
            self.generation = generation

    async def page(self, after: int, *, known: int, is_snapshot: bool) -> SignedEvent:
        """Return what comes after ``after``. ``known`` is a sequence that the store had reached before this is asked.

        Raises:
            StoreUnavailable, NoSigningKey, and those of the signer.
        """
        found = self._find(after, is_snapshot=is_snapshot)
        if found is not None:
            return found
        async with self._turn:
            found = self._find(after, is_snapshot=is_snapshot)
            return found or await self._make(after, known, is_snapshot=is_snapshot)

    def _find(self, after: int, *, is_snapshot: bool) -> SignedEvent | None:
        """Return a kept page, if it is young, and leads somewhere."""
        kept = self._kept.get((after, is_snapshot))
        if kept is None or self._clock() - kept.event.issued_at >= PAGE_AGE:
            return None
        return kept if is_snapshot or kept.position > after else None

    async def _make(self, after: int, known: int, *, is_snapshot: bool) -> SignedEvent:
        asked_at = self._clock()
        rows = tuple(await self._store.revocations(after=after, limit=PAGE))
        is_whole = len(rows) < PAGE
        last = rows[-1].sequence if rows else after
        event = FeedEvent(
            generation=self.generation,
            after=after,
            sequence=max(last, known) if is_whole else last,
            issued_at=asked_at,
            revocations=rows,
            is_snapshot=is_snapshot,
            is_complete=is_snapshot and is_whole,
        )
        signed = await self._signer.sign(event)
        self._keep((after, is_snapshot), signed)
        return signed

    async def beat(self, position: int, now: datetime) -> SignedEvent:
        """Return that there is nothing beyond ``position``."""
        return await self._signer.sign(
            FeedEvent(generation=self.generation, after=position, sequence=position, issued_at=now)
        )

    def _keep(self, key: tuple[int, bool], signed: SignedEvent) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._characters -= len(old.token)
        self._kept[key] = signed
        self._characters += len(signed.token)
        while len(self._kept) > KEPT or (self._characters > KEPT_CHARACTERS and len(self._kept) > 1):
            _, dropped = self._kept.popitem(last=False)
            self._characters -= len(dropped.token)

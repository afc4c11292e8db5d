"""Status lists: for every place one bit that says whether its token is revoked. Token Status List, draft 21.

Which tokens a revocation hits is read from the audit trail, where every issuance stands with its place: nothing is written for a
token, and a process that was just started says the same as one that has run for long. A revocation counts as settled once no
token that it hits can still be on its way into the trail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.clock import Clock
from watchword.errors import NotFound
from watchword.ports.audit import Outcome
from watchword.ports.keys import Signer
from watchword.ports.store import Store
from watchword.protocol import names
from watchword.protocol.access_token import MAX_LEEWAY
from watchword.protocol.jose import assemble, signing_input
from watchword.protocol.revocation import SEPARATOR, Revocation, RevocationKind, RevocationView
from watchword.protocol.status_list import LIST_SIZE, build_header, build_status_list
from watchword.server.key_schedule import LONGEST_LIFETIME
from watchword.server.metadata import Document, build_document, document
from watchword.server.revocations import PAGE
from watchword.server.signing_keys import SigningKeys
from watchword.server.status_places import BLOCKS_PER_LIST, list_uri

SETTLING: Final = timedelta(seconds=10)
"""How late, at the very most, a token is recorded that was decided before a cut-off."""

_LOOK_AGAIN: Final = timedelta(milliseconds=250)
_BACK: Final = LONGEST_LIFETIME + SETTLING + MAX_LEEWAY
_EVENTS: Final = 500


@dataclass(slots=True)
class _Unsettled:
    """A revocation whose tokens may not all be recorded yet, and how far the trail was read for it."""

    revocation: Revocation
    read_to: int = 0


@dataclass(slots=True)
class _Kept:
    made: Document
    made_at: datetime
    revoked: frozenset[int] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRules:
    """How long a list may be kept before it is asked for again (``ttl``)."""

    ttl: timedelta = timedelta(seconds=10)

    @property
    def lifetime(self) -> timedelta:
        """How long a list that cannot be asked for again may still be believed."""
        return max(self.ttl * 4, timedelta(minutes=2))


class StatusLists:
    """The lists as they are at this moment. Each process makes and signs those that it is asked for."""

    def __init__(
        self,
        issuer: str,
        store: Store,
        keys: SigningKeys,
        signer: Signer,
        clock: Clock,
        algorithm: str,
        rules: StatusRules,
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._keys = keys
        self._signer = signer
        self._clock = clock
        self._algorithm = algorithm
        self.rules = rules
        self._revoked: dict[int, dict[int, datetime]] = {}
        self._unsettled: list[_Unsettled] = []
        self._epoch = -1
        self._sequence = 0
        self._looked_at: datetime | None = None
        self._kept: dict[int, _Kept] = {}
        self._turn = asyncio.Lock()

    async def aggregation(self) -> Document:
        """Return which lists there are. §9.3."""
        return document({"status_lists": [self.uri(number) for number in range(await self._number())]})

    async def signed_list(self, number: int) -> Document:
        """Return the signed list of this number.

        Raises:
            NotFound: status.list: no token was given a place in it.
            NoSigningKey, StoreUnavailable
        """
        if number >= await self._number():
            raise NotFound("status.list")
        async with self._turn:
            now = self._clock()
            await self._catch_up(now)
            return await self._made(number, now)

    def uri(self, number: int) -> str:
        """Return where a list stands, which is its name too."""
        return list_uri(self._issuer, number)

    async def _number(self) -> int:
        return -(-await self._store.status_blocks() // BLOCKS_PER_LIST)

    async def _made(self, number: int, now: datetime) -> Document:
        marks = self._revoked.get(number, {})
        revoked = frozenset(place for place, end in marks.items() if end > now)
        kept = self._kept.get(number)
        if kept is not None and kept.revoked == revoked and timedelta(0) <= now - kept.made_at < self.rules.ttl / 2:
            return kept.made
        self._revoked[number] = {place: marks[place] for place in revoked}
        key = await self._keys.active(self._algorithm)
        claims = build_status_list(
            issuer=self._issuer,
            uri=self.uri(number),
            revoked=revoked,
            issued_at=now,
            lifetime=self.rules.lifetime,
            ttl=self.rules.ttl,
        )
        unsigned = signing_input(build_header(algorithm=key.algorithm, kid=key.kid), claims)
        made = build_document(assemble(unsigned, await self._signer.sign(key, unsigned)).encode())
        self._kept[number] = _Kept(made, now, revoked)
        return made

    async def _catch_up(self, now: datetime) -> None:
        """Take what was revoked since, and look again for what settled meanwhile."""
        epoch = await self._store.epoch()
        is_due = self._looked_at is None or abs(now - self._looked_at) >= _LOOK_AGAIN
        if epoch == self._epoch and not (self._unsettled and is_due):
            return
        while found := await self._store.revocations(after=self._sequence, limit=PAGE):
            self._take(found)
            self._sequence = found[-1].sequence
        await self._search(now)
        self._unsettled = [one for one in self._unsettled if one.revocation.cutoff + SETTLING > now]
        self._epoch, self._looked_at = epoch, now

    def _take(self, revocations: Iterable[Revocation]) -> None:
        for one in revocations:
            if one.kind is not RevocationKind.TOKEN:
                self._unsettled.append(_Unsettled(one))
            elif one.status is not None:
                self._mark(one.status, one.expires_at)

    def _mark(self, place: int, end: datetime) -> None:
        self._revoked.setdefault(place // LIST_SIZE, {})[place % LIST_SIZE] = end

    async def _search(self, now: datetime) -> None:
        """Read the trail back for what is unsettled: of one client by its index, of the others all together."""
        alone: dict[str, list[_Unsettled]] = {}
        for one in self._unsettled:
            alone.setdefault(_client_of(one.revocation), []).append(one)
        for client_id, group in alone.items():
            await self._search_for(client_id, group, now)

    async def _search_for(self, client_id: str, group: Iterable[_Unsettled], now: datetime) -> None:
        group = list(group)
        view = RevocationView()
        view.add(one.revocation for one in group)
        filters = {"action": "token.issue", "outcome": Outcome.SUCCESS.value}
        if client_id:
            filters["client_id"] = client_id
        read_to = min(one.read_to for one in group)
        newest, after = read_to, 0
        while page := await self._store.events(after=after, limit=_EVENTS, filters=filters, newest_first=True):
            newest, after = max(newest, page[0].cursor), page[-1].cursor
            old = False
            for event in page:
                if event.cursor <= read_to:
                    old = True
                    break
                old = self._consider(json.loads(event.payload), view, now)
            if old:
                break
        for one in group:
            one.read_to = newest

    def _consider(self, event: Mapping[str, object], view: RevocationView, now: datetime) -> bool:
        """Mark the place of a recorded token that is hit; tell whether it is too old for any like it to be alive."""
        recorded_at = datetime.fromisoformat(str(event["time"]))
        details = event.get("details")
        place = details.get("status") if isinstance(details, Mapping) else None
        if isinstance(details, Mapping) and isinstance(place, str) and place.isdecimal():
            issued_at = str(details.get("iat", int(recorded_at.timestamp())))
            claims = {**_claims(event), names.IAT: int(issued_at)}
            if view.hit(claims, str(event.get("kid", ""))) is not None:
                self._mark(int(place), _end(event, now))
        return recorded_at < now.astimezone(UTC) - _BACK


def _client_of(revocation: Revocation) -> str:
    """Return the one client whose tokens it can hit, or nothing where they may be anybody's."""
    match revocation.kind:
        case RevocationKind.AGENT:
            return revocation.target
        case RevocationKind.PERMISSION:
            return revocation.target.partition(SEPARATOR)[0]
        case _:
            return ""


def _claims(event: Mapping[str, object]) -> dict[str, object]:
    """Return what a recorded issuance says of its token."""
    return {
        names.JTI: event.get("jti"),
        names.CLIENT_ID: event.get("client_id"),
        names.AUD: event.get("resource"),
        names.SCOPE: event.get("scope"),
        names.CREDENTIAL_ID: event.get("credential_id"),
    }


def _end(event: Mapping[str, object], now: datetime) -> datetime:
    ends = event.get("expires_at")
    return (datetime.fromisoformat(ends) if isinstance(ends, str) else now + LONGEST_LIFETIME) + MAX_LEEWAY

"""Keys of others, fetched and kept: implements ``ports.foreign_keys.ForeignKeys``. When what is asked: ``protocol/kept_keys.py``.

One fetch of a source is in the air at a time, and nobody's cancellation ends it. A key that was withdrawn is refused once
the set is not fresh any more, after ``MAX_FRESHNESS`` at most; while its source is out of reach, after ``MAX_STALE``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import KeysUnavailable, WatchwordError
from watchword.ports.foreign_keys import KeySource
from watchword.ports.http import HttpRequest, Transport
from watchword.protocol.foreign_keys import discovery_url, read_document, read_jwks_uri, read_keys
from watchword.protocol.jose import PublicKey
from watchword.protocol.jwks import KeySet
from watchword.protocol.kept_keys import KeptKeys, read_freshness

MAX_STALE: Final = timedelta(hours=1)
"""How long the last good set serves while its source is out of reach."""
PATIENCE: Final = timedelta(seconds=2)
"""How long one request waits for a fetch; a fetch has no more time than that."""
MAX_SOURCES: Final = 1000
"""Sources that are kept; of more, those asked for longest ago are forgotten."""
MAX_FLIGHTS: Final = 16
"""Fetches in the air at once: sources that do not answer keep nobody from the others' kept keys."""

_ACCEPT: Final = {"accept": "application/json, application/jwk-set+json"}

Observe = Callable[[KeySource, str], None]
"""Told each fetch that failed, and why. Must not raise."""


class _Source:
    def __init__(self) -> None:
        self.kept = KeptKeys()
        self.flight: asyncio.Task[None] | None = None
        self.jwks_uri = ""


class FetchedForeignKeys:
    """The keys of many sources, in the memory of one process. Used on one event loop."""

    def __init__(
        self,
        transport: Transport,
        *,
        max_sources: int = MAX_SOURCES,
        max_flights: int = MAX_FLIGHTS,
        observe: Observe = lambda _source, _reason: None,
    ) -> None:
        self._transport = transport
        self._observe = observe
        self._max_sources = max_sources
        self._max_flights = max_flights
        self._sources: OrderedDict[KeySource, _Source] = OrderedDict()
        self._flights: set[asyncio.Task[None]] = set()

    async def find(self, source: KeySource, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
        """Return the published key, or nothing: see the port.

        Raises:
            KeysUnavailable: the reason of the fetch that failed, keys.timeout, keys.busy.
        """
        entry = self._enter(source)
        has_asked = False
        if entry.kept.is_due(now):
            flight = self._take_off(source, entry, now)
            if flight is not None and entry.kept.usable(now) is None:
                has_asked = await self._wait(flight)
        key = _choose(self._usable(entry, source, now), kid, algorithm)
        if key is not None or not kid:
            return key
        if await self._ask_again(source, entry, now, has_asked=has_asked):
            key = _choose(self._usable(entry, source, now), kid, algorithm)
        if key is None and entry.kept.failure:
            raise KeysUnavailable(entry.kept.failure, detail=name_source(source))
        return key

    async def aclose(self) -> None:
        """End what is in the air."""
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _enter(self, source: KeySource) -> _Source:
        entry = self._sources.get(source)
        if entry is None:
            entry = self._sources[source] = _Source()
            self._forget_the_oldest()
        self._sources.move_to_end(source)
        return entry

    def _forget_the_oldest(self) -> None:
        while len(self._sources) > self._max_sources:
            self._sources.popitem(last=False)

    def _usable(self, entry: _Source, source: KeySource, now: datetime) -> KeySet:
        held = entry.kept.usable(now)
        if held is None:
            in_the_air = entry.flight is not None
            reason = entry.kept.failure or ("keys.timeout" if in_the_air else "keys.busy")
            raise KeysUnavailable(reason, detail=name_source(source))
        return held.keys

    async def _ask_again(self, source: KeySource, entry: _Source, now: datetime, *, has_asked: bool) -> bool:
        """Wait for the fetch on behalf of an unknown ``kid``; one that this request has waited for counts as it."""
        if entry.flight is None and not entry.kept.may_ask(now):
            return False
        entry.kept = entry.kept.with_question(now)
        if has_asked:
            return False
        flight = self._take_off(source, entry, now)
        return flight is not None and await self._wait(flight)

    def _take_off(self, source: KeySource, entry: _Source, now: datetime) -> asyncio.Task[None] | None:
        """Return the fetch that is in the air, begun now where none is; nothing while too many others are."""
        if entry.flight is None and len(self._flights) < self._max_flights:
            flight = asyncio.get_running_loop().create_task(self._fly(source, entry, now))
            entry.flight = flight
            self._flights.add(flight)
            flight.add_done_callback(lambda landed: self._land(entry, landed))
        return entry.flight

    def _land(self, entry: _Source, flight: asyncio.Task[None]) -> None:
        entry.flight = None
        self._flights.discard(flight)

    async def _wait(self, flight: asyncio.Task[None]) -> bool:
        """Say whether it has landed in time; whoever waits may be cancelled, the fetch is everybody's."""
        done, _ = await asyncio.wait({flight}, timeout=PATIENCE.total_seconds())
        if done and not flight.cancelled() and (defect := flight.exception()) is not None:
            raise defect
        return bool(done)

    async def _fly(self, source: KeySource, entry: _Source, began: datetime) -> None:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                keys, freshness = await self._fetch(source, entry)
        except TimeoutError:
            self._fail(source, entry, "keys.timeout", began)
        except WatchwordError as error:
            self._fail(source, entry, error.reason, began)
        else:
            entry.kept = entry.kept.with_keys(keys, freshness, began=began, max_stale=MAX_STALE)

    def _fail(self, source: KeySource, entry: _Source, reason: str, began: datetime) -> None:
        """Keep what there is, and tell: while the old keys serve, nobody else would notice."""
        entry.kept = entry.kept.with_failure(reason, began=began)
        self._observe(source, reason)

    async def _fetch(self, source: KeySource, entry: _Source) -> tuple[KeySet, timedelta]:
        """Return the keys and how long they are fresh. What was discovered holds until a fetch fails."""
        uri = source.jwks_uri or entry.jwks_uri or await self._discover(source.issuer)
        entry.jwks_uri = ""
        document, headers = await self._get(uri)
        keys = read_keys(document, rsa_algorithm=source.rsa_algorithm, use=source.use)
        entry.jwks_uri = uri
        return keys, read_freshness(headers)

    async def _discover(self, issuer: str) -> str:
        document, _ = await self._get(discovery_url(issuer))
        return read_jwks_uri(document, issuer=issuer)

    async def _get(self, url: str) -> tuple[Mapping[str, object], Mapping[str, str]]:
        answer = await self._transport.asend(HttpRequest(method="GET", url=url, headers=_ACCEPT))
        return read_document(answer.status, answer.headers, answer.body), answer.headers


def _choose(keys: KeySet, kid: str, algorithm: str) -> PublicKey | None:
    if kid:
        return keys.find(kid, algorithm)
    fitting = [one.kid for one in keys.keys.values() if keys.find(one.kid, algorithm) is not None]
    return keys.find(fitting[0], algorithm) if len(fitting) == 1 else None


def name_source(source: KeySource) -> str:
    """Return what an operator knows it by."""
    return source.jwks_uri or source.issuer

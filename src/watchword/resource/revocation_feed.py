"""Revocations as they happen: a verifier that holds the feed checks every token alone, and yet refuses one that was taken back.

    feed = RevocationFeed(login=watchword.default(), max_staleness=timedelta(seconds=30), when_stale="refuse")
    verifier = Verifier(issuer=issuer, audience="my-api", revocation=feed)

A revocation arrives within a second. While the feed is not heard, what it has said still holds; after ``max_staleness`` the API
no longer relies on it, and does what its owner has chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

from watchword.clock import Clock, system_clock
from watchword.errors import BadSettings, InvalidToken, VerifierUnavailable
from watchword.ports.http import Transport
from watchword.protocol.access_token import AccessToken
from watchword.resource.feed_line import FeedAddress, ServerLogin
from watchword.resource.feed_reader import FeedReader
from watchword.resource.issuer_keys import IssuerKeys
from watchword.resource.jwks_cache import JwksCache
from watchword.resource.revocation import Standing, Watch
from watchword.resource.steps import Steps
from watchword.resource.verifier_settings import check_jwks_uri, check_period

MAX_STALENESS: Final = timedelta(seconds=30)
SHORTEST_STALENESS: Final = timedelta(seconds=2)
LONGEST_STALENESS: Final = timedelta(hours=1)

_PATIENCE = (1.5, 5.0)
_KEYS_COOL_DOWN = timedelta(seconds=1)
_DONE: Final = {"refuse": "refused", "accept": "accepted"}
_log = logging.getLogger("watchword.resource")

WhenStale = Literal["refuse", "accept"] | Watch
"""What becomes of requests while the feed is not heard: 503; let in as if nothing were revoked since; or another is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """How a feed stands: for health pages, metrics and alerts.

    ``is_fresh``: it is relied on now. ``heard_at`` is the last moment at which everything was known; ``failure`` is why there is
    no connection, if there is none. ``counts`` are: connected, accepted, revocations, ``dropped`` with a reason, and stale
    refused, stale accepted, stale passed on (requests that came while it was not fresh).
    """

    is_fresh: bool
    heard_at: datetime | None
    generation: int | None
    sequence: int | None
    held: int
    failure: str
    counts: Mapping[str, int] = field(default_factory=dict)


class RevocationFeed:
    """The feed of one issuer, read in a thread from the first use on. Thread-safe; verifiers of one issuer may share it.

    ``login`` is the API's own: of an agent that serves a resource. ``url`` is where the feed is, if not at the issuer's
    ``/oauth/events``: on a listener for mutual TLS, for one whose token is bound to a certificate.
    ``max_staleness`` (2 s to 1 h) is how long ago the feed may have been heard last; ``when_stale`` is what happens
    then, and before it was heard for the first time.

    Raises:
        BadSettings: feed.max_staleness, feed.when_stale, verifier.jwks_uri.
    """

    def __init__(
        self,
        *,
        login: ServerLogin,
        max_staleness: timedelta = MAX_STALENESS,
        when_stale: WhenStale = "refuse",
        url: str | None = None,
        jwks_uri: str | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.issuer: Final = login.issuer
        self._max_staleness = check_period(
            "feed.max_staleness", max_staleness, least=SHORTEST_STALENESS, most=LONGEST_STALENESS
        )
        self._when_stale = _check_choice(when_stale, login.issuer)
        least, most = _PATIENCE
        patience = timedelta(seconds=min(max(max_staleness.total_seconds() / 3, least), most))
        address = FeedAddress(login, url=url, transport=transport, patience=patience)
        source = IssuerKeys(login.issuer, check_jwks_uri(jwks_uri))
        keys = JwksCache(source, transport=transport, clock=clock, cool_down=_KEYS_COOL_DOWN)
        self._clock = clock
        self._reader = FeedReader(address, keys, clock)
        self._state = self._reader.state
        self._is_relied_on = True

    @property
    def stamp(self) -> int:
        """Goes up with every revocation."""
        return self._state.stamp

    def confirm(self, token: str, checked: AccessToken, kid: str) -> Steps[Standing]:
        """Return until when a token stands, if it was not revoked.

        Raises:
            InvalidToken: token.revoked.
            VerifierUnavailable: revocation.stale, and those of ``when_stale``.
        """
        flight = self._reader.start()
        standing = self._look(checked, kid)
        if standing is None and not flight.done():
            yield flight
            standing = self._look(checked, kid)
        if standing is not None:
            return standing
        return (yield from self._decide_unheard(token, checked, kid))

    def status(self) -> FeedStatus:
        """Return how the feed stands. It is read from now on, if it was not before."""
        self._reader.start()
        state, now = self._state, self._clock()
        generation, sequence = state.position or (None, None)
        return FeedStatus(
            is_fresh=self._is_fresh(state.heard_at, now),
            heard_at=state.heard_at,
            generation=generation,
            sequence=sequence,
            held=len(state.view),
            failure=self._reader.failure,
            counts=MappingProxyType(dict(self._reader.counts)),
        )

    def close(self) -> None:
        """Stop reading: for who replaces one feed by another. After ``max_staleness`` this one is not relied on."""
        self._reader.close()

    def _look(self, checked: AccessToken, kid: str) -> Standing | None:
        """Return until when the token stands by what is held; nothing if that is too old."""
        stamp, heard_at = self.stamp, self._state.heard_at
        kind = self._state.view.hit(checked.claims, kid)
        if kind is not None:
            raise InvalidToken("token.revoked", detail=kind)
        if heard_at is None or not self._is_fresh(heard_at, self._clock()):
            return None
        if not self._is_relied_on:
            self._is_relied_on = True
            _log.warning("the revocation feed of %s is relied on again", self.issuer)
        return Standing(begins=heard_at, ends=heard_at + self._max_staleness, stamp=stamp)

    def _is_fresh(self, heard_at: datetime | None, now: datetime) -> bool:
        return heard_at is not None and heard_at <= now < heard_at + self._max_staleness

    def _decide_unheard(self, token: str, checked: AccessToken, kid: str) -> Steps[Standing]:
        choice = self._when_stale
        done = _DONE[choice] if isinstance(choice, str) else "passed on"
        self._reader.counts[f"stale {done}"] += 1
        if self._is_relied_on:
            self._is_relied_on = False
            heard = self._state.heard_at
            _log.warning(
                "the revocation feed of %s was last heard %s (%s): requests are %s",
                self.issuer,
                f"at {heard:%Y-%m-%dT%H:%M:%SZ}" if heard is not None else "never",
                self._reader.failure or "not yet",
                done,
            )
        if choice == "refuse":
            raise VerifierUnavailable("revocation.stale")
        if choice != "accept":
            standing = yield from choice.confirm(token, checked, kid)
            return replace(standing, stamp=self.stamp)
        now = self._clock()
        return Standing(begins=now, ends=now, stamp=self.stamp)


def _check_choice(when_stale: WhenStale, issuer: str) -> WhenStale:
    if isinstance(when_stale, str):
        if when_stale not in _DONE:
            raise BadSettings("feed.when_stale", detail='"refuse", "accept", or what else knows of revocations')
    elif when_stale.issuer != issuer:
        raise BadSettings("feed.when_stale", detail=f"its login is at {when_stale.issuer}, not at {issuer}")
    return when_stale

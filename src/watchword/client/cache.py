"""Tokens kept until they are worth nothing: fresh, stale (renew, but still good), expired (never served)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from watchword import forking

RENEW_AT: Final = 0.80
"""The part of its life after which a token is renewed."""

RENEW_SPREAD: Final = 0.10
"""Renewals of many clients are spread over this part of the life, half of it before and half after ``RENEW_AT``."""

LONGEST_LIFE: Final = timedelta(hours=24)
"""No token is served longer without a renewal, whatever its server says of it."""

MAX_ENTRIES: Final = 4096
_LARGEST_MARGIN = timedelta(seconds=5)


class Freshness(StrEnum):
    """What may be done with a cached token."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """What makes two requests for a token the same. ``scopes`` is sorted and without repetitions."""

    issuer: str
    client_id: str
    resource: str | None
    audience: str | None
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token and when, by our own clock, it was asked for, is to be renewed, and is not served any more."""

    value: str = field(repr=False)
    scopes: tuple[str, ...]
    obtained_at: datetime
    renew_at: datetime
    expires_at: datetime

    def freshness(self, now: datetime) -> Freshness:
        """Judge the token. A clock that was set back behind its birth says nothing about it: it counts as expired."""
        if not self.obtained_at <= now < self.expires_at:
            return Freshness.EXPIRED
        return Freshness.STALE if now >= self.renew_at else Freshness.FRESH


def build_token(value: str, scopes: tuple[str, ...], *, sent_at: datetime, life: timedelta, jitter: float) -> Token:
    """Return the token with its times; ``life`` counts from ``sent_at``, the moment of the request that got it.

    It is not served in the last five seconds of its life (or the last tenth, if that is shorter): it has a way to go.
    """
    life = min(max(life, timedelta(0)), LONGEST_LIFE)
    return Token(
        value=value,
        scopes=scopes,
        obtained_at=sent_at,
        renew_at=sent_at + life * (RENEW_AT + RENEW_SPREAD * (jitter - 0.5)),
        expires_at=sent_at + life - min(_LARGEST_MARGIN, life / 10),
    )


class TokenCache:
    """Tokens by what was asked for, in memory only. At most ``MAX_ENTRIES``: then those that expire first give way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[CacheKey, Token] = {}
        forking.register(self)

    def renew_after_fork(self) -> None:
        """Keep the tokens, which are the child's as well, and replace the lock."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, key: CacheKey, now: datetime) -> Token | None:
        """Return the token for this request unless it has expired."""
        token = self._tokens.get(key)
        return None if token is None or token.freshness(now) is Freshness.EXPIRED else token

    def keep(self, key: CacheKey, token: Token, now: datetime) -> None:
        """Keep the token for this request in place of any other; one without a life is not kept."""
        with self._lock:
            self._tokens.pop(key, None)
            if token.freshness(now) is Freshness.EXPIRED:
                return
            if len(self._tokens) >= MAX_ENTRIES:
                self._make_room(now)
            self._tokens[key] = token

    def postpone(self, key: CacheKey, token: Token, until: datetime) -> None:
        """Try no renewal of this token before ``until``."""
        with self._lock:
            if self._tokens.get(key) is token:
                self._tokens[key] = replace(token, renew_at=until)

    def drop(self, key: CacheKey) -> None:
        """Forget the token for this request."""
        with self._lock:
            self._tokens.pop(key, None)

    def forget(self, value: str) -> None:
        """Forget this very token, under whatever request; a newer one in its place stays."""
        with self._lock:
            self._tokens = {key: token for key, token in self._tokens.items() if token.value != value}

    def _make_room(self, now: datetime) -> None:
        by_end = sorted(self._tokens.items(), key=lambda item: item[1].expires_at)
        alive = [item for item in by_end if item[1].freshness(now) is not Freshness.EXPIRED]
        self._tokens = dict(alive[-(MAX_ENTRIES - MAX_ENTRIES // 8) :])

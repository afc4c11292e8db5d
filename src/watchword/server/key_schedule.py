"""The life of a signing key, told the time: what may be done with it now, until when that is unsafe, and what is due.

``prepared -> published -> active -> retiring -> retired``, and ``compromised`` from any of them. A key signs only after every
verifier can have it, and leaves the key set only after the last token that it signed. Every algorithm has a line of keys of
its own: one that signs, at most one that comes next.

Each function returns records in the order in which they must be stored, in one commit: the store takes them only if nobody has
changed one of them since they were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from watchword.errors import Conflict
from watchword.ports.keys import KeyState, SigningKey

LONGEST_LIFETIME: Final = timedelta(hours=1)
"""No token is valid for longer."""

_NOT_KNOWN: Final = "Verifiers may still hold the old set until {}."
_DAY: Final = timedelta(days=1)
_NEVER: Final = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """``period`` is how long a key signs, zero: until somebody wants another. ``max_age`` is how long a key set may be kept
    (RFC 9111 §5.2.2.1). ``skew`` is what clocks may differ, verifiers be lenient, and nodes be late to hear of a change.
    """

    period: timedelta = timedelta(days=30)
    max_age: timedelta = timedelta(minutes=5)
    longest_lifetime: timedelta = LONGEST_LIFETIME
    skew: timedelta = timedelta(minutes=2)

    @property
    def notice(self) -> timedelta:
        """How long a key must have been in the key set before it signs."""
        return self.max_age + self.skew

    @property
    def linger(self) -> timedelta:
        """How long it must stay there after it has signed last."""
        return self.longest_lifetime + self.max_age + self.skew

    @property
    def lead(self) -> timedelta:
        """How long before its time the next key is published, where nobody is in a hurry."""
        return max(self.notice, min(_DAY, self.period / 4))


DEFAULT_TIMES: Final = KeyTimes()


class Move(StrEnum):
    """What comes next for a key, named by the state that it leads to."""

    PUBLISH = "published"
    ACTIVATE = "active"
    RETIRE = "retired"


@dataclass(frozen=True, slots=True)
class Step:
    """A move and when it is due. ``kid`` is empty where the key is yet to be made."""

    at: datetime
    move: Move
    algorithm: str
    kid: str = ""


def publish(key: SigningKey, *, now: datetime, is_wanted: bool = False) -> SigningKey:
    """Return a prepared key, published. ``is_wanted``: it is to sign as soon as it may.

    Raises:
        Conflict: key.state
    """
    return _next_version(introduce(key, now=now, is_wanted=is_wanted), key)


def introduce(key: SigningKey, *, now: datetime, is_wanted: bool = False) -> SigningKey:
    """Return a key that was made just now, and is not stored yet, as published.

    Raises:
        Conflict: key.state
    """
    _check_state(key, KeyState.PREPARED)
    return replace(key, state=KeyState.PUBLISHED, published_at=now, wanted_at=now if is_wanted else None)


def activate(
    keys: Sequence[SigningKey], key: SigningKey, *, times: KeyTimes, now: datetime, latest: datetime | None = None
) -> tuple[SigningKey, ...]:
    """Return the published key as the one that signs, and the one before it, if any, as retiring.

    Judged by ``now``, noted as ``latest``, where clocks differ.

    Raises:
        Conflict: key.state; key.too_early, while verifiers may hold a key set without it.
    """
    _check_state(key, KeyState.PUBLISHED)
    before, noted = signing(keys, key.algorithm), latest or now
    if before is None:
        return (_activated(key, noted),)
    _check_time(now, usable_from(key, times), _NOT_KNOWN)
    return (_retiring(before, noted), _activated(key, noted))


def withdraw(key: SigningKey, *, now: datetime) -> SigningKey:
    """Return the key that signs as retiring, without another in its place: nobody uses its algorithm any more.

    Raises:
        Conflict: key.state
    """
    _check_state(key, KeyState.ACTIVE)
    return _retiring(key, now)


def retire(key: SigningKey, *, times: KeyTimes, now: datetime) -> SigningKey:
    """Return the key as retired, its private half destroyed.

    Raises:
        Conflict: key.active, key.state; key.too_early, while a token that it signed may be valid.
    """
    if key.state is KeyState.ACTIVE:
        raise Conflict("key.active", detail="This key signs. Put another in its place first: `watchword key rotate`.")
    _check_state(key, KeyState.PREPARED, KeyState.PUBLISHED, KeyState.RETIRING)
    if key.state is KeyState.RETIRING:
        _check_time(now, removable_from(key, times), "Tokens that it signed may be valid until {}.")
    return _next_version(replace(key, state=KeyState.RETIRED, retired_at=now, sealed=b""), key)


def discard(key: SigningKey, *, now: datetime) -> SigningKey:
    """Return the key as retired, whatever it was used for: a store that was put back trusts none of its keys.

    It stays sealed, so that its master key can be told by it.
    """
    return _next_version(replace(key, state=KeyState.RETIRED, retired_at=now), key)


def emptied(key: SigningKey) -> SigningKey:
    """Return a discarded key without what was left of its private half."""
    return _next_version(replace(key, sealed=b""), key)


def rewrapped(key: SigningKey, sealed: bytes) -> SigningKey:
    """Return the key with its private half sealed anew."""
    return _next_version(replace(key, sealed=sealed), key)


def compromise(key: SigningKey, *, now: datetime) -> SigningKey:
    """Return the key as compromised, its private half destroyed: no token of it is worth anything.

    Raises:
        Conflict: key.state; it is so already.
    """
    _check_state(key, *(state for state in KeyState if state is not KeyState.COMPROMISED))
    return _next_version(replace(key, state=KeyState.COMPROMISED, compromised_at=now, sealed=b""), key)


def begin(key: SigningKey, *, now: datetime) -> SigningKey:
    """Return a new key that signs at once: the first of its algorithm, or in place of one that may sign no more."""
    return replace(key, state=KeyState.ACTIVE, published_at=now, activated_at=now)


def want(key: SigningKey, *, now: datetime) -> SigningKey:
    """Return the published key as one that is to sign as soon as it may.

    Raises:
        Conflict: key.state
    """
    _check_state(key, KeyState.PUBLISHED)
    return _next_version(replace(key, wanted_at=now), key)


def check_known(key: SigningKey, *, times: KeyTimes, now: datetime) -> None:
    """Pass if every verifier can have this key.

    Raises:
        Conflict: key.too_early
    """
    _check_time(now, usable_from(key, times), _NOT_KNOWN)


def signing(keys: Sequence[SigningKey], algorithm: str) -> SigningKey | None:
    """Return the key that signs with this algorithm."""
    return _first(keys, algorithm, KeyState.ACTIVE)


def upcoming(keys: Sequence[SigningKey], algorithm: str) -> SigningKey | None:
    """Return the published key of this algorithm."""
    return _first(keys, algorithm, KeyState.PUBLISHED)


def prepared(keys: Sequence[SigningKey], algorithm: str) -> SigningKey | None:
    """Return the oldest key of this algorithm that nobody has seen yet."""
    return _first(keys, algorithm, KeyState.PREPARED)


def usable_from(key: SigningKey, times: KeyTimes) -> datetime:
    """Return from when every verifier has a published key, or can have it."""
    return (key.published_at or key.created_at) + times.notice


def removable_from(key: SigningKey, times: KeyTimes) -> datetime:
    """Return from when no token that a retiring key signed is valid."""
    return (key.retiring_at or key.activated_at or key.created_at) + times.linger


def plan(keys: Sequence[SigningKey], times: KeyTimes) -> tuple[Step, ...]:
    """Return what is to come if nobody interferes, in order of time; what is due is what lies in the past."""
    lines = sorted({key.algorithm for key in keys})
    steps = [step for algorithm in lines for step in _plan_line(keys, algorithm, times)]
    return tuple(sorted(steps, key=lambda step: (step.at, step.algorithm, step.kid)))


def _plan_line(keys: Sequence[SigningKey], algorithm: str, times: KeyTimes) -> Iterator[Step]:
    active, following = signing(keys, algorithm), upcoming(keys, algorithm)
    ends_at = _end(active, times)
    if following is not None:
        at = usable_from(following, times)
        if active is None or following.wanted_at is not None:
            yield Step(at, Move.ACTIVATE, algorithm, following.kid)
        elif ends_at is not None:
            yield Step(max(at, ends_at), Move.ACTIVATE, algorithm, following.kid)
    elif ends_at is not None:
        waiting = prepared(keys, algorithm)
        yield Step(ends_at - times.lead, Move.PUBLISH, algorithm, waiting.kid if waiting else "")
    for key in keys:
        if key.algorithm == algorithm and key.state is KeyState.RETIRING:
            yield Step(removable_from(key, times), Move.RETIRE, algorithm, key.kid)


def _end(active: SigningKey | None, times: KeyTimes) -> datetime | None:
    if active is None or times.period <= _NEVER:
        return None
    return (active.activated_at or active.created_at) + times.period


def _first(keys: Sequence[SigningKey], algorithm: str, state: KeyState) -> SigningKey | None:
    return next((key for key in keys if key.algorithm == algorithm and key.state is state), None)


def _activated(key: SigningKey, now: datetime) -> SigningKey:
    return _next_version(replace(key, state=KeyState.ACTIVE, activated_at=now, wanted_at=None), key)


def _retiring(key: SigningKey, now: datetime) -> SigningKey:
    """A clock that was put back does not let it go earlier: it has signed since it became active, at the least."""
    since = max(now, key.activated_at or now)
    return _next_version(replace(key, state=KeyState.RETIRING, retiring_at=since), key)


def _next_version(key: SigningKey, before: SigningKey) -> SigningKey:
    return replace(key, version=before.version + 1)


def _check_state(key: SigningKey, *states: KeyState) -> None:
    if key.state not in states:
        wanted = " or ".join(states)
        raise Conflict("key.state", detail=f"This key is {key.state}; only one that is {wanted} can be changed so.")


def _check_time(now: datetime, until: datetime, sentence: str) -> None:
    if now < until:
        shown = until.astimezone(UTC) + timedelta(seconds=1) - timedelta(microseconds=1)
        raise Conflict("key.too_early", detail=sentence.format(f"{shown:%Y-%m-%dT%H:%M:%SZ}"))

"""What is revoked, and whether a token is hit: one rule for the server and for every API. DR-8, RFC 7009 §3.

A revocation is a cut-off: what was issued then or earlier, and is its target, is dead. ``iat`` is in whole seconds, so a
token that was issued in the same second is dead too, whichever came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import ceil, inf
from typing import Final

from watchword.protocol import names

SEPARATOR: Final = " "
"""Between the two parts of a target that has two."""


class RevocationKind(StrEnum):
    """What a target is. Owners, labels and trusted issuers are whoever or whatever they are when it happens."""

    TOKEN = "token"  # noqa: S105 -- a kind's name; the target is a ``jti``
    AGENT = "agent"  # ``client_id``
    PERMISSION = "permission"  # ``client_id`` and the resource's identifier
    CREDENTIAL = "credential"  # its id: everything obtained with it
    RESOURCE = "resource"  # its identifier
    SCOPE = "scope"  # the resource's identifier and the scope
    SIGNING_KEY = "signing_key"  # ``kid``
    EVERYTHING = "everything"  # no target


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One row: there is one of a kind and target, and the later cut-off wins.

    ``sequence`` is given by the store in the order of commits. After ``expires_at`` no token is left that it could hit.
    ``status`` is the place of a single token in the status lists, where it has one.
    """

    kind: RevocationKind
    target: str
    cutoff: datetime
    created_at: datetime
    expires_at: datetime
    status: int | None = None
    sequence: int = 0


Span = tuple[float, float]
"""A cut-off, and the end of what it could hit: seconds since 1970. Equal ones are one object: there may be a million."""

_SPANS_KEPT: Final = 4096


class RevocationView:
    """All revocations in force, to be asked for every token. ``version`` goes up whenever some were added.

    One thread adds and prunes; any number may ask meanwhile. Who remembers a verdict reads ``version`` before asking for it.
    A million of single tokens take some 150 MB.
    """

    __slots__ = ("_due", "_present", "_spans", "_spans_of", "version")

    def __init__(self) -> None:
        self.version = 0
        self._spans_of: Final[Mapping[RevocationKind, dict[str, Span]]] = {kind: {} for kind in RevocationKind}
        self._present: tuple[tuple[RevocationKind, dict[str, Span]], ...] = ()
        self._due: Final[dict[tuple[int, RevocationKind], list[str]]] = {}
        self._spans: Final[dict[Span, Span]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._spans_of.values()))

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Take these into account. Of one kind and target the later cut-off holds, in whichever order they come."""
        for one in revocations:
            spans = self._spans_of[one.kind]
            held = spans.get(one.target, _NOTHING)
            span = max(held[0], one.cutoff.timestamp()), max(held[1], one.expires_at.timestamp())
            if span != held:
                span = self._spans.setdefault(span, span)
                spans[one.target] = span
                self._due.setdefault((ceil(span[1]), one.kind), []).append(one.target)
            if len(self._spans) > _SPANS_KEPT:
                self._spans.clear()
        self._look()
        self.version += 1

    def prune(self, now: datetime) -> int:
        """Forget those that can hit nothing any more, after the second in which they end; return how many."""
        moment, forgotten = now.timestamp(), 0
        for second, kind in [due for due in self._due if due[0] <= moment]:
            spans = self._spans_of[kind]
            for target in self._due.pop((second, kind)):
                if spans.get(target, _NOTHING)[1] <= moment:  # else it was prolonged, and is due again
                    forgotten += spans.pop(target, None) is not None
        self._look()
        return forgotten

    def hit(self, claims: Mapping[str, object], kid: str) -> RevocationKind | None:
        """Return the kind of a revocation that hits a token with these verified claims, signed by ``kid``, or nothing."""
        if not self._present:
            return None
        issued_at = claims.get(names.IAT)
        moment = float(issued_at) if isinstance(issued_at, (int, float)) else 0.0
        return next((kind for kind, cutoff in self._found(claims, kid) if moment <= cutoff), None)

    def cutoff(self, claims: Mapping[str, object], kid: str) -> datetime | None:
        """Return the latest cut-off that a token with these claims would have to come after, or nothing."""
        latest = max((cutoff for _, cutoff in self._found(claims, kid)), default=None)
        return None if latest is None else datetime.fromtimestamp(latest, UTC)

    def _found(self, claims: Mapping[str, object], kid: str) -> Iterable[tuple[RevocationKind, float]]:
        for kind, spans in self._present:
            for target in _targets(kind, claims, kid):
                span = spans.get(target)
                if span is not None:
                    yield kind, span[0]

    def _look(self) -> None:
        self._present = tuple((kind, spans) for kind, spans in self._spans_of.items() if spans)


_NOTHING: Final[Span] = (-inf, -inf)


def _targets(kind: RevocationKind, claims: Mapping[str, object], kid: str) -> Iterable[str]:
    """Return what a revocation of this kind would have to name to hit the token."""
    match kind:
        case RevocationKind.TOKEN:
            return (_text(claims, names.JTI),)
        case RevocationKind.AGENT:
            return (_text(claims, names.CLIENT_ID),)
        case RevocationKind.CREDENTIAL:
            return (_text(claims, names.CREDENTIAL_ID),)
        case RevocationKind.SIGNING_KEY:
            return (kid,)
        case RevocationKind.EVERYTHING:
            return ("",)
        case RevocationKind.RESOURCE:
            return _audience(claims)
        case RevocationKind.PERMISSION:
            return (_text(claims, names.CLIENT_ID) + SEPARATOR + audience for audience in _audience(claims))
        case RevocationKind.SCOPE:
            scopes = _text(claims, names.SCOPE).split()
            return (audience + SEPARATOR + scope for audience in _audience(claims) for scope in scopes)


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get(names.AUD)
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values if isinstance(one, str))

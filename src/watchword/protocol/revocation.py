"""What is revoked, and whether a token is hit: one rule for the server and for every API. DR-8, RFC 7009 §3.

A revocation is a cut-off: what was issued then or earlier, and is its target, is dead. ``iat`` is in whole seconds, so a
token that was issued in the same second is dead too, whichever came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
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


@dataclass(slots=True)
class RevocationView:
    """All revocations in force, to be asked for every token. ``version`` goes up with each that is added."""

    version: int = 0
    _cutoffs: dict[RevocationKind, dict[str, float]] = field(default_factory=dict)
    _ends: dict[tuple[RevocationKind, str], datetime] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ends)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Take these into account. Of one kind and target the later cut-off holds, in whichever order they come."""
        for one in revocations:
            cutoffs = self._cutoffs.setdefault(one.kind, {})
            cutoff = one.cutoff.timestamp()
            if cutoff > cutoffs.get(one.target, -1.0):
                cutoffs[one.target] = cutoff
            key = (one.kind, one.target)
            self._ends[key] = max(one.expires_at, self._ends.get(key, one.expires_at))
            self.version += 1

    def prune(self, now: datetime) -> int:
        """Forget those that can hit nothing any more; return how many."""
        over = [key for key, end in self._ends.items() if end <= now]
        for kind, target in over:
            del self._ends[kind, target]
            del self._cutoffs[kind][target]
            if not self._cutoffs[kind]:
                del self._cutoffs[kind]
        return len(over)

    def hit(self, claims: Mapping[str, object], kid: str) -> RevocationKind | None:
        """Return the kind of a revocation that hits a token with these verified claims, signed by ``kid``, or nothing."""
        if not self._cutoffs:
            return None
        issued_at = claims.get(names.IAT)
        moment = float(issued_at) if isinstance(issued_at, (int, float)) else 0.0
        return next((kind for kind, cutoff in self._found(claims, kid) if moment <= cutoff), None)

    def cutoff(self, claims: Mapping[str, object], kid: str) -> datetime | None:
        """Return the latest cut-off that a token with these claims would have to come after, or nothing."""
        latest = max((cutoff for _, cutoff in self._found(claims, kid)), default=None)
        return None if latest is None else datetime.fromtimestamp(latest, UTC)

    def _found(self, claims: Mapping[str, object], kid: str) -> Iterable[tuple[RevocationKind, float]]:
        for kind, cutoffs in self._cutoffs.items():
            for target in _targets(kind, claims, kid):
                cutoff = cutoffs.get(target)
                if cutoff is not None:
                    yield kind, cutoff


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

"""Who is calling: what a verified token says, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from watchword.errors import InsufficientScope, InvalidToken
from watchword.protocol import names
from watchword.protocol.access_token import AccessToken
from watchword.protocol.confirmation import Confirmation

ACT: Final = "act"

_CONTAINERS: Final = frozenset({dict, list})  # of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The agent behind a request. Immutable to its depth: one token's requests share it.

    ``client_id`` is the agent; ``subject`` is whom it speaks for, itself unless somebody delegated. ``actors`` are those
    acting for the subject, the present one first (RFC 8693 §4.1). ``confirmation`` is the key whose possession was proved.
    """

    client_id: str
    subject: str
    scopes: frozenset[str]
    expires_at: datetime
    token_id: str
    confirmation: Confirmation
    actors: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict, repr=False)

    def require(self, *scopes: str) -> None:
        """Return if the caller has every one of these scopes: exact names, no hierarchy.

        Raises:
            InsufficientScope: caller.scope; it names all that are needed, not only what is missing.
        """
        if not self.scopes.issuperset(scopes):
            raise InsufficientScope("caller.scope", scope=scopes)


CURRENT_CALLER: ContextVar[Caller] = ContextVar("watchword.caller")


def current_caller() -> Caller:
    """Return the caller of the request that is being served, as ``Guard`` let it in.

    Raises:
        InvalidToken: token.missing: this request came through no guard, or on a public path.
    """
    caller = CURRENT_CALLER.get(None)
    if caller is None:
        raise InvalidToken("token.missing")
    return caller


def build_caller(token: AccessToken) -> Caller:
    """Return the caller that a verified token speaks for.

    Raises:
        InvalidToken: token.actor: ``act`` is not a chain of subjects.
    """
    return Caller(
        client_id=token.client_id,
        subject=token.subject,
        scopes=frozenset(token.scopes),
        expires_at=token.expires_at,
        token_id=token.jti,
        confirmation=token.confirmation,
        actors=_read_actors(token.claims),
        claims=_freeze_claims(token.claims),
    )


def _read_actors(claims: Mapping[str, object]) -> tuple[str, ...]:
    actors: list[str] = []
    holder: Mapping[str, object] = claims
    while ACT in holder:
        actor = holder[ACT]
        subject = actor.get(names.SUB) if isinstance(actor, Mapping) else None
        if not isinstance(actor, Mapping) or not isinstance(subject, str) or not subject:
            raise InvalidToken("token.actor")
        actors.append(subject)
        holder = actor
    return tuple(actors)


def _freeze_claims(claims: Mapping[str, object]) -> Mapping[str, object]:
    """The claims are nobody else's already: only what can be changed inside them is copied."""
    if _CONTAINERS.isdisjoint(map(type, claims.values())):
        return claims
    return MappingProxyType({name: _freeze(value) for name, value in claims.items()})


def _freeze(value: object) -> object:
    if isinstance(value, dict):
        return MappingProxyType({name: _freeze(member) for name, member in value.items()})
    return tuple(map(_freeze, value)) if isinstance(value, list) else value

"""What every operation is given: who asks, from where, and the parts it works with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from watchword.clock import Clock
from watchword.errors import Conflict, Problem
from watchword.ports.agents import Agent, AgentState, Role
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.cluster import NeedsStep
from watchword.ports.foreign_keys import ForeignKeys, NoForeignKeys
from watchword.ports.keys import KeyState, Signer, SigningKey
from watchword.ports.revocations import Revoke
from watchword.ports.store import Change, Create, Replace, RetireCredential, RevokeCredential, Store
from watchword.protocol import names
from watchword.protocol.revocation import RevocationKind
from watchword.server.audit import Observer, claimed
from watchword.server.key_schedule import DEFAULT_TIMES, KeyTimes
from watchword.server.offices import LEASE
from watchword.server.revocations import LONGEST_HELD, cutoff_now, revoke, until


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``actor`` stands in the audit trail: ``operator:<id>``, ``local:<user>`` or ``anonymous``."""

    actor: str
    role: Role | None


ANONYMOUS: Final = Principal("anonymous", None)


@dataclass(frozen=True, slots=True)
class Peppers:
    """The keys of the hashes under which secrets are stored; never in the store themselves."""

    client_secret: bytes = field(repr=False)
    operator_token: bytes = field(repr=False)


class Collision(Exception):
    """What an operation was decided on had changed by the time it was committed; nothing of it was applied."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict.reason)
        self.conflict = conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationContext:
    """One operator's request. ``action`` is set by the operation itself; ``default_algorithm`` is the one of resources
    that name none, ``signing_algorithms`` are those that the security profile of this server admits."""

    store: Store
    clock: Clock
    issuer: str
    peppers: Peppers
    principal: Principal = ANONYMOUS
    request_id: str = ""
    peer: str = ""
    signer: Signer | None = None
    default_algorithm: str = names.ES256
    signing_algorithms: frozenset[str] = frozenset(names.SIGNING_ALGORITHMS)
    key_times: KeyTimes = DEFAULT_TIMES
    observers: tuple[Observer, ...] = ()
    foreign_keys: ForeignKeys = field(default_factory=NoForeignKeys)
    action: str = ""

    @property
    def now(self) -> datetime:
        """The time: aware, UTC."""
        return self.clock()

    async def commit(self, reason: str, *changes: Change, **facts: object) -> None:
        """Make the changes and record that it was done, together or not at all. ``facts`` are members of the event.

        What ends something ends in the same moment what was issued for it (``_ended``). What nodes of an older version
        would not honour is refused while there are any.

        Raises:
            Collision: a change does not fit what is stored.
            StoreUnavailable: neither was done.
        """
        event = self._event(Outcome.SUCCESS, reason, facts)
        ending = [_for_good(one) for one in await self.revocations(*_ended(changes))]
        try:
            await self.store.commit(event, (*_needed(changes, self.clock() - LEASE), *changes, *ending))
        except Conflict as conflict:
            raise Collision(conflict) from conflict
        self._tell(event)

    async def revocations(self, *targets: tuple[RevocationKind, str]) -> tuple[Revoke, ...]:
        """Return the changes that end whatever these were issued until now, by the clock of any node.

        Raises:
            StoreUnavailable
        """
        if not targets:
            return ()
        now = self.now
        cutoff = await cutoff_now(self.store, now)
        return tuple(revoke(kind, target, cutoff=cutoff, now=now) for kind, target in dict.fromkeys(targets))

    async def refuse(self, problem: Problem, **facts: object) -> None:
        """Record that this was asked and refused.

        Raises:
            StoreUnavailable: it could not be recorded.
        """
        event = self._event(Outcome.DENIED, problem.reason, facts)
        await self.store.commit(event)
        self._tell(event)

    def _event(self, outcome: Outcome, reason: str, facts: Mapping[str, object]) -> AuditEvent:
        return AuditEvent(
            id=secrets.token_hex(16),
            time=self.now,
            action=self.action,
            outcome=outcome,
            reason=reason,
            actor=self.principal.actor,
            request_id=self.request_id,
            peer=self.peer,
            **facts,  # type: ignore[arg-type]  # the event's own fields, checked by its constructor
        )

    def _tell(self, event: AuditEvent) -> None:
        seconds = (self.now - event.time).total_seconds()
        for observe in self.observers:
            observe(event, seconds)


def details(**values: object) -> dict[str, str]:
    """Return details for an event: empty ones left out, each redacted and bounded."""
    return {name: claimed(str(value)) for name, value in values.items() if value not in (None, "", (), {})}


def _needed(changes: Sequence[Change], since: datetime) -> tuple[NeedsStep, ...]:
    """Return what these hang on: a version that knows no agents bound to a key would give their tokens to anybody,
    and one that knows no silence would note uses too seldom, and what is still in use would end."""
    agents = [one.record for one in changes if isinstance(one, (Create, Replace)) and isinstance(one.record, Agent)]
    needed = [NeedsStep("keys", since)] if any(one.dpop_bound or one.mtls_bound for one in agents) else []
    if any(isinstance(one, RetireCredential) and one.silence is not None for one in changes):
        needed.append(NeedsStep("overlap", since))
    return tuple(needed)


def _ended(changes: Sequence[Change]) -> list[tuple[RevocationKind, str]]:
    """Return what these changes end: agents that may not log in, credentials that are revoked, keys that are somebody else's.

    What ends with more than the change tells, its operation says itself.
    """
    ended: list[tuple[RevocationKind, str]] = []
    for change in changes:
        record = change.record if isinstance(change, Replace) else None
        if isinstance(change, RevokeCredential):
            ended.append((RevocationKind.CREDENTIAL, change.credential_id))
        elif isinstance(record, Agent) and record.state is not AgentState.ACTIVE:
            ended.append((RevocationKind.AGENT, record.client_id))
        elif isinstance(record, SigningKey) and record.state is KeyState.COMPROMISED:
            ended.append((RevocationKind.SIGNING_KEY, record.kid))
    return ended


def _for_good(change: Revoke) -> Revoke:
    """Let the cut-off of a key that was given up lie ahead: whoever took it dates tokens as he likes, and it signs no more."""
    one = change.revocation
    if one.kind is not RevocationKind.SIGNING_KEY:
        return change
    cutoff = one.cutoff + LONGEST_HELD
    return Revoke(replace(one, cutoff=cutoff, expires_at=until(cutoff)))

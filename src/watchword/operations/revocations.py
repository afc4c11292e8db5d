"""The kill switch: what was issued until now, or until a moment, is dead. Whoever it was issued to may log in again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from watchword.errors import Forbidden, Invalid
from watchword.operations.checks import check_moment, check_text
from watchword.operations.context import OperationContext, details
from watchword.operations.federated_rules import find_trusted_issuer
from watchword.operations.finding import find_agent
from watchword.operations.operation import operation
from watchword.operations.resources import find_resource
from watchword.ports.agents import Agent, Role
from watchword.ports.revocations import Revoke
from watchword.protocol.revocation import SEPARATOR, RevocationKind
from watchword.server.federation import MAX_RULES
from watchword.server.revocations import until

_BATCH: Final = 200
_MAX_TARGET: Final = 500


class Switch(StrEnum):
    """What an operator calls it."""

    AGENT = "agent"
    OWNER = "owner"
    LABEL = "label"
    RESOURCE = "resource"
    SCOPE = "scope"
    CREDENTIAL = "credential"
    ISSUER = "issuer"
    KEY = "key"
    EVERYTHING = "everything"


_ADMINS: Final = frozenset({Switch.KEY, Switch.EVERYTHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeIssued:
    """``target``: a name or ``client_id``, an owner, ``label=value``, a resource's name, that and a scope, a credential's id, a
    trusted issuer's name, a ``kid``, or nothing for everything. ``before``: what was issued later lives; now unless given."""

    kind: Switch
    target: str = ""
    before: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked, until when, and when that took effect."""

    targets: int
    cutoff: datetime
    effective_at: datetime


@operation("revocation.create")
async def revoke_issued(context: OperationContext, command: RevokeIssued) -> Revoked:
    """End what was issued, in one commit, whatever it hits.

    Raises:
        Forbidden: operator.role: a key, and everything, need an admin.
        Invalid: revocation.target, revocation.before, text.*
        Missing: agent.missing, resource.missing, trusted_issuer.missing
    """
    if command.kind in _ADMINS and context.principal.role is not Role.ADMIN:
        raise Forbidden("operator.role", detail="This needs the role admin.")
    if len(command.target) > _MAX_TARGET or bool(command.target) == (command.kind is Switch.EVERYTHING):
        raise Invalid("revocation.target", detail="A target is named, but for everything; at most 500 characters.")
    before = check_moment(command.before, "revocation.before")
    if before is not None and before > context.now:
        raise Invalid("revocation.before", detail="before is a moment in the past.")
    note = check_text(command.note, "reason")
    changes = await context.revocations(*await _targets(context, command.kind, command.target))
    if before is not None:
        changes = tuple(_earlier(one, before) for one in changes)
    facts = details(kind=command.kind, target=command.target, targets=len(changes), before=before, note=note)
    await context.commit("revoked", *changes, details=facts)
    cutoff = max((one.revocation.cutoff for one in changes), default=before or context.now)
    return Revoked(len(changes), cutoff, context.now)


def _earlier(change: Revoke, before: datetime) -> Revoke:
    """The same, with this moment as the cut-off."""
    return Revoke(replace(change.revocation, cutoff=before, expires_at=until(before)))


async def _targets(context: OperationContext, kind: Switch, target: str) -> list[tuple[RevocationKind, str]]:
    match kind:
        case Switch.AGENT:
            return [(RevocationKind.AGENT, (await find_agent(context, target)).client_id)]
        case Switch.OWNER:
            return [(RevocationKind.AGENT, one.client_id) async for one in _agents(context) if one.owner == target]
        case Switch.LABEL:
            name, _, value = target.partition("=")
            return [
                (RevocationKind.AGENT, one.client_id) async for one in _agents(context) if one.labels.get(name) == value
            ]
        case Switch.RESOURCE:
            return [(RevocationKind.RESOURCE, (await find_resource(context, target)).identifier)]
        case Switch.SCOPE:
            name, _, scope = target.partition(SEPARATOR)
            return [(RevocationKind.SCOPE, (await find_resource(context, name)).identifier + SEPARATOR + scope)]
        case Switch.ISSUER:
            trusted = await find_trusted_issuer(context, target)
            using = await context.store.federated(trusted.name, limit=MAX_RULES)
            return [(RevocationKind.CREDENTIAL, one.id) for one in using]
        case Switch.CREDENTIAL:
            return [(RevocationKind.CREDENTIAL, target)]
        case Switch.KEY:
            return [(RevocationKind.SIGNING_KEY, target)]
        case Switch.EVERYTHING:
            return [(RevocationKind.EVERYTHING, "")]


async def _agents(context: OperationContext) -> AsyncIterator[Agent]:
    after = ""
    while found := await context.store.agents(after=after, limit=_BATCH):
        for agent in found:
            yield agent
        after = found[-1].client_id

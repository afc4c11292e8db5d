"""Rotation of a credential: another takes its place while it goes on for a while, with an end that is set from the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import Conflict, Invalid, Missing
from watchword.operations.context import OperationContext, details
from watchword.operations.credentials import AddCredential, NewCredential, build_credential, check_room
from watchword.operations.finding import find_registration
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.agents import Credential, CredentialKind, CredentialState, Registration

DEFAULT_OVERLAP: Final = timedelta(days=1)
LONGEST_OVERLAP: Final = timedelta(days=90)
_SHORTEST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateCredential:
    """``details`` says of the new one what its kind, which is that of the old one, needs said; ``kind`` is what they are for.

    The old one ends after ``overlap``, or once it has not been used for ``silence`` and the new one has. Without ``expires_at``
    the new one lives for as long as the old one was to live, without ``label`` it has the old one's.
    """

    ref: str
    credential_id: str
    kind: CredentialKind | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    label: str | None = None
    expires_at: datetime | None = None
    overlap: timedelta = DEFAULT_OVERLAP
    silence: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """The new credential, the old one as it is now, and what has to be stored."""

    new: NewCredential
    old: Credential
    changes: tuple[store.Change, ...]

    @property
    def facts(self) -> dict[str, object]:
        """What the event says of it."""
        return {
            "client_id": self.old.client_id,
            "credential_id": self.new.credential.id,
            "details": details(
                kind=self.old.kind,
                label=self.new.credential.label,
                expires_at=self.new.credential.expires_at,
                replaces=self.old.id,
                ends_at=self.old.expires_at,
                silence=self.old.silence,
            ),
        }


@operation("credential.rotate")
async def rotate_credential(context: OperationContext, command: RotateCredential) -> Rotation:
    """Give an agent a credential in place of another, which goes on for the overlap and not longer.

    Of two operators at once one has it done; the other is told so.

    Raises:
        Missing: agent.missing, credential.missing, and those of the kind
        Invalid: text.*, credential.*, and those of the kind
        Conflict: agent.deleted, credential.limit, credential.ended, credential.rotated
    """
    registration = await find_registration(context, command.ref, changeable=True)
    rotation = await plan_rotation(context, registration, command)
    await context.commit("rotated", *rotation.changes, **rotation.facts)
    return rotation


async def plan_rotation(context: OperationContext, registration: Registration, command: RotateCredential) -> Rotation:
    """Return what the rotation comes to. The agent's version counts it, so that of several at once one is done.

    Raises:
        Missing, Invalid, Conflict: as ``rotate_credential``
    """
    now, agent = context.now, registration.agent
    old = _find(registration, command.credential_id, now)
    _check_times(command)
    if command.kind not in (None, old.kind):
        sentence = f"This credential is a {old.kind}, and so is what takes its place. Of another kind: add one, and revoke this."
        raise Invalid("credential.kind", detail=sentence)
    check_room(registration, now)
    added = AddCredential(
        ref=agent.client_id,
        kind=old.kind,
        details=command.details,
        label=old.label if command.label is None else command.label,
        expires_at=command.expires_at or _end_of_life(old, now),
    )
    new = await build_credential(context, agent.client_id, added)
    ends_at = min(now + command.overlap, old.expires_at or datetime.max.replace(tzinfo=now.tzinfo))
    retired = store.RetireCredential(agent.client_id, old.id, ends_at, new.credential.id, command.silence)
    counted = store.Replace(replace(agent, version=agent.version + 1))
    ending = replace(old, expires_at=ends_at, replaced_by=new.credential.id, silence=command.silence)
    return Rotation(new, ending, (counted, store.Create(new.credential), retired))


def _find(registration: Registration, credential_id: str, now: datetime) -> Credential:
    by_id = {one.id: one for one in registration.credentials}
    old = by_id.get(credential_id)
    if old is None:
        raise Missing("credential.missing", detail="This agent has no credential with this id.")
    if not _goes_on(old, now):
        raise Conflict("credential.ended", detail="This credential is revoked or has expired. Add a new one instead.")
    successor = by_id.get(old.replaced_by or "")
    if successor is not None and _goes_on(successor, now):
        raise Conflict(
            "credential.rotated",
            detail=f"This credential is being replaced by {successor.id} already. Rotate that one, or revoke it first.",
        )
    return old


def _goes_on(credential: Credential, now: datetime) -> bool:
    return credential.state is CredentialState.ACTIVE and (credential.expires_at is None or now < credential.expires_at)


def _check_times(command: RotateCredential) -> None:
    if not _SHORTEST <= command.overlap <= LONGEST_OVERLAP:
        sentence = f"The overlap is 1 second to {LONGEST_OVERLAP.days} days. To end a credential now, revoke it."
        raise Invalid("credential.overlap", detail=sentence)
    if command.silence is not None and not _SHORTEST <= command.silence <= command.overlap:
        raise Invalid("credential.silence", detail="The silence is 1 second at least, and not longer than the overlap.")


def _end_of_life(old: Credential, now: datetime) -> datetime | None:
    """A rotation does not make a secret for ever of one that was to end; of one that ends already it takes the old length."""
    if old.expires_at is None or old.replaced_by is not None:
        return None
    return now + (old.expires_at - (old.not_before or old.created_at))

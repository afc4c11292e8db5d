"""Credentials: ways in, many per agent, overlapping. A secret is shown once and kept as a keyed hash; of the other kinds the
server knows only what is public."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from watchword.errors import Conflict, Invalid, Missing
from watchword.operations.checks import check_expiry, check_moment, check_text
from watchword.operations.context import OperationContext, details
from watchword.operations.credential_kinds import KINDS, check_details, opened_by
from watchword.operations.finding import find_registration
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.agents import Credential, CredentialKind, CredentialState, Registration
from watchword.protocol.client_secret import SecretKind, generate_secret, hash_secret

MAX_CREDENTIALS: Final = 10
"""Usable ones of one agent: each is compared at every login."""

MAX_LABEL: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCredential:
    """``ref`` is the agent's ``client_id`` or name. ``details`` is what is said of it, by the rules of its kind."""

    ref: str
    kind: CredentialKind = CredentialKind.CLIENT_SECRET
    details: Mapping[str, object] = field(default_factory=dict)
    label: str = ""
    not_before: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeCredential:
    """``ref`` is the agent's ``client_id`` or name."""

    ref: str
    credential_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCredentials:
    """``ref`` is the agent's ``client_id`` or name."""

    ref: str


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential and, where it is one, its secret, which exists nowhere else and is not shown again."""

    credential: Credential
    client_secret: str = field(default="", repr=False)


@operation("credential.list")
async def list_credentials(context: OperationContext, command: ListCredentials) -> tuple[Credential, ...]:
    """Return an agent's credentials, revoked ones too, oldest first.

    Raises:
        Missing: agent.missing
    """
    registration = await find_registration(context, command.ref)
    return tuple(sorted(registration.credentials, key=lambda one: (one.created_at, one.id)))


@operation("credential.create")
async def add_credential(context: OperationContext, command: AddCredential) -> NewCredential:
    """Give an agent one more way in. The others go on working; the agent may from now on authenticate as the new one needs.

    The agent's version counts it, so that two operators at once cannot pass the limit together.

    Raises:
        Missing: agent.missing, and those of the kind
        Invalid: text.*, credential.*, and those of the kind
        Conflict: agent.deleted, credential.limit
    """
    registration = await find_registration(context, command.ref, changeable=True)
    check_room(registration, context.now)
    agent = registration.agent
    new = await build_credential(context, agent.client_id, command)
    opened = opened_by(new.credential)
    methods = agent.auth_methods if set(opened) & set(agent.auth_methods) else (*agent.auth_methods, *opened)
    grants = tuple(dict.fromkeys((*agent.grant_types, *KINDS[command.kind].grant_types)))
    touched = store.Replace(replace(agent, auth_methods=methods, grant_types=grants, version=agent.version + 1))
    await context.commit("created", touched, store.Create(new.credential), **_facts(new.credential))
    return new


@operation("credential.revoke")
async def revoke_credential(context: OperationContext, command: RevokeCredential) -> Credential:
    """Revoke a credential for ever, from the next login on. Revoking it again changes nothing.

    Raises:
        Missing: agent.missing, credential.missing
    """
    registration = await find_registration(context, command.ref)
    credential = next((one for one in registration.credentials if one.id == command.credential_id), None)
    if credential is None:
        raise Missing("credential.missing", detail="This agent has no credential with this id.")
    gone = store.RevokeCredential(credential.client_id, credential.id)
    await context.commit("revoked", gone, **_facts(credential))
    return replace(credential, state=CredentialState.REVOKED)


async def build_credential(context: OperationContext, client_id: str, command: AddCredential) -> NewCredential:
    """Return a new credential, not stored yet.

    Raises:
        Missing: those of the kind
        Invalid: text.*, credential.*, and those of the kind
    """
    expires_at = check_expiry(command.expires_at, now=context.now, noun="credential")
    not_before = check_moment(command.not_before, "credential.not_before")
    if not_before is not None and expires_at is not None and not_before >= expires_at:
        raise Invalid("credential.not_before", detail="not_before is not before expires_at.")
    label = check_text(command.label, "label", limit=MAX_LABEL)
    checked = await check_details(context, command.kind, command.details)
    secret = generate_secret(SecretKind.CLIENT) if command.kind is CredentialKind.CLIENT_SECRET else ""
    credential = Credential(
        id=f"cred-{secrets.token_hex(8)}",
        client_id=client_id,
        kind=command.kind,
        state=CredentialState.ACTIVE,
        created_at=context.now,
        label=label,
        not_before=not_before,
        expires_at=expires_at,
        secret_hash=hash_secret(secret, pepper=context.peppers.client_secret) if secret else b"",
        details=checked.details,
        trusted_issuer=checked.trusted_issuer,
    )
    return NewCredential(credential, secret)


def check_room(registration: Registration, now: datetime) -> None:
    """Return if the agent may have one more. Those that are to become valid count; revoked and expired ones do not.

    Raises:
        Conflict: credential.limit
    """
    usable = [
        one
        for one in registration.credentials
        if one.state is CredentialState.ACTIVE and (one.expires_at is None or now < one.expires_at)
    ]
    if len(usable) >= MAX_CREDENTIALS:
        sentence = f"This agent has {MAX_CREDENTIALS} usable credentials. Revoke one first."
        raise Conflict("credential.limit", detail=sentence)


def _facts(credential: Credential) -> dict[str, object]:
    return {
        "client_id": credential.client_id,
        "credential_id": credential.id,
        "details": details(
            kind=credential.kind,
            trusted_issuer=credential.trusted_issuer,
            label=credential.label,
            not_before=credential.not_before,
            expires_at=credential.expires_at,
        ),
    }

"""Permissions: agent x resource x scopes. Without one there is nothing to ask for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from watchword.errors import Conflict, Invalid, Missing
from watchword.operations.checks import check_conditions, check_scopes
from watchword.operations.context import OperationContext, details
from watchword.operations.finding import find_registration
from watchword.operations.operation import operation
from watchword.operations.resources import find_resource
from watchword.ports import store
from watchword.ports.agents import Conditions, Permission, Resource
from watchword.protocol.revocation import SEPARATOR, RevocationKind

MAX_PERMISSIONS: Final = 100
"""Of one agent: a token request reads them all."""

NO_CONDITIONS: Final = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is to be permitted. ``default_scopes`` are some of ``scopes``, given when none are asked for."""

    resource: str
    scopes: tuple[str, ...]
    default_scopes: tuple[str, ...] = ()
    conditions: Conditions = NO_CONDITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantPermission:
    """``ref`` is the agent's ``client_id`` or name."""

    ref: str
    grant: Grant

    @property
    def resource(self) -> str:
        """The resource named."""
        return self.grant.resource

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes named."""
        return self.grant.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokePermission:
    """``ref`` is the agent's ``client_id`` or name."""

    ref: str
    permission_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPermissions:
    """``ref`` is the agent's ``client_id`` or name."""

    ref: str


@operation("permission.list")
async def list_permissions(context: OperationContext, command: ListPermissions) -> tuple[Permission, ...]:
    """Return an agent's permissions, oldest first.

    Raises:
        Missing: agent.missing
    """
    registration = await find_registration(context, command.ref)
    return tuple(sorted(registration.permissions, key=lambda one: (one.created_at, one.id)))


@operation("permission.grant")
async def grant_permission(context: OperationContext, command: GrantPermission) -> Permission:
    """Permit an agent some scopes of a resource, from its next token on.

    Raises:
        Missing: agent.missing, resource.missing
        Invalid: scope.*, conditions.*, permission.unknown_scope, permission.default_scopes
        Conflict: agent.deleted, permission.limit
    """
    registration = await find_registration(context, command.ref, changeable=True)
    if len(registration.permissions) >= MAX_PERMISSIONS:
        sentence = f"An agent has at most {MAX_PERMISSIONS} permissions. Revoke one first."
        raise Conflict("permission.limit", detail=sentence)
    agent = registration.agent
    permission, resource = await build_permission(context, agent.client_id, command.grant)
    touched = store.Replace(replace(agent, version=agent.version + 1))
    await context.commit("granted", touched, store.Create(permission), **_facts(permission, resource))
    return permission


@operation("permission.revoke")
async def revoke_permission(context: OperationContext, command: RevokePermission) -> None:
    """Take a permission away. What the agent was issued for the resource is dead at once; its next token is judged anew.

    Raises:
        Missing: agent.missing, permission.missing
    """
    registration = await find_registration(context, command.ref)
    permission = next((one for one in registration.permissions if one.id == command.permission_id), None)
    if permission is None:
        raise Missing("permission.missing", detail="This agent has no permission with this id.")
    gone = store.DeletePermission(permission.client_id, permission.id)
    resource = registration.resources[permission.resource]
    target = permission.client_id + SEPARATOR + resource.identifier
    ending = await context.revocations((RevocationKind.PERMISSION, target))
    await context.commit("revoked", gone, *ending, **_facts(permission, resource))


async def build_permission(context: OperationContext, client_id: str, grant: Grant) -> tuple[Permission, Resource]:
    """Return a permission whose scopes its resource owns, and that resource.

    Raises:
        Missing: resource.missing
        Invalid: scope.*, conditions.*, permission.unknown_scope, permission.default_scopes
    """
    resource = await find_resource(context, grant.resource)
    scopes = check_scopes(grant.scopes)
    unknown = [scope for scope in scopes if scope not in resource.scopes]
    if unknown:
        sentence = f"{resource.name} does not have: {', '.join(unknown)}. It has: {', '.join(resource.scopes)}."
        raise Invalid("permission.unknown_scope", detail=sentence)
    defaults = check_scopes(grant.default_scopes) if grant.default_scopes else ()
    if not set(defaults) <= set(scopes):
        raise Invalid("permission.default_scopes", detail="default_scopes has a scope that scopes has not.")
    permission = Permission(
        id=f"perm-{secrets.token_hex(8)}",
        client_id=client_id,
        resource=resource.name,
        scopes=scopes,
        created_at=context.now,
        default_scopes=defaults,
        conditions=check_conditions(grant.conditions),
    )
    return permission, resource


def _facts(permission: Permission, resource: Resource) -> dict[str, object]:
    conditions = permission.conditions
    lifetime = conditions.maximum_lifetime
    return {
        "client_id": permission.client_id,
        "resource": resource.identifier,
        "scope": " ".join(permission.scopes),
        "details": details(
            permission_id=permission.id,
            default_scopes=" ".join(permission.default_scopes),
            not_before=conditions.not_before,
            not_after=conditions.not_after,
            source_networks=" ".join(conditions.source_networks),
            hours=conditions.hours,
            maximum_lifetime=int(lifetime.total_seconds()) if lifetime else "",
            require_sender_constraint="true" if conditions.require_sender_constraint else "",
        ),
    }

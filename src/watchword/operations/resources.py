"""Resources: the protected APIs, and the scopes they own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from watchword.errors import Conflict, Invalid, Missing
from watchword.operations.checks import (
    MAX_RESOURCE_SCOPES,
    check_identifier,
    check_lifetime,
    check_name,
    check_scopes,
    check_version,
)
from watchword.operations.context import OperationContext, details
from watchword.operations.operation import operation
from watchword.operations.paging import DEFAULT_PAGE, Page, check_limit, cut
from watchword.operations.signing_keys import known_key, missing_key
from watchword.ports import store
from watchword.ports.agents import Permission, Resource
from watchword.ports.keys import SigningKey
from watchword.protocol import names
from watchword.protocol.revocation import SEPARATOR, RevocationKind

_BATCH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResource:
    """``identifier`` is the name unless given."""

    name: str
    scopes: tuple[str, ...]
    identifier: str | None = None
    token_lifetime: timedelta = timedelta(seconds=600)
    signing_algorithm: str | None = None
    require_pop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResource:
    """``None`` leaves a member as it is. ``expected`` are the versions the change may be made to; ``None``: any."""

    name: str
    scopes: tuple[str, ...] | None = None
    token_lifetime: timedelta | None = None
    signing_algorithm: str | None = None
    require_pop: bool | None = None
    expected: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowResource:
    """One resource by name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResource:
    """One resource by name, at one of these versions."""

    name: str
    expected: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResources:
    """Resources by ascending name, beginning after ``after``."""

    after: str = ""
    limit: int = DEFAULT_PAGE


@operation("resource.create")
async def create_resource(context: OperationContext, command: CreateResource) -> Resource:
    """Register a protected API; if no key signs with its algorithm yet, make one.

    Raises:
        Invalid: resource.*, scope.*, target.*
        Conflict: resource.exists, resource.identifier
    """
    name = check_name(command.name, "resource")
    algorithm = context.default_algorithm if command.signing_algorithm is None else command.signing_algorithm
    resource = Resource(
        name=name,
        identifier=check_identifier(name if command.identifier is None else command.identifier, context.issuer),
        scopes=check_scopes(command.scopes, limit=MAX_RESOURCE_SCOPES),
        created_at=context.now,
        token_lifetime=check_lifetime(command.token_lifetime, "resource.token_lifetime"),
        signing_algorithm=_check_algorithm(algorithm, context),
        require_pop=command.require_pop,
    )
    if await context.store.resource(name) is not None:
        raise Conflict("resource.exists", detail="A resource of this name exists.")
    keys = await missing_key(context, resource.signing_algorithm)
    await context.commit("created", store.Create(resource), *map(store.Create, keys), **_facts(resource, keys))
    return resource


@operation("resource.show")
async def show_resource(context: OperationContext, command: ShowResource) -> Resource:
    """Return one resource.

    Raises:
        Missing: resource.missing
    """
    return await find_resource(context, command.name)


@operation("resource.list")
async def list_resources(context: OperationContext, command: ListResources) -> Page[Resource]:
    """Return a page of resources.

    Raises:
        Invalid: page.limit
    """
    limit = check_limit(command.limit)
    return cut(await context.store.resources(after=command.after, limit=limit + 1), limit)


@operation("resource.update")
async def update_resource(context: OperationContext, command: UpdateResource) -> Resource:
    """Change a resource; name and identifier never change. A scope that a permission uses stays; one that goes ends its tokens.

    Raises:
        Missing: resource.missing
        PreconditionFailed: version.changed
        Invalid: resource.*, scope.*
        Conflict: resource.scopes_in_use; key.unpublished, key.too_early, where a verifier may not have a key of the algorithm.
    """
    old = await find_resource(context, command.name)
    check_version(old.version, command.expected)
    new = replace(_merged(old, command, context), version=old.version + 1)
    removed = frozenset(old.scopes).difference(new.scopes)
    await _check_unused(context, old, removed)
    is_changed = new.signing_algorithm != old.signing_algorithm
    keys = await known_key(context, new.signing_algorithm) if is_changed else ()
    gone = [(RevocationKind.SCOPE, old.identifier + SEPARATOR + scope) for scope in sorted(removed)]
    changes: tuple[store.Change, ...] = (
        store.Replace(new),
        *map(store.Replace, keys),
        *await context.revocations(*gone),
    )
    await context.commit("updated", *changes, **_facts(new, keys))
    return new


@operation("resource.delete")
async def delete_resource(context: OperationContext, command: DeleteResource) -> None:
    """Remove a resource that no permission names, and end what is left of its tokens.

    Raises:
        Missing: resource.missing
        PreconditionFailed: version.changed
        Conflict: resource.in_use
    """
    resource = await find_resource(context, command.name)
    check_version(resource.version, command.expected)
    gone = store.DeleteResource(resource.name, resource.version)
    ending = await context.revocations((RevocationKind.RESOURCE, resource.identifier))
    await context.commit("deleted", gone, *ending, **_facts(resource))


async def find_resource(context: OperationContext, name: str) -> Resource:
    """Return the resource of this name.

    Raises:
        Missing: resource.missing
    """
    resource = await context.store.resource(name)
    if resource is None:
        raise Missing("resource.missing", detail="There is no resource of this name.")
    return resource


def _merged(old: Resource, command: UpdateResource, context: OperationContext) -> Resource:
    scopes, lifetime, algorithm = command.scopes, command.token_lifetime, command.signing_algorithm
    return replace(
        old,
        scopes=old.scopes if scopes is None else check_scopes(scopes, limit=MAX_RESOURCE_SCOPES),
        token_lifetime=old.token_lifetime if lifetime is None else check_lifetime(lifetime, "resource.token_lifetime"),
        signing_algorithm=old.signing_algorithm if algorithm is None else _check_algorithm(algorithm, context),
        require_pop=old.require_pop if command.require_pop is None else command.require_pop,
    )


def _check_algorithm(algorithm: str, context: OperationContext) -> str:
    if algorithm not in names.SIGNING_ALGORITHMS:
        known = ", ".join(names.SIGNING_ALGORITHMS)
        raise Invalid("resource.signing_algorithm", detail=f"The signing algorithm is one of {known}.")
    if algorithm not in context.signing_algorithms:
        admitted = ", ".join(sorted(context.signing_algorithms))
        raise Invalid(
            "resource.signing_algorithm", detail=f"The security profile of this server signs with one of {admitted}."
        )
    return algorithm


async def _check_unused(context: OperationContext, resource: Resource, removed: frozenset[str]) -> None:
    if not removed:
        return
    used: set[str] = set()
    async for permission in _permissions(context):
        if permission.resource == resource.name:
            used |= removed.intersection(permission.scopes)
    if used:
        sentence = f"Permissions still use: {', '.join(sorted(used))}. Revoke them first."
        raise Conflict("resource.scopes_in_use", detail=sentence)


async def _permissions(context: OperationContext) -> AsyncIterator[Permission]:
    after = ""
    while agents := await context.store.agents(after=after, limit=_BATCH):
        for agent in agents:
            registration = await context.store.registration(agent.client_id)
            for permission in registration.permissions if registration else ():
                yield permission
        after = agents[-1].client_id


def _facts(resource: Resource, made: Sequence[SigningKey] = ()) -> dict[str, object]:
    return {
        "resource": resource.identifier,
        "kid": " ".join(key.kid for key in made),
        "details": details(
            name=resource.name,
            scopes=" ".join(resource.scopes),
            token_lifetime=int(resource.token_lifetime.total_seconds()),
            signing_algorithm=resource.signing_algorithm,
            require_pop=str(resource.require_pop).lower(),
        ),
    }

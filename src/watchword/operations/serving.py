"""Agents that are the server of a resource: they may ask about its tokens, and hear at once what is revoked."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from watchword.errors import Conflict, Forbidden, Invalid
from watchword.operations.context import OperationContext
from watchword.operations.resources import find_resource
from watchword.operations.signing_keys import missing_key
from watchword.ports import store
from watchword.ports.agents import Agent, Permission, Resource, Role
from watchword.protocol import names
from watchword.protocol.revocation import SEPARATOR, RevocationKind

EVERY: Final = "*"
"""All resources, those too that are yet to come."""

MAX_SERVES: Final = 100
FEED: Final = "watchword-events"
"""The name of the resource that the revocation feed is."""


async def check_serves(
    context: OperationContext, resources: Iterable[str], *, had: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the names of resources that exist. Who serves all of them, an admin says.

    Raises:
        Missing: resource.missing
        Invalid: agent.serves
        Forbidden: operator.role
    """
    given = tuple(resources)
    if len(given) > MAX_SERVES or len(set(given)) != len(given):
        raise Invalid("agent.serves", detail=f"At most {MAX_SERVES} resources are served, each named once.")
    if EVERY in given and EVERY not in had and context.principal.role is not Role.ADMIN:
        raise Forbidden("operator.role", detail="That an agent serves every resource needs the role admin.")
    for name in given:
        if name not in (EVERY, *had):
            await find_resource(context, name)
    return given


async def feed_changes(
    context: OperationContext, agent: Agent, permissions: Iterable[Permission]
) -> tuple[store.Change, ...]:
    """Return what lets the server of a resource read the revocation feed, and takes that away from who is none any more.

    Raises:
        Conflict: resource.exists: something else has the name of the feed.
    """
    granted = [one for one in permissions if one.resource == FEED]
    identifier = context.issuer + names.PATH_EVENTS
    if granted and not agent.serves:
        target = agent.client_id + SEPARATOR + identifier
        gone = [store.DeletePermission(agent.client_id, one.id) for one in granted]
        return (*gone, *await context.revocations((RevocationKind.PERMISSION, target)))
    if granted or not agent.serves:
        return ()
    feed = await context.store.resource(FEED)
    made: tuple[store.Change, ...] = ()
    if feed is None:
        feed = Resource(
            name=FEED,
            identifier=identifier,
            scopes=(names.EVENTS_READ,),
            created_at=context.now,
            signing_algorithm=context.default_algorithm,
        )
        made = (store.Create(feed), *map(store.Create, await missing_key(context, feed.signing_algorithm)))
    if feed.identifier != identifier:
        raise Conflict(
            "resource.exists", detail=f"A resource has the name {FEED}, which is that of the revocation feed."
        )
    permission = Permission(
        id=f"perm-{secrets.token_hex(8)}",
        client_id=agent.client_id,
        resource=FEED,
        scopes=(names.EVENTS_READ,),
        default_scopes=(names.EVENTS_READ,),
        created_at=context.now,
    )
    return (*made, store.Create(permission))

"""The frame of every operation: authorise, do it, and record a refusal as faithfully as a success."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from watchword.errors import Conflict, Problem
from watchword.operations.context import Collision, OperationContext, details
from watchword.operations.roles import authorise, least_role
from watchword.server.audit import claimed

ATTEMPTS: Final = 4
"""How often an operation is decided anew when somebody else's change came between."""

C = TypeVar("C")
R = TypeVar("R")
Body = Callable[[OperationContext, C], Awaitable[R]]

DECLARED: Final[dict[str, str]] = {}
"""Action -> the function that is its only operation."""

_SENTENCES: Final = {
    "node.older": "A server of an older version runs, which would not honour this. Bring all of them forward first.",
    "agent.name": "An agent of this name exists. Choose another name, or delete that agent first.",
    "operator.exists": "An operator of this name exists.",
    "operator.last_admin": "This is the last admin who can log in. Create another first.",
    "resource.exists": "A resource of this name exists.",
    "resource.identifier": "Another resource has this identifier.",
    "resource.in_use": "Permissions still name this resource. Revoke them first.",
    "trusted_issuer.exists": "A trusted issuer of this name exists.",
    "trusted_issuer.in_use": "Active credentials name this issuer. Revoke them first, or all at once with the trust.",
    "trusted_issuer.issuer": "This issuer is trusted under another name.",
}
_CHANGED = "It was changed by somebody else at the same moment. Read it again and repeat."


def operation(action: str) -> Callable[[Body[C, R]], Body[C, R]]:
    """Make an operation of a function: it runs only for a role the table allows, and every refusal leaves one event.

    Raises:
        LookupError: at import, when the table of roles does not know the action, or it is another operation's already.
    """
    least_role(action)

    def decorate(body: Body[C, R]) -> Body[C, R]:
        name = f"{body.__module__}.{body.__qualname__}"
        if DECLARED.setdefault(action, name) != name:
            raise LookupError(f"{action!r} is {DECLARED[action]}")

        @functools.wraps(body)
        async def run(context: OperationContext, command: C) -> R:
            context = replace(context, action=action)
            try:
                authorise(context.principal.role, action)
                return await _attempt(body, context, command)
            except Problem as problem:
                await context.refuse(problem, **_claims(command))
                raise

        return run

    return decorate


async def _attempt(body: Body[C, R], context: OperationContext, command: C) -> R:
    """Run the body; on a collision run it again, so that it decides on what is stored now, its own checks included."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await body(context, command)
        except Collision:
            continue
    try:
        return await body(context, command)
    except Collision as collision:
        reason = collision.conflict.reason
        raise Conflict(reason, detail=_SENTENCES.get(reason, _CHANGED)) from collision


def _claims(command: object) -> dict[str, object]:
    """Return what a refused command named: claimed, therefore redacted and bounded."""
    scopes = getattr(command, "scopes", None) or ()
    return {
        "client_id": claimed(getattr(command, "ref", "")),
        "credential_id": claimed(getattr(command, "credential_id", "")),
        "kid": claimed(getattr(command, "kid", "")),
        "resource": claimed(getattr(command, "resource", "")),
        "scope": claimed(" ".join(scopes)),
        "details": details(name=getattr(command, "name", ""), permission_id=getattr(command, "permission_id", "")),
    }

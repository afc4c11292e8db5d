"""Who may do what: the one table. What is not in it is nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from watchword.errors import Forbidden
from watchword.ports.agents import Role

LEAST_ROLE: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "agent.create": Role.MANAGER,
        "agent.delete": Role.MANAGER,
        "agent.list": Role.VIEWER,
        "agent.resume": Role.MANAGER,
        "agent.show": Role.VIEWER,
        "agent.suspend": Role.MANAGER,
        "agent.update": Role.MANAGER,
        "audit.export": Role.AUDITOR,
        "audit.list": Role.AUDITOR,
        "audit.verify": Role.AUDITOR,
        "credential.create": Role.MANAGER,
        "credential.list": Role.VIEWER,
        "credential.revoke": Role.MANAGER,
        "credential.rotate": Role.MANAGER,
        "key.compromise": Role.ADMIN,
        "key.create": Role.ADMIN,
        "key.list": Role.VIEWER,
        "key.migrate": Role.ADMIN,
        "key.prepare": Role.ADMIN,
        "key.publish": Role.ADMIN,
        "key.renew": Role.ADMIN,
        "key.retire": Role.ADMIN,
        "key.rewrap": Role.ADMIN,
        "key.rotate": Role.ADMIN,
        "node.list": Role.VIEWER,
        "operator.create": Role.ADMIN,
        "operator.disable": Role.ADMIN,
        "operator.list": Role.ADMIN,
        "permission.grant": Role.MANAGER,
        "permission.list": Role.VIEWER,
        "permission.revoke": Role.MANAGER,
        "resource.create": Role.MANAGER,
        "resource.delete": Role.MANAGER,
        "resource.list": Role.VIEWER,
        "resource.show": Role.VIEWER,
        "resource.update": Role.MANAGER,
        "revocation.create": Role.MANAGER,
        "server.show": Role.VIEWER,
        "store.backup": Role.ADMIN,
        "store.issuer": Role.ADMIN,
        "store.move": Role.ADMIN,
        "store.restore": Role.ADMIN,
        "trusted_issuer.create": Role.ADMIN,
        "trusted_issuer.delete": Role.MANAGER,
        "trusted_issuer.list": Role.VIEWER,
        "trusted_issuer.show": Role.VIEWER,
        "trusted_issuer.test": Role.VIEWER,
        "trusted_issuer.update": Role.ADMIN,
    }
)
"""Action -> the least role that may do it."""

_RANK: Final[Mapping[Role, int]] = MappingProxyType(
    {Role.VIEWER: 1, Role.AUDITOR: 2, Role.MANAGER: 3, Role.ADMIN: 4},
)


def least_role(action: str) -> Role:
    """Return the least role for an action. An action that the table does not know fails where it is declared.

    Raises:
        LookupError: not in the table.
    """
    try:
        return LEAST_ROLE[action]
    except KeyError:
        raise LookupError(f"no role is set for {action!r}: add it to LEAST_ROLE") from None


def authorise(role: Role | None, action: str) -> None:
    """Pass if this role may do this. No role may do nothing.

    Raises:
        Forbidden: operator.role
    """
    least = LEAST_ROLE.get(action)
    if role is None or least is None or _RANK[role] < _RANK[least]:
        needed = f"This needs the role {least}." if least else "Nobody may do this."
        raise Forbidden("operator.role", detail=needed)

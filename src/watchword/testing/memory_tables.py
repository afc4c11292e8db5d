"""The tables of the memory store, and what each change does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from watchword.errors import Conflict
from watchword.ports.agents import (
    Agent,
    AgentState,
    Credential,
    CredentialState,
    Operator,
    Permission,
    Resource,
    Role,
)
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep, Node, Office
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer
from watchword.ports.keys import UNIQUE_STATES, SigningKey
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.ports.store import (
    Change,
    Create,
    DeletePermission,
    DeleteResource,
    Replace,
    RetireCredential,
    RevokeCredential,
    StoreIdentity,
    TouchCredential,
)
from watchword.testing import memory_issuers as issuers
from watchword.testing import memory_offices as offices
from watchword.testing.memory_revocations import RevocationTable

T = TypeVar("T")
V = TypeVar("V", Agent, Permission, Resource, SigningKey, Operator)


@dataclass(slots=True)
class Tables:
    """One dictionary per kind of record, by key."""

    agents: dict[str, Agent] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    permissions: dict[str, Permission] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)
    identity: StoreIdentity = field(default_factory=StoreIdentity)
    nodes: dict[str, Node] = field(default_factory=dict)
    offices: dict[str, Office] = field(default_factory=dict)
    trusted_issuers: dict[str, TrustedIssuer] = field(default_factory=dict)
    revocations: RevocationTable = field(default_factory=RevocationTable)

    def copy(self) -> Tables:
        """Return tables that may be changed without changing these."""
        return Tables(
            dict(self.agents),
            dict(self.credentials),
            dict(self.permissions),
            dict(self.resources),
            dict(self.operators),
            dict(self.signing_keys),
            self.identity,
            dict(self.nodes),
            dict(self.offices),
            dict(self.trusted_issuers),
            self.revocations.copy(),
        )


def sorted_rows(rows: Mapping[str, T]) -> list[T]:
    """Return the rows by ascending key."""
    return [rows[key] for key in sorted(rows)]


def apply_change(tables: Tables, change: Change) -> None:
    """Apply one change, or raise ``Conflict``; the tables may then be half changed: work on a copy."""
    match change:
        case Create():
            _create(tables, change.record)
        case Replace():
            _replace(tables, change.record)
        case RevokeCredential() | RetireCredential() | TouchCredential():
            _change_credential(tables, change)
        case DeletePermission():
            _delete_permission(tables, change)
        case DeleteResource():
            _delete_resource(tables, change)
        case DeleteTrustedIssuer():
            named = any(is_federated(row, change.name) for row in tables.credentials.values())
            issuers.delete(tables.trusted_issuers, change, is_named=named)
        case Revoke() | PruneRevocations():
            tables.revocations.apply(change)
        case InTerm() | ForgetNode() | NeedsStep():
            offices.apply(tables.offices, tables.nodes, change)
        case _:
            assert_never(change)


def _create(
    tables: Tables, record: Agent | Credential | Permission | Resource | Operator | SigningKey | TrustedIssuer
) -> None:
    match record:
        case Agent():
            _create_agent(tables, record)
        case Credential():
            _check_owner(tables, record.client_id)
            issuers.check_named(tables.trusted_issuers, record)
            _insert(tables.credentials, record.id, record, "credential.exists")
        case Permission():
            _check_owner(tables, record.client_id)
            _check_resource(tables, record.resource)
            _insert(tables.permissions, record.id, record, "permission.exists")
        case Resource():
            _create_resource(tables, record)
        case Operator():
            if any(row.name == record.name for row in tables.operators.values()):
                raise Conflict("operator.exists")
            if record.id not in tables.operators and any(
                record.token_hash and row.token_hash == record.token_hash for row in tables.operators.values()
            ):
                raise Conflict("operator.token")
            _insert(tables.operators, record.id, record, "operator.exists")
        case SigningKey():
            _check_alone(tables, record)
            _insert(tables.signing_keys, record.kid, record, "signing_key.exists")
        case TrustedIssuer():
            issuers.create(tables.trusted_issuers, record)
        case _:
            assert_never(record)


def _check_alone(tables: Tables, key: SigningKey) -> None:
    others = (row for row in tables.signing_keys.values() if row.kid != key.kid and row.algorithm == key.algorithm)
    if key.state in UNIQUE_STATES and any(row.state is key.state for row in others):
        raise Conflict("signing_key.taken")


def _create_resource(tables: Tables, resource: Resource) -> None:
    others = (row for row in tables.resources.values() if row.name != resource.name)
    if resource.name not in tables.resources and any(row.identifier == resource.identifier for row in others):
        raise Conflict("resource.identifier")
    _insert(tables.resources, resource.name, resource, "resource.exists")


def _create_agent(tables: Tables, agent: Agent) -> None:
    if agent.client_id in tables.agents:
        raise Conflict("agent.exists")
    if find_named(tables, agent.name) is not None and agent.state is not AgentState.DELETED:
        raise Conflict("agent.name")
    tables.agents[agent.client_id] = agent


def _replace(
    tables: Tables, record: Agent | Permission | Resource | SigningKey | Operator | StoreIdentity | TrustedIssuer
) -> None:
    match record:
        case Agent():
            _replace_agent(tables, record)
        case Permission():
            if _stored(tables.permissions, record.id, record.version, "permission").client_id != record.client_id:
                raise Conflict("permission.missing")
            _check_resource(tables, record.resource)
            tables.permissions[record.id] = record
        case Resource():
            if _stored(tables.resources, record.name, record.version, "resource").identifier != record.identifier:
                raise Conflict("resource.identifier")
            tables.resources[record.name] = record
        case SigningKey():
            _stored(tables.signing_keys, record.kid, record.version, "signing_key")
            _check_alone(tables, record)
            tables.signing_keys[record.kid] = record
        case Operator():
            _replace_operator(tables, record)
        case StoreIdentity():
            _replace_identity(tables, record)
        case TrustedIssuer():
            issuers.replace(tables.trusted_issuers, record)
        case _:
            assert_never(record)


def _replace_agent(tables: Tables, agent: Agent) -> None:
    stored = _stored(tables.agents, agent.client_id, agent.version, "agent")
    if stored.state is AgentState.DELETED:
        raise Conflict("agent.deleted")
    if find_named(tables, agent.name) not in (None, stored) and agent.state is not AgentState.DELETED:
        raise Conflict("agent.name")
    tables.agents[agent.client_id] = agent


def _replace_operator(tables: Tables, operator: Operator) -> None:
    if _stored(tables.operators, operator.id, operator.version, "operator").name != operator.name:
        raise Conflict("operator.name")
    others = (row for row in tables.operators.values() if row.id != operator.id)
    if operator.token_hash and any(row.token_hash == operator.token_hash for row in others):
        raise Conflict("operator.token")
    tables.operators[operator.id] = operator
    if not any(row.role is Role.ADMIN and not row.is_disabled for row in tables.operators.values()):
        raise Conflict("operator.last_admin")


def _replace_identity(tables: Tables, identity: StoreIdentity) -> None:
    if tables.identity.version != identity.version - 1:
        raise Conflict("identity.version")
    if tables.identity.generation > identity.generation:
        raise Conflict("identity.generation")
    tables.identity = identity


def _change_credential(tables: Tables, change: RevokeCredential | RetireCredential | TouchCredential) -> None:
    credential = tables.credentials.get(change.credential_id)
    if isinstance(change, TouchCredential):
        if credential is not None:
            tables.credentials[credential.id] = _touched(credential, change)
        return
    if credential is None or credential.client_id != change.client_id:
        raise Conflict("credential.missing")
    if isinstance(change, RevokeCredential):
        tables.credentials[credential.id] = replace(credential, state=CredentialState.REVOKED)
        return
    if credential.state is not CredentialState.ACTIVE:
        raise Conflict("credential.missing")
    tables.credentials[credential.id] = replace(
        credential, expires_at=change.expires_at, replaced_by=change.replaced_by, silence=change.silence
    )


def _touched(credential: Credential, change: TouchCredential) -> Credential:
    used = replace(credential, uses=credential.uses + change.uses)
    if credential.last_used_at is not None and credential.last_used_at > change.at:
        return used
    return replace(used, last_used_at=change.at, last_used_network=change.network)


def _delete_permission(tables: Tables, change: DeletePermission) -> None:
    permission = tables.permissions.get(change.permission_id)
    if permission is None or permission.client_id != change.client_id:
        raise Conflict("permission.missing")
    del tables.permissions[permission.id]


def _delete_resource(tables: Tables, change: DeleteResource) -> None:
    _stored(tables.resources, change.name, change.version + 1, "resource")
    if any(row.resource == change.name for row in tables.permissions.values()):
        raise Conflict("resource.in_use")
    del tables.resources[change.name]


def is_federated(credential: Credential, name: str) -> bool:
    """Tell whether this is an active credential that trusts the issuer of this name."""
    return credential.trusted_issuer == name and credential.state is CredentialState.ACTIVE


def find_named(tables: Tables, name: str) -> Agent | None:
    """Return the not deleted agent of this name."""
    rows = tables.agents.values()
    return next((row for row in rows if row.name == name and row.state is not AgentState.DELETED), None)


def _insert(rows: dict[str, T], key: str, record: T, reason: str) -> None:
    if key in rows:
        raise Conflict(reason)
    rows[key] = record


def _stored(rows: Mapping[str, V], key: str, version: int, noun: str) -> V:
    stored = rows.get(key)
    if stored is None:
        raise Conflict(f"{noun}.missing")
    if stored.version != version - 1:
        raise Conflict(f"{noun}.version")
    return stored


def _check_owner(tables: Tables, client_id: str) -> None:
    agent = tables.agents.get(client_id)
    if agent is None or agent.state is AgentState.DELETED:
        raise Conflict("agent.missing")


def _check_resource(tables: Tables, name: str) -> None:
    if name not in tables.resources:
        raise Conflict("resource.missing")

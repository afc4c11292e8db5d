"""Records for tests: valid ones, with what the test is about said by name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from watchword.ports.agents import (
    Agent,
    AgentState,
    Credential,
    CredentialKind,
    CredentialState,
    Operator,
    Permission,
    Resource,
    Role,
)
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.cluster import Node
from watchword.ports.issuers import TrustedIssuer
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol.revocation import Revocation, RevocationKind

NOON = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)

_numbers = itertools.count(1)


def make_agent(client_id: str = "agent-1", *, name: str = "", state: AgentState = AgentState.ACTIVE) -> Agent:
    """Return an agent that logs in with HTTP Basic; its name is its ``client_id`` unless given."""
    return Agent(
        client_id=client_id,
        name=name or f"name of {client_id}",
        state=state,
        auth_methods=("client_secret_basic",),
        created_at=NOON,
    )


def make_credential(credential_id: str = "credential-1", *, client_id: str = "agent-1") -> Credential:
    """Return an active client secret."""
    return Credential(
        id=credential_id,
        client_id=client_id,
        kind=CredentialKind.CLIENT_SECRET,
        state=CredentialState.ACTIVE,
        created_at=NOON,
        secret_hash=bytes(range(32)),
    )


def make_resource(name: str = "my-api", *, identifier: str = "") -> Resource:
    """Return a resource with two scopes."""
    return Resource(
        name=name,
        identifier=identifier or f"https://{name}.example",
        scopes=("read:data", "write:data"),
        created_at=NOON,
    )


def make_permission(
    permission_id: str = "permission-1", *, client_id: str = "agent-1", resource: str = "my-api"
) -> Permission:
    """Return a permission for one scope, without conditions."""
    return Permission(id=permission_id, client_id=client_id, resource=resource, scopes=("read:data",), created_at=NOON)


def make_operator(operator_id: str = "operator-1", *, name: str = "", token_hash: bytes = b"hash") -> Operator:
    """Return an operator who may do everything."""
    return Operator(id=operator_id, name=name or operator_id, role=Role.ADMIN, created_at=NOON, token_hash=token_hash)


def make_signing_key(kid: str = "key-1", *, created_at: datetime = NOON) -> SigningKey:
    """Return a prepared key that signs nothing."""
    return SigningKey(
        kid=kid, algorithm="ES256", state=KeyState.PREPARED, public_jwk={"kty": "EC", "kid": kid}, created_at=created_at
    )


def make_trusted_issuer(name: str = "cluster", *, issuer: str = "") -> TrustedIssuer:
    """Return a trusted issuer whose keys are found by discovery."""
    return TrustedIssuer(name=name, issuer=issuer or f"https://{name}.example", created_at=NOON)


def make_federated(
    credential_id: str = "federated-1", *, client_id: str = "agent-1", trusted_issuer: str = "cluster"
) -> Credential:
    """Return an active credential that takes an issuer's word."""
    return Credential(
        id=credential_id,
        client_id=client_id,
        kind=CredentialKind.FEDERATED,
        state=CredentialState.ACTIVE,
        created_at=NOON,
        details={"claims": {"sub": "job", "ref": ["main", "next"]}},
        trusted_issuer=trusted_issuer,
    )


def make_node(node_id: str = "node-1", *, name: str = "") -> Node:
    """Return a node that began at noon, and was heard of then."""
    return Node(id=node_id, name=name or f"name of {node_id}", version="1.0", schema=1, started_at=NOON, seen_at=NOON)


def make_event(
    action: str = "token.issue", *, outcome: Outcome = Outcome.SUCCESS, reason: str = "ok", **members: str
) -> AuditEvent:
    """Return an event with an id of its own; ``members`` are other text members of ``AuditEvent``."""
    text: Mapping[str, str] = {"id": f"event-{next(_numbers)}", "actor": "operator:test", **members}
    return AuditEvent(time=NOON, action=action, outcome=outcome, reason=reason, **text)  # type: ignore[arg-type] # text members only


def make_revocation(target: str = "agent-1") -> Revocation:
    """Return the revocation of all that an agent was issued until noon."""
    return Revocation(
        kind=RevocationKind.AGENT,
        target=target,
        cutoff=NOON,
        created_at=NOON,
        expires_at=NOON + timedelta(hours=2),
    )

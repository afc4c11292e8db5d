"""Rows of the SQLite store and the records they hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast

from watchword.adapters.sqlite_values import (
    Row,
    Values,
    duration,
    duration_value,
    list_value,
    map_value,
    moment,
    object_map,
    optional_moment,
    text_list,
    text_map,
    time_value,
)
from watchword.ports.agents import (
    Agent,
    AgentState,
    Conditions,
    Credential,
    CredentialKind,
    CredentialState,
    Operator,
    Permission,
    Resource,
    Role,
)
from watchword.ports.audit import StoredEvent
from watchword.ports.keys import KeyState, SigningKey

AGENT: Final = (
    "client_id, name, state, auth_methods, grant_types, created_at, expires_at, owner, purpose, labels, parent,"
    " default_resource, version, dpop_bound, mtls_bound, concessions, serves"
)
CREDENTIAL: Final = (
    "id, client_id, kind, state, created_at, label, not_before, expires_at, last_used_at, last_used_network,"
    " secret_hash, details, trusted_issuer, replaced_by, silence, uses"
)
RESOURCE: Final = "name, identifier, scopes, created_at, token_lifetime, signing_algorithm, require_pop, version"
PERMISSION: Final = (
    "id, client_id, resource, scopes, created_at, default_scopes, not_before, not_after, source_networks, hours,"
    " maximum_lifetime, require_sender_constraint, version"
)
OPERATOR: Final = "id, name, role, created_at, expires_at, is_disabled, token_hash, version"
SIGNING_KEY: Final = (
    "kid, algorithm, state, public_jwk, created_at, activated_at, sealed, version, published_at, retiring_at, retired_at, "
    "compromised_at, wanted_at, custody"
)
EVENT: Final = "cursor, chain, position, payload, hash"


def agent_values(agent: Agent) -> Values:
    """Return the values of the columns ``AGENT``."""
    return (
        agent.client_id,
        agent.name,
        agent.state.value,
        list_value(agent.auth_methods),
        list_value(agent.grant_types),
        time_value(agent.created_at),
        time_value(agent.expires_at),
        agent.owner,
        agent.purpose,
        map_value(agent.labels),
        agent.parent,
        agent.default_resource,
        agent.version,
        int(agent.dpop_bound),
        int(agent.mtls_bound),
        list_value(agent.concessions),
        list_value(agent.serves),
    )


def build_agent(row: Row) -> Agent:
    """Return the agent of a row with the columns ``AGENT``."""
    return Agent(
        client_id=cast("str", row[0]),
        name=cast("str", row[1]),
        state=AgentState(cast("str", row[2])),
        auth_methods=text_list(cast("str", row[3])),
        grant_types=text_list(cast("str", row[4])),
        created_at=moment(row[5]),
        expires_at=optional_moment(row[6]),
        owner=cast("str", row[7]),
        purpose=cast("str", row[8]),
        labels=text_map(cast("str", row[9])),
        parent=cast("str | None", row[10]),
        default_resource=cast("str | None", row[11]),
        version=cast("int", row[12]),
        dpop_bound=bool(row[13]),
        mtls_bound=bool(row[14]),
        concessions=text_list(cast("str", row[15])),
        serves=text_list(cast("str", row[16])),
    )


def credential_values(credential: Credential) -> Values:
    """Return the values of the columns ``CREDENTIAL``."""
    return (
        credential.id,
        credential.client_id,
        credential.kind.value,
        credential.state.value,
        time_value(credential.created_at),
        credential.label,
        time_value(credential.not_before),
        time_value(credential.expires_at),
        time_value(credential.last_used_at),
        credential.last_used_network,
        credential.secret_hash,
        map_value(credential.details),
        credential.trusted_issuer,
        credential.replaced_by,
        duration_value(credential.silence),
        credential.uses,
    )


@lru_cache(maxsize=4096)  # the one record that is read anew for every token
def build_credential(row: Values) -> Credential:
    """Return the credential of a row with the columns ``CREDENTIAL``."""
    return Credential(
        id=cast("str", row[0]),
        client_id=cast("str", row[1]),
        kind=CredentialKind(cast("str", row[2])),
        state=CredentialState(cast("str", row[3])),
        created_at=moment(row[4]),
        label=cast("str", row[5]),
        not_before=optional_moment(row[6]),
        expires_at=optional_moment(row[7]),
        last_used_at=optional_moment(row[8]),
        last_used_network=cast("str", row[9]),
        secret_hash=cast("bytes", row[10]),
        details=object_map(cast("str", row[11])),
        trusted_issuer=cast("str | None", row[12]),
        replaced_by=cast("str | None", row[13]),
        silence=None if row[14] is None else duration(row[14]),
        uses=cast("int", row[15]),
    )


def resource_values(resource: Resource) -> Values:
    """Return the values of the columns ``RESOURCE``."""
    return (
        resource.name,
        resource.identifier,
        list_value(resource.scopes),
        time_value(resource.created_at),
        duration_value(resource.token_lifetime),
        resource.signing_algorithm,
        int(resource.require_pop),
        resource.version,
    )


def build_resource(row: Row) -> Resource:
    """Return the resource of a row with the columns ``RESOURCE``."""
    return Resource(
        name=cast("str", row[0]),
        identifier=cast("str", row[1]),
        scopes=text_list(cast("str", row[2])),
        created_at=moment(row[3]),
        token_lifetime=duration(row[4]),
        signing_algorithm=cast("str", row[5]),
        require_pop=bool(row[6]),
        version=cast("int", row[7]),
    )


def permission_values(permission: Permission) -> Values:
    """Return the values of the columns ``PERMISSION``."""
    conditions = permission.conditions
    return (
        permission.id,
        permission.client_id,
        permission.resource,
        list_value(permission.scopes),
        time_value(permission.created_at),
        list_value(permission.default_scopes),
        time_value(conditions.not_before),
        time_value(conditions.not_after),
        list_value(conditions.source_networks),
        conditions.hours,
        duration_value(conditions.maximum_lifetime),
        int(conditions.require_sender_constraint),
        permission.version,
    )


def build_permission(row: Row) -> Permission:
    """Return the permission of a row with the columns ``PERMISSION``."""
    return Permission(
        id=cast("str", row[0]),
        client_id=cast("str", row[1]),
        resource=cast("str", row[2]),
        scopes=text_list(cast("str", row[3])),
        created_at=moment(row[4]),
        default_scopes=text_list(cast("str", row[5])),
        conditions=Conditions(
            not_before=optional_moment(row[6]),
            not_after=optional_moment(row[7]),
            source_networks=text_list(cast("str", row[8])),
            hours=cast("str", row[9]),
            maximum_lifetime=None if row[10] is None else duration(row[10]),
            require_sender_constraint=bool(row[11]),
        ),
        version=cast("int", row[12]),
    )


def operator_values(operator: Operator) -> Values:
    """Return the values of the columns ``OPERATOR``."""
    return (
        operator.id,
        operator.name,
        operator.role.value,
        time_value(operator.created_at),
        time_value(operator.expires_at),
        int(operator.is_disabled),
        operator.token_hash,
        operator.version,
    )


def build_operator(row: Row) -> Operator:
    """Return the operator of a row with the columns ``OPERATOR``."""
    return Operator(
        id=cast("str", row[0]),
        name=cast("str", row[1]),
        role=Role(cast("str", row[2])),
        created_at=moment(row[3]),
        expires_at=optional_moment(row[4]),
        is_disabled=bool(row[5]),
        token_hash=cast("bytes", row[6]),
        version=cast("int", row[7]),
    )


def signing_key_values(key: SigningKey) -> Values:
    """Return the values of the columns ``SIGNING_KEY``."""
    return (
        key.kid,
        key.algorithm,
        key.state.value,
        map_value(key.public_jwk),
        time_value(key.created_at),
        time_value(key.activated_at),
        key.sealed,
        key.version,
        time_value(key.published_at),
        time_value(key.retiring_at),
        time_value(key.retired_at),
        time_value(key.compromised_at),
        time_value(key.wanted_at),
        key.custody,
    )


def build_signing_key(row: Row) -> SigningKey:
    """Return the key of a row with the columns ``SIGNING_KEY``."""
    return SigningKey(
        kid=cast("str", row[0]),
        algorithm=cast("str", row[1]),
        state=KeyState(cast("str", row[2])),
        public_jwk=text_map(cast("str", row[3])),
        created_at=moment(row[4]),
        activated_at=optional_moment(row[5]),
        sealed=cast("bytes", row[6]),
        version=cast("int", row[7]),
        published_at=optional_moment(row[8]),
        retiring_at=optional_moment(row[9]),
        retired_at=optional_moment(row[10]),
        compromised_at=optional_moment(row[11]),
        wanted_at=optional_moment(row[12]),
        custody=cast("str", row[13]),
    )


def build_event(row: Row) -> StoredEvent:
    """Return the event of a row with the columns ``EVENT``."""
    return StoredEvent(
        cursor=cast("int", row[0]),
        chain=cast("str", row[1]),
        position=cast("int", row[2]),
        payload=cast("str", row[3]).encode(),
        hash=cast("bytes", row[4]),
    )

"""Rows of the SQLite store and the records they hold. Times and durations are whole microseconds, lists and maps JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias, cast

import apsw

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

Row: TypeAlias = "Sequence[apsw.SQLiteValue]"
Values: TypeAlias = "tuple[apsw.SQLiteValue, ...]"

AGENT: Final = (
    "client_id, name, state, auth_methods, grant_types, created_at, expires_at, owner, purpose, labels, parent,"
    " default_resource, version"
)
CREDENTIAL: Final = (
    "id, client_id, kind, state, created_at, label, not_before, expires_at, last_used_at, last_used_network,"
    " secret_hash"
)
RESOURCE: Final = "name, identifier, scopes, created_at, token_lifetime, signing_algorithm, require_pop, version"
PERMISSION: Final = (
    "id, client_id, resource, scopes, created_at, default_scopes, not_before, not_after, source_networks, hours,"
    " maximum_lifetime, require_sender_constraint, version"
)
OPERATOR: Final = "id, name, role, created_at, expires_at, is_disabled, token_hash, version"
SIGNING_KEY: Final = "kid, algorithm, state, public_jwk, created_at, activated_at, sealed, version"
EVENT: Final = "cursor, chain, position, payload, hash"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def time_value(moment: datetime | None) -> int | None:
    """Return microseconds since 1970; the moment must be aware."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(value: apsw.SQLiteValue) -> datetime:
    """Return the moment of a column that is never empty."""
    return _EPOCH + timedelta(microseconds=cast("int", value))


def optional_moment(value: apsw.SQLiteValue) -> datetime | None:
    """Return the moment of a column that may be empty."""
    return None if value is None else moment(value)


def _duration_value(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // _MICROSECOND


def _duration(value: apsw.SQLiteValue) -> timedelta:
    return timedelta(microseconds=cast("int", value))


def _list_value(items: Sequence[str]) -> str:
    return json.dumps(list(items), separators=(",", ":"))


@lru_cache(maxsize=4096)
def _list(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _map_value(members: Mapping[str, str]) -> str:
    return json.dumps(dict(members), separators=(",", ":"))


def _map(text: str) -> dict[str, str]:
    return cast("dict[str, str]", json.loads(text)) if text != "{}" else {}


def agent_values(agent: Agent) -> Values:
    """Return the values of the columns ``AGENT``."""
    return (
        agent.client_id,
        agent.name,
        agent.state.value,
        _list_value(agent.auth_methods),
        _list_value(agent.grant_types),
        time_value(agent.created_at),
        time_value(agent.expires_at),
        agent.owner,
        agent.purpose,
        _map_value(agent.labels),
        agent.parent,
        agent.default_resource,
        agent.version,
    )


def build_agent(row: Row) -> Agent:
    """Return the agent of a row with the columns ``AGENT``."""
    return Agent(
        client_id=cast("str", row[0]),
        name=cast("str", row[1]),
        state=AgentState(cast("str", row[2])),
        auth_methods=_list(cast("str", row[3])),
        grant_types=_list(cast("str", row[4])),
        created_at=moment(row[5]),
        expires_at=optional_moment(row[6]),
        owner=cast("str", row[7]),
        purpose=cast("str", row[8]),
        labels=_map(cast("str", row[9])),
        parent=cast("str | None", row[10]),
        default_resource=cast("str | None", row[11]),
        version=cast("int", row[12]),
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
    )


def resource_values(resource: Resource) -> Values:
    """Return the values of the columns ``RESOURCE``."""
    return (
        resource.name,
        resource.identifier,
        _list_value(resource.scopes),
        time_value(resource.created_at),
        _duration_value(resource.token_lifetime),
        resource.signing_algorithm,
        int(resource.require_pop),
        resource.version,
    )


def build_resource(row: Row) -> Resource:
    """Return the resource of a row with the columns ``RESOURCE``."""
    return Resource(
        name=cast("str", row[0]),
        identifier=cast("str", row[1]),
        scopes=_list(cast("str", row[2])),
        created_at=moment(row[3]),
        token_lifetime=_duration(row[4]),
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
        _list_value(permission.scopes),
        time_value(permission.created_at),
        _list_value(permission.default_scopes),
        time_value(conditions.not_before),
        time_value(conditions.not_after),
        _list_value(conditions.source_networks),
        conditions.hours,
        _duration_value(conditions.maximum_lifetime),
        int(conditions.require_sender_constraint),
        permission.version,
    )


def build_permission(row: Row) -> Permission:
    """Return the permission of a row with the columns ``PERMISSION``."""
    return Permission(
        id=cast("str", row[0]),
        client_id=cast("str", row[1]),
        resource=cast("str", row[2]),
        scopes=_list(cast("str", row[3])),
        created_at=moment(row[4]),
        default_scopes=_list(cast("str", row[5])),
        conditions=Conditions(
            not_before=optional_moment(row[6]),
            not_after=optional_moment(row[7]),
            source_networks=_list(cast("str", row[8])),
            hours=cast("str", row[9]),
            maximum_lifetime=None if row[10] is None else _duration(row[10]),
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
        _map_value(key.public_jwk),
        time_value(key.created_at),
        time_value(key.activated_at),
        key.sealed,
        key.version,
    )


def build_signing_key(row: Row) -> SigningKey:
    """Return the key of a row with the columns ``SIGNING_KEY``."""
    return SigningKey(
        kid=cast("str", row[0]),
        algorithm=cast("str", row[1]),
        state=KeyState(cast("str", row[2])),
        public_jwk=_map(cast("str", row[3])),
        created_at=moment(row[4]),
        activated_at=optional_moment(row[5]),
        sealed=cast("bytes", row[6]),
        version=cast("int", row[7]),
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

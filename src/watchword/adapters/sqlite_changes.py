"""What each change does to the tables. Runs inside the write transaction: what was checked still holds when it is written."""

from __future__ import annotations

from typing import Final, assert_never

import apsw

from watchword.adapters import sqlite_cluster as cluster
from watchword.adapters import sqlite_issuers as issuers
from watchword.adapters import sqlite_revocations as revocations
from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_identity import replace_identity
from watchword.adapters.sqlite_values import Values, duration_value, time_value
from watchword.errors import Conflict
from watchword.ports.agents import Agent, AgentState, Credential, Operator, Permission, Resource
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep
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

_TOUCH: Final = (
    "UPDATE credentials SET uses = uses + ?3, last_used_at = max(?1, coalesce(last_used_at, ?1)),"
    " last_used_network = CASE WHEN last_used_at > ?1 THEN last_used_network ELSE ?2 END WHERE id = ?4"
)
_RETIRE: Final = (
    "UPDATE credentials SET expires_at = ?, replaced_by = ?, silence = ?"
    " WHERE id = ? AND client_id = ? AND state = 'active'"
)
_REVOKE: Final = "UPDATE credentials SET state = 'revoked' WHERE id = ? AND client_id = ?"


def apply_change(db: apsw.Connection, change: Change) -> None:
    """Apply one change. After ``Conflict`` the caller rolls back to where it began."""
    match change:
        case Create():
            _create(db, change.record)
        case Replace():
            _replace(db, change.record)
        case RevokeCredential() | RetireCredential() | TouchCredential():
            _change_credential(db, change)
        case DeletePermission():
            db.execute(
                "DELETE FROM permissions WHERE id = ? AND client_id = ?", (change.permission_id, change.client_id)
            )
            _check_changed(db, "permission.missing")
        case DeleteResource():
            _delete_resource(db, change)
        case DeleteTrustedIssuer():
            issuers.delete(db, change)
        case Revoke() | PruneRevocations():
            revocations.apply(db, change)
        case InTerm() | ForgetNode() | NeedsStep():
            cluster.apply(db, change)
        case _:
            assert_never(change)


def _change_credential(db: apsw.Connection, change: RevokeCredential | RetireCredential | TouchCredential) -> None:
    if isinstance(change, TouchCredential):
        db.execute(_TOUCH, (time_value(change.at), change.network, change.uses, change.credential_id))
        return
    if isinstance(change, RetireCredential):
        values: Values = (time_value(change.expires_at), change.replaced_by, duration_value(change.silence))
        db.execute(_RETIRE, (*values, change.credential_id, change.client_id))
    else:
        db.execute(_REVOKE, (change.credential_id, change.client_id))
    _check_changed(db, "credential.missing")


def _create(
    db: apsw.Connection, record: Agent | Credential | Permission | Resource | Operator | SigningKey | TrustedIssuer
) -> None:
    match record:
        case Agent():
            _refuse_if(db, "SELECT 1 FROM agents WHERE client_id = ?", (record.client_id,), "agent.exists")
            if record.state is not AgentState.DELETED:
                _refuse_if(db, _OTHER_AGENT, (record.name, record.client_id), "agent.name")
            _insert(db, "agents", rows.AGENT, rows.agent_values(record))
        case Credential():
            _check_owner(db, record.client_id)
            _refuse_if(db, "SELECT 1 FROM credentials WHERE id = ?", (record.id,), "credential.exists")
            issuers.check_named(db, record)
            _insert(db, "credentials", rows.CREDENTIAL, rows.credential_values(record))
        case Permission():
            _check_owner(db, record.client_id)
            _check_resource(db, record.resource)
            _refuse_if(db, "SELECT 1 FROM permissions WHERE id = ?", (record.id,), "permission.exists")
            _insert(db, "permissions", rows.PERMISSION, rows.permission_values(record))
        case Resource():
            _refuse_if(db, "SELECT 1 FROM resources WHERE name = ?", (record.name,), "resource.exists")
            _refuse_if(db, "SELECT 1 FROM resources WHERE identifier = ?", (record.identifier,), "resource.identifier")
            _insert(db, "resources", rows.RESOURCE, rows.resource_values(record))
        case Operator():
            _refuse_if(
                db, "SELECT 1 FROM operators WHERE id = ? OR name = ?", (record.id, record.name), "operator.exists"
            )
            _refuse_if(db, _SAME_TOKEN, (record.token_hash,), "operator.token")
            _insert(db, "operators", rows.OPERATOR, rows.operator_values(record))
        case SigningKey():
            _refuse_if(db, "SELECT 1 FROM signing_keys WHERE kid = ?", (record.kid,), "signing_key.exists")
            _check_alone(db, record)
            _insert(db, "signing_keys", rows.SIGNING_KEY, rows.signing_key_values(record))
        case TrustedIssuer():
            issuers.create(db, record)
        case _:
            assert_never(record)


_OTHER_AGENT: Final = "SELECT 1 FROM agents WHERE name = ? AND client_id <> ? AND state <> 'deleted'"
_SAME_TOKEN: Final = "SELECT 1 FROM operators WHERE token_hash = ? AND token_hash <> x''"  # noqa: S105 -- a query


def _replace(
    db: apsw.Connection,
    record: Agent | Permission | Resource | SigningKey | Operator | StoreIdentity | TrustedIssuer,
) -> None:
    match record:
        case Agent():
            _check_version(db, "SELECT version FROM agents WHERE client_id = ?", record.client_id, record, "agent")
            _refuse_if(
                db,
                "SELECT 1 FROM agents WHERE client_id = ? AND state = 'deleted'",
                (record.client_id,),
                "agent.deleted",
            )
            if record.state is not AgentState.DELETED:
                _refuse_if(db, _OTHER_AGENT, (record.name, record.client_id), "agent.name")
            _update(db, "agents", rows.AGENT, rows.agent_values(record))
        case Permission():
            _check_version(db, "SELECT version FROM permissions WHERE id = ?", record.id, record, "permission")
            _refuse_if(
                db,
                "SELECT 1 FROM permissions WHERE id = ? AND client_id <> ?",
                (record.id, record.client_id),
                "permission.missing",
            )
            _check_resource(db, record.resource)
            _update(db, "permissions", rows.PERMISSION, rows.permission_values(record))
        case Resource():
            _check_version(db, "SELECT version FROM resources WHERE name = ?", record.name, record, "resource")
            _refuse_if(
                db,
                "SELECT 1 FROM resources WHERE name = ? AND identifier <> ?",
                (record.name, record.identifier),
                "resource.identifier",
            )
            _update(db, "resources", rows.RESOURCE, rows.resource_values(record))
        case SigningKey():
            _check_version(db, "SELECT version FROM signing_keys WHERE kid = ?", record.kid, record, "signing_key")
            _check_alone(db, record)
            _update(db, "signing_keys", rows.SIGNING_KEY, rows.signing_key_values(record))
        case Operator():
            _replace_operator(db, record)
        case StoreIdentity():
            replace_identity(db, record)
        case TrustedIssuer():
            issuers.replace(db, record)
        case _:
            assert_never(record)


_SAME_STATE: Final = "SELECT 1 FROM signing_keys WHERE algorithm = ? AND state = ? AND kid <> ?"


def _check_alone(db: apsw.Connection, key: SigningKey) -> None:
    if key.state in UNIQUE_STATES:
        _refuse_if(db, _SAME_STATE, (key.algorithm, key.state.value, key.kid), "signing_key.taken")


_LEFT: Final = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM operators WHERE role = 'admin' AND is_disabled = 0)"


def _replace_operator(db: apsw.Connection, record: Operator) -> None:
    _check_version(db, "SELECT version FROM operators WHERE id = ?", record.id, record, "operator")
    query = "SELECT 1 FROM operators WHERE id = ? AND name <> ?"
    _refuse_if(db, query, (record.id, record.name), "operator.name")
    _refuse_if(db, f"{_SAME_TOKEN} AND id <> ?", (record.token_hash, record.id), "operator.token")
    _update(db, "operators", rows.OPERATOR, rows.operator_values(record))
    _refuse_if(db, _LEFT, (), "operator.last_admin")


def _delete_resource(db: apsw.Connection, change: DeleteResource) -> None:
    stored = db.execute("SELECT version FROM resources WHERE name = ?", (change.name,)).fetchone()
    if stored is None:
        raise Conflict("resource.missing")
    if stored[0] != change.version:
        raise Conflict("resource.version")
    _refuse_if(db, "SELECT 1 FROM permissions WHERE resource = ?", (change.name,), "resource.in_use")
    db.execute("DELETE FROM resources WHERE name = ?", (change.name,))


def _check_version(
    db: apsw.Connection, query: str, key: str, record: Agent | Permission | Resource | SigningKey | Operator, noun: str
) -> None:
    stored = db.execute(query, (key,)).fetchone()
    if stored is None:
        raise Conflict(f"{noun}.missing")
    if stored[0] != record.version - 1:
        raise Conflict(f"{noun}.version")


def _check_owner(db: apsw.Connection, client_id: str) -> None:
    query = "SELECT 1 FROM agents WHERE client_id = ? AND state <> 'deleted'"
    if db.execute(query, (client_id,)).fetchone() is None:
        raise Conflict("agent.missing")


def _check_resource(db: apsw.Connection, name: str) -> None:
    if db.execute("SELECT 1 FROM resources WHERE name = ?", (name,)).fetchone() is None:
        raise Conflict("resource.missing")


def _check_changed(db: apsw.Connection, reason: str) -> None:
    if not db.changes():
        raise Conflict(reason)


def _refuse_if(db: apsw.Connection, query: str, values: Values, reason: str) -> None:
    if db.execute(query, values).fetchone() is not None:
        raise Conflict(reason)


def _insert(db: apsw.Connection, table: str, columns: str, values: Values) -> None:
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608 -- constants of this adapter


def _update(db: apsw.Connection, table: str, columns: str, values: Values) -> None:
    """Overwrite the row whose key is the first column."""
    key = columns.partition(",")[0]
    marks = ", ".join("?" * len(values))
    db.execute(
        f"UPDATE {table} SET ({columns}) = ({marks}) WHERE {key} = ?",  # noqa: S608 -- constants of this adapter
        (*values, values[0]),
    )

"""What each change does to the tables in PostgreSQL.

Whoever runs it has locked the row of the counters: one transaction changes the store at a time, so that what was checked still
holds when it is written.
"""

from __future__ import annotations

from typing import Final, assert_never

from watchword.adapters import postgres_cluster as cluster
from watchword.adapters import postgres_issuers as issuers
from watchword.adapters import postgres_revocations as revocations
from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_link import Connection
from watchword.adapters.postgres_place import settle
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

_AGENT_NAME: Final = "SELECT 1 FROM agents WHERE name = $1 AND client_id <> $2 AND state <> 'deleted'"
_OWNER: Final = "SELECT 1 FROM agents WHERE client_id = $1 AND state <> 'deleted'"
_SAME_TOKEN: Final = "SELECT 1 FROM operators WHERE token_hash = $1 AND token_hash <> ''"  # noqa: S105 -- a query
_ADMINS: Final = "SELECT 1 FROM operators WHERE role = 'admin' AND is_disabled = 0 LIMIT 1"
_REVOKE: Final = "UPDATE credentials SET state = 'revoked' WHERE id = $1 AND client_id = $2"
_DELETE_PERMISSION: Final = "DELETE FROM permissions WHERE id = $1 AND client_id = $2"
_TOUCH: Final = (
    "UPDATE credentials SET uses = uses + $3, last_used_at = greatest($1, coalesce(last_used_at, $1)),"
    " last_used_network = CASE WHEN last_used_at > $1 THEN last_used_network ELSE $2 END WHERE id = $4"
)
_RETIRE: Final = (
    "UPDATE credentials SET expires_at = $1, replaced_by = $2, silence = $3"
    " WHERE id = $4 AND client_id = $5 AND state = 'active'"
)
_IDENTITY: Final = "UPDATE identity SET issuer = $1, generation = $2, restored_at = $3, version = $4"


async def apply_change(db: Connection, change: Change) -> None:
    """Apply one change. After ``Conflict`` the caller rolls back to where it began."""
    match change:
        case Create():
            await _create(db, change.record)
        case Replace():
            await _replace(db, change.record)
        case RevokeCredential() | RetireCredential() | TouchCredential():
            await _change_credential(db, change)
        case DeletePermission():
            await _change_one(db, _DELETE_PERMISSION, "permission.missing", change.permission_id, change.client_id)
        case DeleteResource():
            await _delete_resource(db, change)
        case DeleteTrustedIssuer():
            await issuers.delete(db, change)
        case Revoke() | PruneRevocations():
            await revocations.apply(db, change)
        case InTerm() | ForgetNode() | NeedsStep():
            await cluster.apply(db, change)
        case _:
            assert_never(change)


async def _change_credential(db: Connection, change: RevokeCredential | RetireCredential | TouchCredential) -> None:
    if isinstance(change, TouchCredential):
        at = rows.time_value(change.at)
        await db.execute(_TOUCH, *rows.columns((at, change.network, change.uses, change.credential_id)))
        return
    key = (change.credential_id, change.client_id)
    if isinstance(change, RetireCredential):
        values = (rows.time_value(change.expires_at), change.replaced_by, rows.duration_value(change.silence))
        await _change_one(db, _RETIRE, "credential.missing", *values, *key)
    else:
        await _change_one(db, _REVOKE, "credential.missing", *key)


async def _create(
    db: Connection, record: Agent | Credential | Permission | Resource | Operator | SigningKey | TrustedIssuer
) -> None:
    match record:
        case Agent():
            await _refuse_if(db, "SELECT 1 FROM agents WHERE client_id = $1", "agent.exists", record.client_id)
            if record.state is not AgentState.DELETED:
                await _refuse_if(db, _AGENT_NAME, "agent.name", record.name, record.client_id)
            await _insert(db, "agents", rows.AGENT, rows.agent_values(record))
        case Credential():
            await _refuse_unless(db, _OWNER, "agent.missing", record.client_id)
            await _refuse_if(db, "SELECT 1 FROM credentials WHERE id = $1", "credential.exists", record.id)
            await issuers.check_named(db, record)
            await _insert(db, "credentials", rows.CREDENTIAL, rows.credential_values(record))
        case Permission():
            await _refuse_unless(db, _OWNER, "agent.missing", record.client_id)
            await _check_resource(db, record.resource)
            await _refuse_if(db, "SELECT 1 FROM permissions WHERE id = $1", "permission.exists", record.id)
            await _insert(db, "permissions", rows.PERMISSION, rows.permission_values(record))
        case Resource():
            query = "SELECT 1 FROM resources WHERE "
            await _refuse_if(db, query + "name = $1", "resource.exists", record.name)
            await _refuse_if(db, query + "identifier = $1", "resource.identifier", record.identifier)
            await _insert(db, "resources", rows.RESOURCE, rows.resource_values(record))
        case Operator():
            query = "SELECT 1 FROM operators WHERE id = $1 OR name = $2"
            await _refuse_if(db, query, "operator.exists", record.id, record.name)
            await _refuse_if(db, _SAME_TOKEN, "operator.token", record.token_hash)
            await _insert(db, "operators", rows.OPERATOR, rows.operator_values(record))
        case SigningKey():
            await _refuse_if(db, "SELECT 1 FROM signing_keys WHERE kid = $1", "signing_key.exists", record.kid)
            await _check_alone(db, record)
            await _insert(db, "signing_keys", rows.SIGNING_KEY, rows.signing_key_values(record))
        case TrustedIssuer():
            await issuers.create(db, record)
        case _:
            assert_never(record)


async def _replace(
    db: Connection, record: Agent | Permission | Resource | SigningKey | Operator | StoreIdentity | TrustedIssuer
) -> None:
    match record:
        case Agent():
            await _replace_agent(db, record)
        case Permission():
            await _check_version(db, "permissions", rows.PERMISSION, record.id, record)
            query = "SELECT 1 FROM permissions WHERE id = $1 AND client_id <> $2"
            await _refuse_if(db, query, "permission.missing", record.id, record.client_id)
            await _check_resource(db, record.resource)
            await _update(db, "permissions", rows.PERMISSION, rows.permission_values(record))
        case Resource():
            await _check_version(db, "resources", rows.RESOURCE, record.name, record)
            query = "SELECT 1 FROM resources WHERE name = $1 AND identifier <> $2"
            await _refuse_if(db, query, "resource.identifier", record.name, record.identifier)
            await _update(db, "resources", rows.RESOURCE, rows.resource_values(record))
        case SigningKey():
            await _check_version(db, "signing_keys", rows.SIGNING_KEY, record.kid, record)
            await _check_alone(db, record)
            await _update(db, "signing_keys", rows.SIGNING_KEY, rows.signing_key_values(record))
        case Operator():
            await _replace_operator(db, record)
        case StoreIdentity():
            await _replace_identity(db, record)
        case TrustedIssuer():
            await issuers.replace(db, record)
        case _:
            assert_never(record)


_SAME_STATE: Final = "SELECT 1 FROM signing_keys WHERE algorithm = $1 AND state = $2 AND kid <> $3"


async def _check_alone(db: Connection, key: SigningKey) -> None:
    if key.state in UNIQUE_STATES:
        await _refuse_if(db, _SAME_STATE, "signing_key.taken", key.algorithm, key.state.value, key.kid)


async def _replace_agent(db: Connection, record: Agent) -> None:
    await _check_version(db, "agents", rows.AGENT, record.client_id, record)
    await _refuse_unless(db, _OWNER, "agent.deleted", record.client_id)
    if record.state is not AgentState.DELETED:
        await _refuse_if(db, _AGENT_NAME, "agent.name", record.name, record.client_id)
    await _update(db, "agents", rows.AGENT, rows.agent_values(record))


async def _replace_operator(db: Connection, record: Operator) -> None:
    await _check_version(db, "operators", rows.OPERATOR, record.id, record)
    query = "SELECT 1 FROM operators WHERE id = $1 AND name <> $2"
    await _refuse_if(db, query, "operator.name", record.id, record.name)
    await _refuse_if(db, f"{_SAME_TOKEN} AND id <> $2", "operator.token", record.token_hash, record.id)
    await _update(db, "operators", rows.OPERATOR, rows.operator_values(record))
    await _refuse_unless(db, _ADMINS, "operator.last_admin")


async def _replace_identity(db: Connection, identity: StoreIdentity) -> None:
    stored = await read_identity(db)
    if stored.version != identity.version - 1:
        raise Conflict("identity.version")
    if stored.generation > identity.generation:
        raise Conflict("identity.generation")
    values = (identity.issuer, identity.generation, rows.time_value(identity.restored_at), identity.version)
    await db.execute(_IDENTITY, *rows.columns(values))
    if identity.generation > stored.generation:
        await settle(db)


async def read_identity(db: Connection) -> StoreIdentity:
    """Return the identity.

    Raises:
        TypeError: the row is gone.
    """
    row = await db.fetchrow(f"SELECT {rows.IDENTITY} FROM identity")  # noqa: S608 -- a constant of this adapter
    if row is None:
        raise TypeError("the identity is gone")
    return rows.build_identity(row)


async def _delete_resource(db: Connection, change: DeleteResource) -> None:
    name = rows.held(change.name)
    stored = await db.fetchval("SELECT version FROM resources WHERE name = $1", name)
    if stored is None:
        raise Conflict("resource.missing")
    if stored != change.version:
        raise Conflict("resource.version")
    await _refuse_if(db, "SELECT 1 FROM permissions WHERE resource = $1 LIMIT 1", "resource.in_use", change.name)
    await db.execute("DELETE FROM resources WHERE name = $1", name)


async def _check_version(
    db: Connection,
    table: str,
    columns: str,
    key: str,
    record: Agent | Permission | Resource | SigningKey | Operator,
) -> None:
    column, noun = columns.partition(",")[0], table.removesuffix("s")
    query = f"SELECT version FROM {table} WHERE {column} = $1"  # noqa: S608 -- constants of this adapter
    stored = await db.fetchval(query, rows.held(key))
    if stored is None:
        raise Conflict(f"{noun}.missing")
    if stored != record.version - 1:
        raise Conflict(f"{noun}.version")


async def _check_resource(db: Connection, name: str) -> None:
    await _refuse_unless(db, "SELECT 1 FROM resources WHERE name = $1", "resource.missing", name)


async def _refuse_if(db: Connection, query: str, reason: str, *values: rows.Value) -> None:
    if await db.fetchval(query, *rows.columns(values)) is not None:
        raise Conflict(reason)


async def _refuse_unless(db: Connection, query: str, reason: str, *values: rows.Value) -> None:
    if await db.fetchval(query, *rows.columns(values)) is None:
        raise Conflict(reason)


async def _change_one(db: Connection, query: str, reason: str, *values: rows.Value) -> None:
    done = await db.execute(query, *rows.columns(values))
    if done.rpartition(" ")[2] == "0":
        raise Conflict(reason)


def _marks(number: int) -> str:
    return ", ".join(f"${place + 1}" for place in range(number))


async def _insert(db: Connection, table: str, columns: str, values: rows.Values) -> None:
    query = f"INSERT INTO {table} ({columns}) VALUES ({_marks(len(values))})"  # noqa: S608 -- constants of this adapter
    await db.execute(query, *rows.columns(values))


async def _update(db: Connection, table: str, columns: str, values: rows.Values) -> None:
    """Overwrite the row whose key is the first column."""
    key = columns.partition(",")[0]
    query = f"UPDATE {table} SET ({columns}) = ({_marks(len(values))}) WHERE {key} = $1"  # noqa: S608 -- constants of this adapter
    await db.execute(query, *rows.columns(values))

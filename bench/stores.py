"""Data directories to measure with: made straight in the tables, since a million agents are not registered one by one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.master_key import load_master_key
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_values import Values, time_value
from watchword.bootstrap import initialise
from watchword.compose import build_core
from watchword.ports.agents import Agent, AgentState, Credential, CredentialKind, CredentialState, Permission, Resource
from watchword.protocol import names
from watchword.protocol.client_secret import SecretKind, build_basic, generate_secret, hash_secret
from watchword.sealing import MASTER_KEY_FILE
from watchword.stores import STORE_FILE

ISSUER: Final = "https://auth.example.com"
RESOURCE: Final = "https://api.example.com"
SCOPES: Final = ("read:data", "write:data", "invoke:tool")
BODY: Final = "grant_type=client_credentials&scope=read%3Adata"

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data directory, and the ``Authorization`` headers of some of its agents."""

    data: Path
    authorizations: Sequence[str] = field(repr=False)


def prepare(data: Path, *, agents: int, algorithm: str = names.ES256, asked: int = 1) -> Prepared:
    """Make a data directory with this many agents, all with the same secret; ``asked`` of them, evenly spread, will ask.

    An existing one is used again: the secret stands beside it.
    """
    secret_file = data.with_name(data.name + ".secret")
    if not secret_file.exists():
        asyncio.run(initialise(data, ISSUER))
        if algorithm != names.ES256:
            asyncio.run(_add_key(data, algorithm))
        secret = generate_secret(SecretKind.CLIENT)
        _fill(data, agents, algorithm, secret)
        secret_file.touch(mode=0o600)
        secret_file.write_text(json.dumps(secret), encoding="ascii")
    secret = json.loads(secret_file.read_text(encoding="ascii"))
    chosen = [_client_id(number * agents // asked) for number in range(asked)]
    _mark_used(data, chosen)
    return Prepared(data, [build_basic(one, secret) for one in chosen])


def _client_id(number: int) -> str:
    """Scattered, as real ones are: what is registered one after the other lies in different places."""
    return f"agent-{_scattered(str(number))}"


def _scattered(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


async def _add_key(data: Path, algorithm: str) -> None:
    from watchword.operations.context import OperationContext, Principal
    from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
    from watchword.ports.agents import Role

    store = SqliteStore.open(data / STORE_FILE)
    core = build_core(ISSUER, store, load_master_key(data / MASTER_KEY_FILE, value=None, credentials_directory=None))
    context = OperationContext(
        store=store,
        clock=core.clock,
        issuer=ISSUER,
        peppers=core.peppers,
        signer=core.signer,
        principal=Principal("local:bench", Role.ADMIN),
    )
    await create_signing_key(context, CreateSigningKey(algorithm=algorithm))
    await store.close()


def _fill(data: Path, agents: int, algorithm: str, secret: str) -> None:
    pepper = load_master_key(data / MASTER_KEY_FILE, value=None, credentials_directory=None).derive(
        "client-secret-pepper"
    )
    secret_hash = hash_secret(secret, pepper=pepper)
    resource = Resource(name="api", identifier=RESOURCE, scopes=SCOPES, created_at=_NOW, signing_algorithm=algorithm)
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -262144")
    _insert(db, "resources", rows.RESOURCE, [rows.resource_values(resource)])
    everybody = sorted(map(_client_id, range(agents)))
    for start in range(0, agents, _CHUNK):
        ids = everybody[start : start + _CHUNK]
        _insert(db, "agents", rows.AGENT, (rows.agent_values(_agent(one)) for one in ids))
        _insert(
            db, "credentials", rows.CREDENTIAL, (rows.credential_values(_credential(one, secret_hash)) for one in ids)
        )
        _insert(db, "permissions", rows.PERMISSION, (rows.permission_values(_permission(one)) for one in ids))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _insert(db: apsw.Connection, table: str, columns: str, values: Iterable[Values]) -> None:
    places = ", ".join("?" * (columns.count(",") + 1))
    with db:
        db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", iter(values))


def _mark_used(data: Path, client_ids: Sequence[str]) -> None:
    """Their credentials were just used from here: so no request of the load has a last use to note."""
    now = time_value(datetime.now(UTC))
    db = apsw.Connection(str(data / STORE_FILE))
    with db:
        db.executemany(
            "UPDATE credentials SET last_used_at = ?, last_used_network = '127.0.0.0/24' WHERE client_id = ?",
            ((now, one) for one in client_ids),
        )
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _agent(client_id: str) -> Agent:
    return Agent(
        client_id=client_id,
        name=f"name of {client_id}",
        state=AgentState.ACTIVE,
        auth_methods=(names.CLIENT_SECRET_BASIC,),
        created_at=_NOW,
        default_resource="api",
    )


def _credential(client_id: str, secret_hash: bytes) -> Credential:
    return Credential(
        id=f"cred-{_scattered(client_id)}",
        client_id=client_id,
        kind=CredentialKind.CLIENT_SECRET,
        state=CredentialState.ACTIVE,
        created_at=_NOW,
        secret_hash=secret_hash,
    )


def _permission(client_id: str) -> Permission:
    return Permission(
        id=f"perm-{_scattered(client_id)}",
        client_id=client_id,
        resource="api",
        scopes=SCOPES,
        created_at=_NOW,
        default_scopes=("read:data",),
    )

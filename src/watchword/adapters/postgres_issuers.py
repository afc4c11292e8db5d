"""Trusted issuers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from watchword.adapters import postgres_rows as rows
from watchword.adapters import sqlite_issuers as values
from watchword.adapters.postgres_link import Connection, Row
from watchword.errors import Conflict
from watchword.ports.agents import Credential
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer

T = TypeVar("T")

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_BY_NAME: Final = f"SELECT {values.COLUMNS} FROM trusted_issuers WHERE name = $1"
_BY_ISSUER: Final = f"SELECT {values.COLUMNS} FROM trusted_issuers WHERE issuer = $1"
_ALL: Final = f"SELECT {values.COLUMNS} FROM trusted_issuers ORDER BY name"
_MARKS: Final = "$1, $2, $3, $4, $5, $6, $7, $8"
_INSERT: Final = f"INSERT INTO trusted_issuers ({values.COLUMNS}) VALUES ({_MARKS})"
_UPDATE: Final = f"UPDATE trusted_issuers SET ({values.COLUMNS}) = ({_MARKS}) WHERE name = $1"
_DELETE: Final = "DELETE FROM trusted_issuers WHERE name = $1"
_FEDERATED: Final = (
    f"SELECT {rows.CREDENTIAL} FROM credentials WHERE trusted_issuer = $1 AND state = 'active' ORDER BY id LIMIT $2"
)


class IssuerPart:
    """What ``PostgresStore`` says of the ``TrustedIssuers`` port."""

    async def _one(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> T | None:
        raise NotImplementedError

    async def _many(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> list[T]:
        raise NotImplementedError

    async def trusted_issuer(self, name: str) -> TrustedIssuer | None:
        """Return one by name."""
        return await self._one(_build_issuer, _BY_NAME, rows.held(name))

    async def trusted_issuer_of(self, issuer: str) -> TrustedIssuer | None:
        """Return one by what stands in ``iss``."""
        return await self._one(_build_issuer, _BY_ISSUER, rows.held(issuer))

    async def trusted_issuers(self) -> Sequence[TrustedIssuer]:
        """Return all by name."""
        return await self._many(_build_issuer, _ALL)

    async def federated(self, name: str, *, limit: int) -> Sequence[Credential]:
        """Return active credentials that name this issuer."""
        return await self._many(rows.build_credential, _FEDERATED, rows.held(name), max(limit, 0))


async def create(db: Connection, issuer: TrustedIssuer) -> None:
    """Store a new one; runs inside the writer's transaction, as do the others here."""
    if await db.fetchrow(_BY_NAME, rows.held(issuer.name)) is not None:
        raise Conflict("trusted_issuer.exists")
    if await db.fetchrow(_BY_ISSUER, rows.held(issuer.issuer)) is not None:
        raise Conflict("trusted_issuer.issuer")
    await db.execute(_INSERT, *rows.columns(values.issuer_values(issuer)))


async def replace(db: Connection, issuer: TrustedIssuer) -> None:
    """Store one over the one it was made from."""
    stored = await _stored(db, issuer.name, issuer.version - 1)
    if stored.issuer != issuer.issuer:
        raise Conflict("trusted_issuer.issuer")
    await db.execute(_UPDATE, *rows.columns(values.issuer_values(issuer)))


async def delete(db: Connection, change: DeleteTrustedIssuer) -> None:
    """Remove one that no active credential names."""
    await _stored(db, change.name, change.version)
    if await db.fetchrow(_FEDERATED, rows.held(change.name), 1) is not None:
        raise Conflict("trusted_issuer.in_use")
    await db.execute(_DELETE, rows.held(change.name))


async def check_named(db: Connection, credential: Credential) -> None:
    """Return if the issuer that a credential trusts is there."""
    name = credential.trusted_issuer
    if name is not None and await db.fetchrow(_BY_NAME, rows.held(name)) is None:
        raise Conflict("trusted_issuer.missing")


async def _stored(db: Connection, name: str, version: int) -> TrustedIssuer:
    row = await db.fetchrow(_BY_NAME, rows.held(name))
    if row is None:
        raise Conflict("trusted_issuer.missing")
    stored = _build_issuer(row)
    if stored.version != version:
        raise Conflict("trusted_issuer.version")
    return stored


def _build_issuer(stored: Sequence[rows.Value]) -> TrustedIssuer:
    return values.build_issuer(rows.given(stored))

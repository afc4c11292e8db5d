"""Trusted issuers in the SQLite store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import apsw

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_reader import Reader
from watchword.adapters.sqlite_values import (
    Row,
    Values,
    list_value,
    map_value,
    moment,
    object_map,
    text_list,
    time_value,
)
from watchword.errors import Conflict
from watchword.ports.agents import Credential
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer

COLUMNS: Final = "name, issuer, created_at, jwks_uri, jwks, algorithms, audience, version"

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_BY_NAME: Final = f"SELECT {COLUMNS} FROM trusted_issuers WHERE name = ?"
_BY_ISSUER: Final = f"SELECT {COLUMNS} FROM trusted_issuers WHERE issuer = ?"
_ALL: Final = f"SELECT {COLUMNS} FROM trusted_issuers ORDER BY name"
_INSERT: Final = f"INSERT INTO trusted_issuers ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE: Final = f"UPDATE trusted_issuers SET ({COLUMNS}) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) WHERE name = ?1"
_DELETE: Final = "DELETE FROM trusted_issuers WHERE name = ?"
_FEDERATED: Final = (
    f"SELECT {rows.CREDENTIAL} FROM credentials WHERE trusted_issuer = ? AND state = 'active' ORDER BY id LIMIT ?"
)


class IssuerPart:
    """What ``SqliteStore`` says of the ``TrustedIssuers`` port."""

    _reader: Reader

    async def trusted_issuer(self, name: str) -> TrustedIssuer | None:
        """Return one by name."""
        with self._reader as db:
            return _one(db, _BY_NAME, name)

    async def trusted_issuer_of(self, issuer: str) -> TrustedIssuer | None:
        """Return one by what stands in ``iss``."""
        with self._reader as db:
            return _one(db, _BY_ISSUER, issuer)

    async def trusted_issuers(self) -> Sequence[TrustedIssuer]:
        """Return all by name."""
        with self._reader as db:
            return [build_issuer(row) for row in db.execute(_ALL)]

    async def federated(self, name: str, *, limit: int) -> Sequence[Credential]:
        """Return active credentials that name this issuer."""
        with self._reader as db:
            return [rows.build_credential(row) for row in db.execute(_FEDERATED, (name, max(limit, 0)))]


def create(db: apsw.Connection, issuer: TrustedIssuer) -> None:
    """Store a new one; runs inside the write transaction, as do the others here."""
    if _one(db, _BY_NAME, issuer.name) is not None:
        raise Conflict("trusted_issuer.exists")
    if _one(db, _BY_ISSUER, issuer.issuer) is not None:
        raise Conflict("trusted_issuer.issuer")
    db.execute(_INSERT, issuer_values(issuer))


def replace(db: apsw.Connection, issuer: TrustedIssuer) -> None:
    """Store one over the one it was made from."""
    stored = _stored(db, issuer.name, issuer.version - 1)
    if stored.issuer != issuer.issuer:
        raise Conflict("trusted_issuer.issuer")
    db.execute(_UPDATE, issuer_values(issuer))


def delete(db: apsw.Connection, change: DeleteTrustedIssuer) -> None:
    """Remove one that no active credential names."""
    _stored(db, change.name, change.version)
    if db.execute(_FEDERATED, (change.name, 1)).fetchone() is not None:
        raise Conflict("trusted_issuer.in_use")
    db.execute(_DELETE, (change.name,))


def check_named(db: apsw.Connection, credential: Credential) -> None:
    """Return if the issuer that a credential trusts is there."""
    name = credential.trusted_issuer
    if name is not None and _one(db, _BY_NAME, name) is None:
        raise Conflict("trusted_issuer.missing")


def _stored(db: apsw.Connection, name: str, version: int) -> TrustedIssuer:
    stored = _one(db, _BY_NAME, name)
    if stored is None:
        raise Conflict("trusted_issuer.missing")
    if stored.version != version:
        raise Conflict("trusted_issuer.version")
    return stored


def _one(db: apsw.Connection, query: str, key: str) -> TrustedIssuer | None:
    row = db.execute(query, (key,)).fetchone()
    return None if row is None else build_issuer(row)


def issuer_values(issuer: TrustedIssuer) -> Values:
    """Return the values of ``COLUMNS``."""
    return (
        issuer.name,
        issuer.issuer,
        time_value(issuer.created_at),
        issuer.jwks_uri,
        map_value(issuer.jwks),
        list_value(issuer.algorithms),
        issuer.audience,
        issuer.version,
    )


def build_issuer(row: Row) -> TrustedIssuer:
    """Return the issuer of a row with ``COLUMNS``."""
    return TrustedIssuer(
        name=cast("str", row[0]),
        issuer=cast("str", row[1]),
        created_at=moment(row[2]),
        jwks_uri=cast("str", row[3]),
        jwks=object_map(cast("str", row[4])),
        algorithms=text_list(cast("str", row[5])),
        audience=cast("str", row[6]),
        version=cast("int", row[7]),
    )

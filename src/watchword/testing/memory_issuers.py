"""Trusted issuers in the memory store."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import Conflict
from watchword.ports.agents import Credential
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer


def find_issuer(rows: Mapping[str, TrustedIssuer], issuer: str) -> TrustedIssuer | None:
    """Return the one that stands so in ``iss``."""
    return next((row for row in rows.values() if row.issuer == issuer), None)


def create(rows: dict[str, TrustedIssuer], record: TrustedIssuer) -> None:
    """Store a new one."""
    if record.name in rows:
        raise Conflict("trusted_issuer.exists")
    if find_issuer(rows, record.issuer) is not None:
        raise Conflict("trusted_issuer.issuer")
    rows[record.name] = record


def replace(rows: dict[str, TrustedIssuer], record: TrustedIssuer) -> None:
    """Store one over the one it was made from."""
    if _stored(rows, record.name, record.version - 1).issuer != record.issuer:
        raise Conflict("trusted_issuer.issuer")
    rows[record.name] = record


def delete(rows: dict[str, TrustedIssuer], change: DeleteTrustedIssuer, *, is_named: bool) -> None:
    """Remove one that no active credential names."""
    _stored(rows, change.name, change.version)
    if is_named:
        raise Conflict("trusted_issuer.in_use")
    del rows[change.name]


def check_named(rows: Mapping[str, TrustedIssuer], credential: Credential) -> None:
    """Return if the issuer that a credential trusts is there."""
    if credential.trusted_issuer is not None and credential.trusted_issuer not in rows:
        raise Conflict("trusted_issuer.missing")


def _stored(rows: Mapping[str, TrustedIssuer], name: str, version: int) -> TrustedIssuer:
    stored = rows.get(name)
    if stored is None:
        raise Conflict("trusted_issuer.missing")
    if stored.version != version:
        raise Conflict("trusted_issuer.version")
    return stored

"""Issuers outside whose word is taken for who an agent is: clusters, CI systems, clouds. RFC 7523, SPIFFE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from watchword.ports.agents import Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One that is trusted, as far as credentials say for whom.

    ``name`` is how operators call it, ``issuer`` what stands in ``iss``; neither changes, and no two have the same. Its keys are
    in ``jwks``, or at ``jwks_uri``, or, where both are empty, found by OIDC discovery. ``audience`` is what its tokens must be
    meant for, where it is not this server's issuer.
    """

    name: str
    issuer: str
    created_at: datetime
    jwks_uri: str = ""
    jwks: Mapping[str, object] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ()
    audience: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class DeleteTrustedIssuer:
    """Trust an issuer no more; it must exist at this version, and no active credential may name it."""

    name: str
    version: int


class TrustedIssuers(Protocol):
    """Reads of them.

    Raises:
        StoreUnavailable
    """

    async def trusted_issuer(self, name: str) -> TrustedIssuer | None:
        """Return the one with this name."""
        ...

    async def trusted_issuer_of(self, issuer: str) -> TrustedIssuer | None:
        """Return the one that stands so in ``iss``: exact bytes, no normalisation."""
        ...

    async def trusted_issuers(self) -> Sequence[TrustedIssuer]:
        """Return all of them, by name."""
        ...

    async def federated(self, name: str, *, limit: int) -> Sequence[Credential]:
        """Return active credentials that name this issuer, by id, whoever's they are."""
        ...

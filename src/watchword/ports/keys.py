"""Signing keys. Private keys never leave the adapter that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class KeyState(StrEnum):
    """``prepared -> published -> active -> retiring -> retired``; ``compromised`` from any of them."""

    PREPARED = "prepared"
    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    COMPROMISED = "compromised"


PUBLISHED_STATES = frozenset({KeyState.PUBLISHED, KeyState.ACTIVE, KeyState.RETIRING})
"""The states in which a key stands in the JWKS."""


GONE_STATES = frozenset({KeyState.RETIRED, KeyState.COMPROMISED})
"""The states that a key never leaves but for being compromised."""

UNIQUE_STATES = frozenset({KeyState.PUBLISHED, KeyState.ACTIVE})
"""The states that one key of an algorithm has at a time: the one that signs, and the one that comes next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key, as it is stored. ``sealed`` is opaque to all but its adapter; empty where the key lives elsewhere, and
    where it will never sign again.

    Each time is that of entering the state. ``wanted_at``: since then somebody wants it to sign as soon as it may.
    """

    kid: str
    algorithm: str
    state: KeyState
    public_jwk: Mapping[str, str]
    created_at: datetime
    published_at: datetime | None = None
    activated_at: datetime | None = None
    retiring_at: datetime | None = None
    retired_at: datetime | None = None
    compromised_at: datetime | None = None
    wanted_at: datetime | None = None
    sealed: bytes = field(default=b"", repr=False)
    version: int = 1


class KeyStore(Protocol):
    """Reads of the stored keys."""

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return every key in every state, oldest first.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        ...


class Signer(Protocol):
    """Makes keys and signs with them."""

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in state ``prepared``. Its ``kid`` is its RFC 7638 thumbprint.

        Raises:
            NoSigningKey: the algorithm is not supported here.
        """
        ...

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Return the JWS signature (RFC 7518 §3: raw r||s for ECDSA) of ``message``.

        Raises:
            NoSigningKey: the key cannot be used: sealed under another master key, altered, or gone.
        """
        ...

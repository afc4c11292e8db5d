"""Signing keys. Private keys never leave the adapter that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol


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

LOCAL: Final = "local"
"""The custody of keys that are sealed under the master key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key, as it is stored. ``custody`` names who holds the private key. ``sealed`` is what they need to find it, opaque to
    all others: the sealed key itself, or a reference; empty where it will never sign again.

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
    custody: str = LOCAL
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
    """Makes keys and signs with them. One that can be away says so at once, or is asked under a ``Guard``."""

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in state ``prepared``. Its ``kid`` is its RFC 7638 thumbprint.

        Raises:
            NoSigningKey: keys.algorithm: the algorithm is not supported here; or who holds the keys refuses to make one.
            CustodyUnavailable: they cannot be asked now.
        """
        ...

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Return the JWS signature (RFC 7518 §3: raw r||s for ECDSA) of ``message``.

        Raises:
            NoSigningKey: the key cannot be used: sealed under another master key, altered, disabled, or gone.
            CustodyUnavailable: who holds it cannot be asked now.
        """
        ...

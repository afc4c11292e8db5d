"""Keys that others publish: an agent's own key set, or that of an issuer whose tokens are trusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from watchword.errors import KeysUnavailable
from watchword.protocol import names
from watchword.protocol.jose import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where keys are published: a ``jwks_uri``, or without one an ``issuer`` that says in its OIDC discovery document where.

    ``rsa_algorithm`` is for RSA keys that do not say theirs; ``use`` is the mark of the keys meant, ``sig`` or ``jwt-svid``.
    Only what an operator has registered becomes a source, never what a request brings.
    """

    jwks_uri: str = ""
    issuer: str = ""
    rsa_algorithm: str = names.RS256
    use: str = "sig"


class ForeignKeys(Protocol):
    """Finds keys of others. Bounded in time, in memory and in how often anybody is asked; fails closed."""

    async def find(self, source: KeySource, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
        """Return the key that the source publishes under exactly this ``kid`` for this algorithm, or nothing: it has none,
        asked as often as it may be. ``kid`` empty: its only key for this algorithm, nothing where there are several.

        Raises:
            KeysUnavailable: it cannot be known now; the answer to whoever asked is 503, never acceptance.
        """
        ...


class NoForeignKeys:
    """Where nothing is fetched: whoever needs a key of others is refused."""

    async def find(self, source: KeySource, kid: str, algorithm: str, now: datetime) -> PublicKey | None:  # noqa: ARG002 -- the port's signature
        """Find nothing.

        Raises:
            KeysUnavailable: keys.not_served, always.
        """
        raise KeysUnavailable("keys.not_served")

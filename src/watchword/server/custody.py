"""Who holds the signing keys: several custodies side by side, each key in its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from watchword.errors import NoSigningKey
from watchword.ports.keys import LOCAL, Signer, SigningKey

CUSTODIES: Final = (LOCAL, "pkcs11", "aws_kms", "gcp_kms", "azure_key_vault", "vault")
"""The names of those that there are."""


class Custodies:
    """Implements ``ports.keys.Signer``: a new key is made in the custody of the settings, each key signs in its own.

    There is no other way: a key whose custody is away, or not configured here, does not sign, and no other signs for it.
    """

    def __init__(self, signers: Mapping[str, Signer], *, default: str = LOCAL) -> None:
        self._signers = dict(signers)
        self._default = default

    @property
    def names(self) -> tuple[str, ...]:
        """The custodies that are configured."""
        return tuple(self._signers)

    @property
    def default(self) -> str:
        """The one in which new keys are made."""
        return self._default

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key where new keys are made.

        Raises:
            NoSigningKey: keys.custody, and those of the signer.
            CustodyUnavailable
        """
        return await self.generate_in(self._default, algorithm, now=now)

    async def generate_in(self, custody: str, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in this custody.

        Raises:
            NoSigningKey: keys.custody, and those of the signer.
            CustodyUnavailable
        """
        key = await self._signer(custody).generate(algorithm, now=now)
        return replace(key, custody=custody)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign where the key is.

        Raises:
            NoSigningKey: keys.custody, and those of the signer.
            CustodyUnavailable
        """
        return await self._signer(key.custody).sign(key, message)

    def _signer(self, custody: str) -> Signer:
        signer = self._signers.get(custody)
        if signer is None:
            configured = ", ".join(self._signers)
            detail = f"the custody {custody!r} is not configured here, but {configured}: add its settings, or migrate its keys"
            raise NoSigningKey("keys.custody", detail=detail)
        return signer

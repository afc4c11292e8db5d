"""Who holds the signing keys: several custodies side by side, each key in its own."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from watchword.errors import NoSigningKey
from watchword.ports.keys import LOCAL, Signer, SigningKey
from watchword.protocol.client_secret import find_match
from watchword.server.custody_guard import Guard, Witness

_MARK_SIZE: Final = 32
_MOST_KNOWN: Final = 256


class Custodies:
    """Implements ``ports.keys.Signer``: a new key is made in the custody of the settings, each key signs in its own.

    There is no other way: a key whose custody is away, or not configured here, does not sign, and no other signs for it.
    References to keys outside carry a mark of ``mark_key``, which hangs on the master key: whoever can write to the store cannot
    have the custody sign with another key of it, and another master key is found out without asking anybody.
    """

    def __init__(self, signers: Mapping[str, Signer], *, mark_key: bytes, default: str = LOCAL) -> None:
        self._signers = dict(signers)
        self._default = default
        self._mark_key = mark_key
        self._bare: dict[str, tuple[SigningKey, SigningKey]] = {}

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
        key = replace(await self._signer(custody).generate(algorithm, now=now), custody=custody)
        return key if custody == LOCAL else replace(key, sealed=self._mark(key) + key.sealed)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign where the key is.

        Raises:
            NoSigningKey: keys.custody, and those of the signer.
            CustodyUnavailable
        """
        signer = self._signer(key.custody)
        return await signer.sign(key if key.custody == LOCAL else self._unmarked(key), message)

    async def check(self, key: SigningKey) -> None:
        """Return if the record was made under this master key, as far as can be told without asking anybody outside.

        Raises:
            NoSigningKey: keys.sealed, and those of the local signer.
        """
        if key.custody == LOCAL:
            await self.sign(key, b"readiness")
        else:
            self._unmarked(key)

    def watch(self, witness: Witness) -> None:
        """Have everything told from now on that those outside do."""
        for signer in self._signers.values():
            if isinstance(signer, Guard):
                signer.witness = witness

    def _unmarked(self, key: SigningKey) -> SigningKey:
        """Return the record as its custody made it."""
        known = self._bare.get(key.kid)
        if known is not None and (known[0] is key or known[0] == key):
            return known[1]
        mark, reference = key.sealed[:_MARK_SIZE], key.sealed[_MARK_SIZE:]
        bare = replace(key, sealed=reference)
        if find_match(mark, [self._mark(bare)]) is None:
            detail = f"the reference to key {key.kid} was made under another master key, or altered"
            raise NoSigningKey("keys.sealed", detail=detail)
        if len(self._bare) >= _MOST_KNOWN:
            self._bare.clear()
        self._bare[key.kid] = (key, bare)
        return bare

    def _mark(self, key: SigningKey) -> bytes:
        said = ["watchword reference", key.custody, key.kid, key.algorithm, key.sealed.hex()]
        return hmac.digest(self._mark_key, json.dumps(said).encode(), "sha256")

    def _signer(self, custody: str) -> Signer:
        signer = self._signers.get(custody)
        if signer is None:
            configured = ", ".join(self._signers)
            detail = f"the custody {custody!r} is not configured here, but {configured}: add its settings, or migrate its keys"
            raise NoSigningKey("keys.custody", detail=detail)
        return signer

"""Signing keys sealed under the master key: the store holds ciphertext, this process the opened keys, in memory only."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.adapters.master_key import MasterKey
from watchword.errors import NoSigningKey
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol.jose import InvalidKey, PrivateKey, generate_private_key

PURPOSE: Final = "signing-key-envelope"

_FORMAT: Final = b"\x01"
_NONCE_SIZE: Final = 12
_MOST_OPEN: Final = 64


@dataclass(frozen=True, slots=True)
class _Opened:
    algorithm: str
    public_jwk: Mapping[str, str]
    sealed: bytes
    key: PrivateKey


class FileSigner:
    """Implements ``ports.keys.Signer``. An envelope is one format byte, a 96-bit random nonce, AES-256-GCM of the PKCS #8.

    The format, ``kid`` and algorithm are authenticated with it: an envelope moved to another row, or a row told that it is
    of another algorithm, does not open.
    """

    def __init__(self, master: MasterKey) -> None:
        self._envelope = AESGCM(master.derive(PURPOSE))
        self._opened: dict[str, _Opened] = {}

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make and seal a key. Off the event loop: an RSA key takes a while to find."""
        try:
            key = await asyncio.to_thread(generate_private_key, algorithm)
        except InvalidKey as error:
            raise NoSigningKey("keys.algorithm", detail=f"{algorithm!r} is not supported") from error
        return SigningKey(
            kid=key.kid,
            algorithm=algorithm,
            state=KeyState.PREPARED,
            public_jwk=dict(key.public_jwk),
            created_at=now,
            sealed=self._seal(key),
        )

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Sign, inline."""
        opened = self._opened.get(key.kid)
        if opened is None or (opened.sealed, opened.algorithm, opened.public_jwk) != (
            key.sealed,
            key.algorithm,
            key.public_jwk,
        ):
            opened = self._open(key)
        return opened.key.sign(message)

    def _seal(self, key: PrivateKey) -> bytes:
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return _FORMAT + nonce + self._envelope.encrypt(nonce, key.to_pkcs8(), _bound_to(key.kid, key.algorithm))

    def _open(self, stored: SigningKey) -> _Opened:
        """Open one key, and keep it only if it is the one that the row speaks of."""
        nonce, ciphertext = stored.sealed[1 : 1 + _NONCE_SIZE], stored.sealed[1 + _NONCE_SIZE :]
        if stored.sealed[:1] != _FORMAT or len(nonce) != _NONCE_SIZE:
            raise NoSigningKey("keys.sealed", detail=f"key {stored.kid} has no envelope of a format known here")
        try:
            der = self._envelope.decrypt(nonce, ciphertext, _bound_to(stored.kid, stored.algorithm))
            key = PrivateKey.from_pkcs8(der, stored.algorithm)
        except (InvalidTag, InvalidKey, ValueError) as error:
            raise NoSigningKey(
                "keys.sealed",
                detail=f"key {stored.kid} does not open: it was sealed under another master key, or altered",
            ) from error
        if key.kid != stored.kid or key.public_jwk != stored.public_jwk:
            raise NoSigningKey("keys.altered", detail=f"the public half of key {stored.kid} was altered")
        if len(self._opened) >= _MOST_OPEN:
            self._opened.clear()
        opened = self._opened[stored.kid] = _Opened(stored.algorithm, dict(stored.public_jwk), stored.sealed, key)
        return opened


def _bound_to(kid: str, algorithm: str) -> bytes:
    return json.dumps(["watchword signing key", _FORMAT.hex(), kid, algorithm], separators=(",", ":")).encode()

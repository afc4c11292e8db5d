"""Signing keys sealed under the master key: the store holds ciphertext, this process the opened keys, in memory only."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.adapters.master_key import MasterKey
from watchword.errors import NoSigningKey
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol.jose import InvalidKey, PrivateKey, generate_private_key

PURPOSE: Final = "signing-key-envelope"

_FIRST: Final = b"\x01"
_LATER: Final = b"\x02"
_NAME: Final = "signing-key-envelope-name"
_NAME_SIZE: Final = 8
_NONCE_SIZE: Final = 12
_MOST_OPEN: Final = 64


@dataclass(frozen=True, slots=True)
class _Opened:
    algorithm: str
    public_jwk: Mapping[str, str]
    sealed: bytes
    key: PrivateKey


class FileSigner:
    """Implements ``ports.keys.Signer``. An envelope is a head, a 96-bit random nonce, AES-256-GCM of the PKCS #8.

    The head is one format byte, and for a master key that replaced another the name of that key, derived from it. The head,
    ``kid`` and algorithm are authenticated with it: an envelope moved to another row, or a row told that it is of another
    algorithm, does not open. New envelopes are made under the newest key.
    """

    def __init__(self, master: MasterKey) -> None:
        later = zip(master.derive_later(_NAME), master.derive_later(PURPOSE), strict=True)
        self._envelopes = {_LATER + name[:_NAME_SIZE]: AESGCM(secret) for name, secret in later}
        self._envelopes[_FIRST] = AESGCM(master.derive(PURPOSE))
        self._newest = next(iter(self._envelopes))
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
        """Sign, inline. A key that was opened signs on when it is sealed anew under a master key that is not known here."""
        opened = self._opened.get(key.kid)
        if opened is None or not self._is_of(opened, key):
            opened = self._open(key)
        return opened.key.sign(message)

    def is_newest(self, key: SigningKey) -> bool:
        """Tell whether the key is sealed under the newest master key."""
        return _head(key.sealed) == self._newest

    def rewrap(self, key: SigningKey) -> SigningKey:
        """Return the record with the same private key sealed under the newest master key.

        Raises:
            NoSigningKey: keys.sealed, keys.altered: it does not open under any that is known here.
        """
        return replace(key, sealed=self._seal(self._open(key).key))

    def _is_of(self, opened: _Opened, key: SigningKey) -> bool:
        is_same = (opened.algorithm, opened.public_jwk) == (key.algorithm, key.public_jwk)
        return is_same and (opened.sealed == key.sealed or self._is_under_unknown(key))

    def _is_under_unknown(self, key: SigningKey) -> bool:
        head = _head(key.sealed)
        return head[:1] == _LATER and head not in self._envelopes

    def _seal(self, key: PrivateKey) -> bytes:
        nonce, head = secrets.token_bytes(_NONCE_SIZE), self._newest
        envelope = self._envelopes[head]
        return head + nonce + envelope.encrypt(nonce, key.to_pkcs8(), _bound_to(head, key.kid, key.algorithm))

    def _open(self, stored: SigningKey) -> _Opened:
        """Open one key, and keep it only if it is the one that the row speaks of."""
        head = _head(stored.sealed)
        nonce, ciphertext = stored.sealed[len(head) :][:_NONCE_SIZE], stored.sealed[len(head) + _NONCE_SIZE :]
        if self._is_under_unknown(stored):
            detail = f"key {stored.kid} is sealed under a later master key"
            raise NoSigningKey(
                "keys.sealed", detail=f"{detail}: start with the file of the last `watchword key rewrap`"
            )
        if head not in self._envelopes or len(nonce) != _NONCE_SIZE:
            raise NoSigningKey("keys.sealed", detail=f"key {stored.kid} has no envelope of a format known here")
        try:
            der = self._envelopes[head].decrypt(nonce, ciphertext, _bound_to(head, stored.kid, stored.algorithm))
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


def _head(sealed: bytes) -> bytes:
    return sealed[: 1 + _NAME_SIZE] if sealed[:1] == _LATER else sealed[:1]


def _bound_to(head: bytes, kid: str, algorithm: str) -> bytes:
    return json.dumps(["watchword signing key", head.hex(), kid, algorithm], separators=(",", ":")).encode()

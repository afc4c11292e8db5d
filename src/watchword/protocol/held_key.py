"""A key to sign with, wherever it is kept: in this process, in a token, in a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from watchword.protocol import names
from watchword.protocol.public_keys import thumbprint


@runtime_checkable
class HeldKey(Protocol):
    """What a key is asked for by those who sign with it: nothing shows where its private half is."""

    @property
    def algorithm(self) -> str:
        """The one algorithm that it signs with."""
        ...

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """Its public members; ``kid`` among them, if it has a name of its own."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """Return the JWS signature (RFC 7518 §3: raw r||s for ECDSA) of ``message``. It may wait for whoever holds the key."""
        ...


def kid_of(key: HeldKey) -> str:
    """Return what the key is called: as it says itself, or its RFC 7638 thumbprint."""
    return key.public_jwk.get(names.KID) or thumbprint(key.public_jwk)

"""Which registered key a token names: among those of one client, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from watchword.ports.agents import Credential, CredentialKind
from watchword.ports.foreign_keys import ForeignKeys, KeySource
from watchword.protocol import names
from watchword.protocol.jose import LEGACY_EDDSA, PublicKey, generate_private_key
from watchword.protocol.registered_key import RegisteredKey, choose_key, read_details


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, the credential that it belongs to, and what was registered with it."""

    credential: Credential
    registered: RegisteredKey
    key: PublicKey


class RegisteredKeys:
    """Finds keys, in the registry or where the client publishes its own."""

    def __init__(self, foreign_keys: ForeignKeys) -> None:
        self._foreign_keys = foreign_keys
        self._stand_ins = _stand_ins()

    async def find(
        self, credentials: Sequence[Credential], *, kid: str, algorithm: str, now: datetime
    ) -> FoundKey | None:
        """Return the key among the usable credentials that is meant; see ``choose_key``.

        Raises:
            KeysUnavailable
        """
        read = [(one, read_details(json.dumps(one.details, sort_keys=True))) for one in _usable(credentials, now)]
        here = [FoundKey(one, registered, key) for one, registered in read for key in registered.keys]
        key = choose_key([one.key for one in here], kid=kid, algorithm=algorithm)
        if key is not None:
            return next(one for one in here if one.key == key)
        for credential, registered in read:
            key = await self._fetch(registered, kid, algorithm, now)
            if key is not None:
                return FoundKey(credential, registered, key)
        return None

    async def _fetch(self, registered: RegisteredKey, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
        if not registered.jwks_uri:
            return None
        source = KeySource(jwks_uri=registered.jwks_uri, rsa_algorithm=registered.algorithm or names.PS256)
        key = await self._foreign_keys.find(source, kid, algorithm, now)
        return key if key is not None and registered.algorithm in ("", key.algorithm) else None

    def stand_in(self, algorithm: str) -> PublicKey:
        """Return a key that is nobody's: who has none must not be told by the time it takes to verify with one."""
        return self._stand_ins[algorithm]


def registered_among(credentials: Sequence[Credential]) -> list[Credential]:
    """Return the credentials that are keys, usable or not."""
    return [one for one in credentials if one.kind is CredentialKind.PUBLIC_KEY]


def _usable(credentials: Sequence[Credential], now: datetime) -> list[Credential]:
    return [one for one in registered_among(credentials) if one.is_usable(now)]


@cache
def _stand_ins() -> Mapping[str, PublicKey]:
    """Return a key for every algorithm; their private halves are gone."""
    made = {name: generate_private_key(name).public_key() for name in names.SIGNING_ALGORITHMS if name != names.RS256}
    rsa = made[names.PS256]  # making one takes a while
    return {**made, names.RS256: PublicKey(rsa.kid, names.RS256, rsa.jwk, rsa.key), LEGACY_EDDSA: made[names.ED25519]}

"""Which key signs, and which keys are published. Answers follow the store's epoch: a change shows at the next request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from watchword.errors import NoSigningKey
from watchword.ports.keys import PUBLISHED_STATES, KeyState, SigningKey
from watchword.ports.store import Store
from watchword.protocol.jwks import KeySet, build_jwks, parse_jwks
from watchword.server.metadata import Document, document


@dataclass(frozen=True, slots=True)
class _View:
    epoch: int
    active: Mapping[str, SigningKey]
    jwks: Document


class SigningKeys:
    """A view of the stored keys, taken anew whenever the epoch has moved."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._view: _View | None = None
        self._parsed: tuple[Document, KeySet] | None = None

    async def active(self, algorithm: str) -> SigningKey:
        """Return the key that signs with this algorithm now.

        Raises:
            NoSigningKey: keys.none_active
            StoreUnavailable
        """
        key = (await self._current()).active.get(algorithm)
        if key is None:
            raise NoSigningKey("keys.none_active", detail=f"no active signing key for {algorithm}")
        return key

    async def algorithms(self) -> tuple[str, ...]:
        """Return the algorithms that have an active key."""
        return tuple(sorted((await self._current()).active))

    async def jwks(self) -> Document:
        """Return the published key set (RFC 7517 §5)."""
        return (await self._current()).jwks

    async def key_set(self) -> KeySet:
        """Return the published key set as whoever verifies with it reads it."""
        document = await self.jwks()
        if self._parsed is None or self._parsed[0] is not document:
            self._parsed = document, parse_jwks(json.loads(document.body))
        return self._parsed[1]

    async def _current(self) -> _View:
        epoch = await self._store.epoch()
        if self._view is None or self._view.epoch != epoch:
            self._view = _build_view(epoch, tuple(await self._store.signing_keys()))
        return self._view


def _build_view(epoch: int, keys: tuple[SigningKey, ...]) -> _View:
    active = {key.algorithm: key for key in keys if key.state is KeyState.ACTIVE}
    published = (key.public_jwk for key in keys if key.state in PUBLISHED_STATES)
    return _View(epoch, active, document(build_jwks(published)))

"""Whether a login's tokens are bound to a key, and to which: as it was told, or as the issuer's metadata say. RFC 9449 §5."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from watchword.client.credential_file import CredentialFromFiles
from watchword.client.credentials import ClientCredential, HoldsKey
from watchword.client.dpop import Proofs, knows_bearer_alone
from watchword.protocol.metadata import ServerMetadata

if TYPE_CHECKING:
    from watchword.client.dpop_key import DPoPKey

_log = logging.getLogger("watchword.client")


class Binding:
    """What one login's tokens are bound to. Settled once, by the first metadata: its tokens are all of one kind.

    Unless told, a client that logs in with a key of its own has its tokens bound to another one, in memory, if the issuer
    takes proofs by it. A secret may be all that its holder can keep; a certificate binds tokens itself.
    """

    def __init__(self, dpop: bool | DPoPKey | None, client: ClientCredential, now: Callable[[], datetime]) -> None:
        is_bound = _holds_key(client) if dpop is None else dpop
        self._proofs = None if is_bound is False else _build_proofs(is_bound, now)
        self._is_settled = dpop is not None or self._proofs is None
        self._has_warned = False

    @property
    def proofs(self) -> Proofs | None:
        """The proofs of tokens there are; nothing where they are bearer tokens, or not yet known to be bound."""
        return self._proofs if self._is_settled else None

    def settle(self, metadata: ServerMetadata) -> Proofs | None:
        """Return the proofs to ask this issuer for a token with, or nothing where the token is to be a bearer token."""
        if not self._is_settled and self._proofs is not None:
            if self._proofs.key.algorithm not in metadata.dpop_signing_alg_values_supported:
                self._proofs = None
            self._is_settled = True
        return self._proofs

    def advise(self, origin: str, status: int, challenges: str | None) -> None:
        """Say once, in the log, that an API takes no bound tokens."""
        if not self._has_warned and knows_bearer_alone(status, challenges):
            self._has_warned = True
            _log.warning(
                "%s takes no tokens that are bound to a DPoP key: its Verifier wants a base_url, or this login dpop=False "
                "(WATCHWORD_DPOP=off)",
                origin,
            )


def _holds_key(client: ClientCredential) -> bool:
    return isinstance(client.current() if isinstance(client, CredentialFromFiles) else client, HoldsKey)


def _build_proofs(dpop: bool | DPoPKey, now: Callable[[], datetime]) -> Proofs:
    from watchword.client.dpop_key import DPoPKey

    return Proofs(dpop if isinstance(dpop, DPoPKey) else DPoPKey.generate(), now)

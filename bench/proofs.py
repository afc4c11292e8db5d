"""Proofs to load a server with, and requests with proofs for an API in this process: each works once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from bench.stores import ISSUER
from watchword.errors import UseDpopNonce
from watchword.protocol import names
from watchword.protocol.dpop import build_proof
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.resource import Verifier

PROOFS_PER_SECOND: Final = 8_000
"""More than a core can take."""

API: Final = "https://api.example.com"
_AT_ONCE: Final = 6_000


def make_proofs(number: int) -> Sequence[str]:
    """Return new proofs for the token endpoint, by one key."""
    key, now = generate_private_key(names.ES256), datetime.now(UTC)
    url = f"{ISSUER}{names.PATH_TOKEN}"
    return [
        build_proof(key, method="POST", url=url, jti=secrets.token_urlsafe(12), issued_at=now) for _ in range(number)
    ]


class BoundRequests:
    """Requests with a token that is bound to ``key``, judged by ``verifier`` one by one. ``prepare`` makes new ones."""

    def __init__(self, verifier: Verifier, key: PrivateKey, token: str) -> None:
        self._verifier = verifier
        self._key = key
        self._token = token
        self._scopes: Iterator[dict[str, object]] = iter(())

    def prepare(self) -> None:
        """Make as many as one turn can need; not measured."""
        try:
            self._verifier.verify_sync(self._scope(None))
        except UseDpopNonce as refusal:
            nonce: str | None = refusal.nonce
        else:
            nonce = None
        self._scopes = iter([self._scope(nonce) for _ in range(_AT_ONCE)])

    def _scope(self, nonce: str | None) -> dict[str, object]:
        proof = build_proof(
            self._key,
            method="GET",
            url=f"{API}/note",
            jti=secrets.token_urlsafe(12),
            issued_at=datetime.now(UTC),
            token=self._token,
            nonce=nonce,
        )
        headers = [(b"authorization", f"DPoP {self._token}".encode()), (b"dpop", proof.encode())]
        return {"type": "http", "method": "GET", "raw_path": b"/note", "headers": headers}

    def __call__(self) -> object:
        """Judge the next one."""
        return self._verifier.verify_sync(next(self._scopes))

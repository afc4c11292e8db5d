"""Assertions to load a server with, each for one request, with a proof of possession beside it where one is wanted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from bench.proofs import make_proofs
from bench.stores import ISSUER, Prepared
from watchword.adapters.sqlite import SqliteStore
from watchword.ports.agents import Credential, CredentialKind, CredentialState
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.store import Create, Replace
from watchword.protocol import names
from watchword.protocol.client_assertion import build_client_assertion
from watchword.protocol.client_secret import parse_basic
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.stores import STORE_FILE


@dataclass(frozen=True, slots=True)
class Signer:
    """An agent that signs."""

    client_id: str
    key: PrivateKey = field(repr=False)

    def lines(self, number: int, *, with_proof: bool) -> Sequence[str]:
        """Return what ``load.lua`` sends: no Authorization, a proof or none, and the parameters of an assertion."""
        proofs = make_proofs(number) if with_proof else [""] * number
        return [f"\t{proof}\t{self._parameters()}" for proof in proofs]

    def _parameters(self) -> str:
        assertion = build_client_assertion(
            client_id=self.client_id,
            audience=ISSUER,
            jti=secrets.token_urlsafe(12),
            issued_at=datetime.now(UTC),
            key=self.key,
        )
        return urlencode({names.CLIENT_ASSERTION_TYPE: names.ASSERTION_TYPE_JWT, names.CLIENT_ASSERTION: assertion})


def register_signer(prepared: Prepared) -> Signer:
    """Give the first agent that will ask a key, beside its secret."""
    client_id, _ = parse_basic(prepared.authorizations[0].encode())
    signer = Signer(client_id, generate_private_key(names.ES256))
    asyncio.run(_register(prepared, signer))
    return signer


async def _register(prepared: Prepared, signer: Signer) -> None:
    now = datetime.now(UTC)
    store = SqliteStore.open(prepared.data / STORE_FILE)
    try:
        registration = await store.registration(signer.client_id)
        if registration is None:
            raise LookupError(signer.client_id)
        agent = registration.agent
        methods = tuple(dict.fromkeys((*agent.auth_methods, names.PRIVATE_KEY_JWT)))
        credential = Credential(
            id=f"bench-{secrets.token_hex(8)}",
            client_id=signer.client_id,
            kind=CredentialKind.PUBLIC_KEY,
            state=CredentialState.ACTIVE,
            created_at=now,
            last_used_at=now,
            last_used_network="127.0.0.0/24",
            details={"jwk": dict(signer.key.public_jwk)},
        )
        event = AuditEvent(
            id=secrets.token_hex(16),
            time=now,
            action="credential.create",
            outcome=Outcome.SUCCESS,
            reason="created",
            actor="local:bench",
        )
        changed = replace(agent, auth_methods=methods, version=agent.version + 1)
        await store.commit(event, [Replace(changed), Create(credential)])
    finally:
        await store.close()

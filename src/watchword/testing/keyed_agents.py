"""Agents that sign instead of sending a secret, for tests of a whole server."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from watchword.ports.agents import Credential, CredentialKind, CredentialState
from watchword.ports.store import Create
from watchword.protocol import names
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.protocol.registered_key import from_details
from watchword.testing import forge
from watchword.testing.answers import Answer
from watchword.testing.server import InProcessServer


@dataclass(frozen=True, slots=True)
class KeyedAgent:
    """A registered agent and its private key."""

    client_id: str
    key: PrivateKey = field(repr=False)
    credential_id: str = ""

    def assertion(
        self, server: InProcessServer, changes: Mapping[str, object] | None = None, /, **header: object
    ) -> str:
        """Return a new assertion for this server; a claim or a member of the header that is ``None`` is left out."""
        now = int(server.clock().timestamp())
        claims: dict[str, object] = {
            names.ISS: self.client_id,
            names.SUB: self.client_id,
            names.AUD: server.issuer,
            names.JTI: secrets.token_hex(8),
            names.IAT: now,
            names.EXP: now + 60,
            **(changes or {}),
        }
        members = {
            names.TYP: names.TYP_CLIENT_ASSERTION,
            names.ALG: self.key.algorithm,
            names.KID: self.key.kid,
            **header,
        }
        return forge.sign(self.key, _without_nothing(members), _without_nothing(claims))


def _without_nothing(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def add_keyed_agent(
    server: InProcessServer,
    name: str = "writer",
    *,
    key: PrivateKey | None = None,
    details: Mapping[str, object] | None = None,
    **facts: Any,  # noqa: ANN401 -- fields of Agent
) -> KeyedAgent:
    """Register an agent that logs in with a key and with nothing else. ``details`` say more of the key, or all of it."""
    facts.setdefault("auth_methods", (names.PRIVATE_KEY_JWT,))
    client_id = server.add_agent(name, **facts).client_id
    key = key or generate_private_key(names.ES256)
    return add_key(server, client_id, key, details=details)


def add_key(
    server: InProcessServer,
    client_id: str,
    key: PrivateKey,
    *,
    details: Mapping[str, object] | None = None,
    created_at: datetime | None = None,
    **facts: Any,  # noqa: ANN401 -- fields of Credential
) -> KeyedAgent:
    """Register one more key of an agent."""
    said: dict[str, object] = {"jwk": dict(key.public_jwk), **(details or {})}
    if "jwks" in said or "jwks_uri" in said:
        del said["jwk"]
    credential = Credential(
        id=f"k{secrets.token_hex(4)}",
        client_id=client_id,
        kind=CredentialKind.PUBLIC_KEY,
        state=CredentialState.ACTIVE,
        created_at=created_at or server.clock(),
        details=from_details(said).to_details(),
        **facts,
    )
    server.commit(Create(credential))
    return KeyedAgent(client_id, key, credential.id)


def ask_with(server: InProcessServer, assertion: str, /, *, path: str = "/oauth/token", **form: str) -> Answer:
    """Ask for a token with an assertion, or send it elsewhere."""
    return server.post(
        {
            names.GRANT_TYPE: names.CLIENT_CREDENTIALS,
            names.SCOPE: "read:data",
            names.CLIENT_ASSERTION_TYPE: names.ASSERTION_TYPE_JWT,
            names.CLIENT_ASSERTION: assertion,
            **form,
        },
        path=path,
    )

"""What a token for reader must say, whoever reads it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from tests.processes import Agent, RunningServer

LIFETIME = 600


def check_claims(claims: Mapping[str, object], server: RunningServer, agent: Agent) -> None:
    """Refuse anything but exactly the claims of an RFC 9068 token for my-api with read:data."""
    times = {name: claims[name] for name in ("iat", "exp", "jti", "credential_id")}
    assert dict(claims) == times | {
        "iss": server.issuer,
        "sub": agent.client_id,
        "client_id": agent.client_id,
        "aud": "my-api",
        "scope": "read:data",
    }
    assert int(str(times["exp"])) - int(str(times["iat"])) == LIFETIME


def read_unverified(token: str) -> dict[str, object]:
    """Return a token's claims as its text has them."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims

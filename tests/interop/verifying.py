"""Other people's libraries verifying our tokens against the published key set."""

from __future__ import annotations

import jwt
import requests
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from tests.processes import RunningServer


def with_pyjwt(token: str, server: RunningServer) -> dict[str, object]:
    """Verify as PyJWT's documentation says, the key fetched by ``PyJWKClient``."""
    key = jwt.PyJWKClient(server.jwks_uri).get_signing_key_from_jwt(token)
    required = {"require": ["iss", "sub", "aud", "exp", "iat", "jti"]}
    return jwt.decode(token, key, algorithms=["ES256"], issuer=server.issuer, audience="my-api", options=required)


def with_joserfc(token: str, server: RunningServer) -> dict[str, object]:
    """Verify with joserfc, the key found by the token's ``kid``."""
    keys = KeySet.import_key_set(requests.get(server.jwks_uri, timeout=10).json())
    decoded = joserfc_jwt.decode(token, keys, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": server.issuer},
        aud={"essential": True, "value": "my-api"},
        exp={"essential": True},
    )
    registry.validate(decoded.claims)
    return decoded.claims

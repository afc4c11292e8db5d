"""Every name that stands on the wire, once, in the registry's spelling."""

from __future__ import annotations

from typing import Final

# Parameters: RFC 6749 appendix A, RFC 8707, RFC 8693, RFC 7521.
GRANT_TYPE: Final = "grant_type"
SCOPE: Final = "scope"
CLIENT_ID: Final = "client_id"
CLIENT_SECRET: Final = "client_secret"  # noqa: S105 -- a parameter's name
CLIENT_ASSERTION: Final = "client_assertion"
CLIENT_ASSERTION_TYPE: Final = "client_assertion_type"
RESOURCE: Final = "resource"
TOKEN: Final = "token"  # noqa: S105 -- a parameter's name
AUDIENCE: Final = "audience"

# Members of responses: RFC 6749 §5.
ACCESS_TOKEN: Final = "access_token"  # noqa: S105 -- a member's name
TOKEN_TYPE: Final = "token_type"  # noqa: S105 -- a member's name
EXPIRES_IN: Final = "expires_in"
ERROR: Final = "error"
ERROR_DESCRIPTION: Final = "error_description"

BEARER: Final = "Bearer"
DPOP: Final = "DPoP"
CLIENT_CREDENTIALS: Final = "client_credentials"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION: Final = "assertion"
ASSERTION_TYPE_JWT: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_TYPE_SPIFFE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"

# token_endpoint_auth_method values: RFC 7591, RFC 8705.
CLIENT_SECRET_BASIC: Final = "client_secret_basic"  # noqa: S105 -- a method's name
CLIENT_SECRET_POST: Final = "client_secret_post"  # noqa: S105 -- a method's name
PRIVATE_KEY_JWT: Final = "private_key_jwt"
SPIFFE_JWT: Final = "spiffe_jwt"
NO_AUTHENTICATION: Final = "none"
FEDERATED: Final = "federated"
"""Ours, and in no metadata: the token of an outside issuer, however it is presented."""
TLS_CLIENT_AUTH: Final = "tls_client_auth"
SELF_SIGNED_TLS_CLIENT_AUTH: Final = "self_signed_tls_client_auth"

WATCHWORD_CHALLENGE: Final = "watchword_challenge"
"""Our own: a challenge signed with a registered key, or with that of a certificate."""

# JOSE header and claims: RFC 7515, RFC 7519, RFC 9068, RFC 7800.
ALG: Final = "alg"
KID: Final = "kid"
TYP: Final = "typ"
ISS: Final = "iss"
SUB: Final = "sub"
AUD: Final = "aud"
EXP: Final = "exp"
NBF: Final = "nbf"
IAT: Final = "iat"
JTI: Final = "jti"
CNF: Final = "cnf"
STATUS: Final = "status"
CREDENTIAL_ID: Final = "credential_id"
"""Ours: the credential that a token was obtained with."""
JKT: Final = "jkt"
X5T_S256: Final = "x5t#S256"
X5C: Final = "x5c"
CHALLENGE: Final = "challenge"
PURPOSE: Final = "purpose"
KEY_THUMBPRINT: Final = "key_thumbprint"
JWK: Final = "jwk"

# Claims and header of a DPoP proof: RFC 9449 §4.2, §8.
HTM: Final = "htm"
HTU: Final = "htu"
ATH: Final = "ath"
NONCE: Final = "nonce"
DPOP_HEADER: Final = "dpop"
DPOP_NONCE_HEADER: Final = "dpop-nonce"

TYP_ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 -- a media type
TYP_DPOP_PROOF: Final = "dpop+jwt"
TYP_CHALLENGE_ANSWER: Final = "watchword-challenge+jwt"
TYP_CLIENT_ASSERTION: Final = "client-authentication+jwt"
TYP_SECURITY_EVENT: Final = "secevent+jwt"
TYP_STATUS_LIST: Final = "statuslist+jwt"

"""``client_assertion_type`` of RFC 7523 §2.2."""
ASSERTION_TYPE_CHALLENGE: Final = "urn:watchword:client-assertion-type:challenge"
"""``client_assertion_type`` of an answer to a challenge: our own."""

# Claims of a security event token: RFC 8417 §2.2, RFC 9493, SSF 1.0.
TXN: Final = "txn"
EVENTS: Final = "events"
SUB_ID: Final = "sub_id"

EVENTS_READ: Final = "events:read"
"""The scope with which the revocation feed is read."""

# Signature algorithms: RFC 7518 §3.1, RFC 9864.
ES256: Final = "ES256"
ES384: Final = "ES384"
RS256: Final = "RS256"
PS256: Final = "PS256"
ED25519: Final = "Ed25519"
SIGNING_ALGORITHMS: Final = (ES256, ES384, ED25519, PS256, RS256)

# Paths below the issuer.
PATH_CHALLENGE: Final = "/oauth/challenge"
PATH_TOKEN: Final = "/oauth/token"  # noqa: S105 -- a path
PATH_INTROSPECT: Final = "/oauth/introspect"
PATH_REVOKE: Final = "/oauth/revoke"
PATH_CREDENTIALS: Final = "/oauth/credentials"
PATH_AUTHORIZE: Final = "/oauth/authorize"
PATH_EVENTS: Final = "/oauth/events"
PATH_STATUS: Final = "/oauth/status"
PATH_JWKS: Final = "/.well-known/jwks.json"
PATH_AS_METADATA: Final = "/.well-known/oauth-authorization-server"
PATH_OPENID_CONFIGURATION: Final = "/.well-known/openid-configuration"
PATH_RESOURCE_METADATA: Final = "/.well-known/oauth-protected-resource"
PATH_ADMIN: Final = "/admin/v1"

# What is accepted of an agent only where an operator has named it, for the sake of old clients.
TOKEN_ENDPOINT_AUDIENCE: Final = "token_endpoint_audience"  # noqa: S105 -- a setting's name
"""Its assertions may name the token endpoint as their audience, as RFC 7523 once advised and RFC 10070 forbids."""
EDDSA_HEADER: Final = "eddsa_header"
"""Its assertions and proofs may call Ed25519 by its old name EdDSA (RFC 9864)."""
OWN_CREDENTIALS: Final = "own_credentials"
"""The agent may replace its own credentials."""

CONCESSIONS: Final = (TOKEN_ENDPOINT_AUDIENCE, EDDSA_HEADER, OWN_CREDENTIALS)

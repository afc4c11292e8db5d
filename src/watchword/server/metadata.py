"""What this server says of itself: derived from the parts that are really there. RFC 8414."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from watchword.protocol import names
from watchword.protocol.metadata import build_server_metadata
from watchword.server.authentication import ClientAuthenticator
from watchword.server.grants import Grants
from watchword.server.security_profile import SecurityProfile


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document as it is served, and its entity tag."""

    body: bytes
    etag: str


def server_metadata(
    issuer: str,
    *,
    clients: ClientAuthenticator,
    grants: Grants,
    profile: SecurityProfile,
    with_authorization_endpoint: bool,
    binds_to_certificates: bool = False,
    mtls_url: str = "",
) -> Document:
    """Return the metadata document. It holds nothing of any client, and changes only with the configuration.

    ``mtls_url`` is where the same endpoints ask for a certificate, if that is elsewhere (RFC 8705 §5).
    """
    members = build_server_metadata(
        issuer=issuer,
        token_endpoint=issuer + names.PATH_TOKEN,
        jwks_uri=issuer + names.PATH_JWKS,
        authorization_endpoint=issuer + names.PATH_AUTHORIZE if with_authorization_endpoint else None,
        grant_types_supported=grants.names,
        token_endpoint_auth_methods_supported=clients.method_names,
        token_endpoint_auth_signing_alg_values_supported=profile.named_algorithms,
        response_types_supported=("none",),
        watchword_challenge_endpoint=issuer + names.PATH_CHALLENGE,
        dpop_signing_alg_values_supported=profile.named_proof_algorithms,
        tls_client_certificate_bound_access_tokens=binds_to_certificates or None,
        mtls_endpoint_aliases={"token_endpoint": mtls_url + names.PATH_TOKEN} if mtls_url else None,
    )
    return document(members)


def document(members: Mapping[str, object]) -> Document:
    """Return JSON members as a served document."""
    body = json.dumps(members, separators=(",", ":")).encode()
    return Document(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

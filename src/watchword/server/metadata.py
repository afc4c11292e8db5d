"""What this server says of itself: derived from the parts that are really there. RFC 8414."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from watchword.ports.issuers import TrustedIssuers
from watchword.protocol import names
from watchword.protocol.federation_presets import SPIFFE_SCHEME
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
    default_algorithm: str = names.ES256,
    with_status_lists: bool = False,
    trusted: Sequence[str] = (),
) -> Document:
    """Return the metadata document. It holds nothing of any client.

    ``mtls_url`` is where the same endpoints ask for a certificate, if that is elsewhere (RFC 8705 §5). Without a trusted issuer
    (``trusted`` holds what stands in their ``iss``), nobody can use the grant that needs one.
    """
    methods = _methods(clients.method_names, trusted)
    members = build_server_metadata(
        issuer=issuer,
        token_endpoint=issuer + names.PATH_TOKEN,
        jwks_uri=issuer + names.PATH_JWKS,
        authorization_endpoint=issuer + names.PATH_AUTHORIZE if with_authorization_endpoint else None,
        grant_types_supported=[name for name in grants.names if trusted or name != names.JWT_BEARER],
        token_endpoint_auth_methods_supported=methods,
        token_endpoint_auth_signing_alg_values_supported=profile.named_algorithms,
        response_types_supported=("none",),
        introspection_endpoint=issuer + names.PATH_INTROSPECT,
        introspection_endpoint_auth_methods_supported=methods,
        introspection_endpoint_auth_signing_alg_values_supported=profile.named_algorithms,
        introspection_signing_alg_values_supported=[default_algorithm],
        revocation_endpoint=issuer + names.PATH_REVOKE,
        revocation_endpoint_auth_methods_supported=methods,
        revocation_endpoint_auth_signing_alg_values_supported=profile.named_algorithms,
        watchword_challenge_endpoint=issuer + names.PATH_CHALLENGE,
        watchword_events_endpoint=issuer + names.PATH_EVENTS,
        dpop_signing_alg_values_supported=profile.named_proof_algorithms,
        tls_client_certificate_bound_access_tokens=binds_to_certificates or None,
        mtls_endpoint_aliases=_aliases(mtls_url),
        status_list_aggregation_endpoint=issuer + names.PATH_STATUS if with_status_lists else None,
    )
    return document(members)


def _aliases(url: str) -> Mapping[str, str] | None:
    """RFC 8705 §5: every endpoint that clients log in at."""
    ends = {
        "token_endpoint": names.PATH_TOKEN,
        "introspection_endpoint": names.PATH_INTROSPECT,
        "revocation_endpoint": names.PATH_REVOKE,
    }
    return {name: url + path for name, path in ends.items()} if url else None


class Metadata:
    """The metadata document as it is at this moment: it tells whether any outside issuer is trusted, and of which sort."""

    def __init__(
        self,
        issuers: TrustedIssuers,
        issuer: str,
        *,
        clients: ClientAuthenticator,
        grants: Grants,
        profile: SecurityProfile,
        with_authorization_endpoint: bool,
        binds_to_certificates: bool = False,
        mtls_url: str = "",
        default_algorithm: str = names.ES256,
        with_status_lists: bool = False,
    ) -> None:
        self._issuers = issuers

        @lru_cache(maxsize=4)
        def build(trusted: tuple[str, ...]) -> Document:
            return server_metadata(
                issuer,
                clients=clients,
                grants=grants,
                profile=profile,
                with_authorization_endpoint=with_authorization_endpoint,
                binds_to_certificates=binds_to_certificates,
                mtls_url=mtls_url,
                default_algorithm=default_algorithm,
                with_status_lists=with_status_lists,
                trusted=trusted,
            )

        self._build = build

    async def document(self) -> Document:
        """Return it.

        Raises:
            StoreUnavailable
        """
        issuers = [one.issuer for one in await self._issuers.trusted_issuers()]
        schemes = {SPIFFE_SCHEME if issuer.startswith(SPIFFE_SCHEME) else "https://" for issuer in issuers}
        return self._build(tuple(sorted(schemes)))


def _methods(known: Sequence[str], trusted: Sequence[str]) -> list[str]:
    """A token of an outside issuer needs no client authentication as a grant, and has a name of its own if it is a JWT-SVID."""
    methods = [name for name in known if name != names.FEDERATED]
    if any(issuer.startswith(SPIFFE_SCHEME) for issuer in trusted):
        methods.append(names.SPIFFE_JWT)
    return [*methods, names.NO_AUTHENTICATION] if trusted else methods


def document(members: Mapping[str, object]) -> Document:
    """Return JSON members as a served document."""
    return build_document(json.dumps(members, separators=(",", ":")).encode())


def build_document(body: bytes) -> Document:
    """Return bytes as a served document."""
    return Document(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

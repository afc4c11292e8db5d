"""The registered members of the two metadata documents, in the order in which they are published."""

from __future__ import annotations

from typing import Final

SERVER_MEMBERS: Final = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "registration_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "scopes_supported",
    "response_types_supported",
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "introspection_endpoint_auth_methods_supported",
    "introspection_endpoint_auth_signing_alg_values_supported",
    "revocation_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_signing_alg_values_supported",
    "introspection_signing_alg_values_supported",
    "dpop_signing_alg_values_supported",
    "tls_client_certificate_bound_access_tokens",
    "mtls_endpoint_aliases",
    "authorization_details_types_supported",
    "client_id_metadata_document_supported",
    "authorization_grant_profiles_supported",
    "identity_chaining_requested_token_types_supported",
    "status_list_aggregation_endpoint",
    "protected_resources",
    "service_documentation",
    "signed_metadata",
)
"""RFC 8414 §2 and the registry it opens. Members of our own begin with ``watchword_``."""

RESOURCE_MEMBERS: Final = (
    "resource",
    "resource_name",
    "authorization_servers",
    "jwks_uri",
    "bearer_methods_supported",
    "scopes_supported",
    "resource_signing_alg_values_supported",
    "resource_documentation",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
    "tls_client_certificate_bound_access_tokens",
    "authorization_details_types_supported",
    "signed_metadata",
)
"""RFC 9728 §2."""

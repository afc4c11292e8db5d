"""The names of all settings, and the refusal of names that mean nothing. Light: every command begins with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from watchword.client.variables import CLIENT_VARIABLES
from watchword.errors import BadSettings

PREFIX: Final = "WATCHWORD_"
SERVER_PREFIX: Final = "WATCHWORD_SERVER__"
LIMITS_PREFIX: Final = "WATCHWORD_LIMITS__"

SERVER_NAMES: Final = (
    "issuer",
    "data",
    "listen",
    "management",
    "tls_cert",
    "tls_key",
    "mtls_listen",
    "mtls_cert",
    "mtls_key",
    "mtls_url",
    "client_ca",
    "client_crl",
    "client_certificate_header",
    "insecure_http",
    "trusted_proxies",
    "allowed_hosts",
    "master_key",
    "master_key_file",
    "database",
    "database_file",
    "signing_algorithm",
    "security_profile",
    "signing_key_period",
    "credential_warnings",
    "credential_max_age",
    "credential_max_age_action",
    "custody",
    "pkcs11_module",
    "pkcs11_token",
    "pkcs11_pin",
    "pkcs11_pin_file",
    "aws_kms_region",
    "aws_kms_endpoint",
    "gcp_kms_key_ring",
    "gcp_kms_credentials_file",
    "gcp_kms_protection_level",
    "gcp_kms_endpoint",
    "azure_key_vault_url",
    "azure_key_vault_hsm",
    "azure_tenant",
    "azure_client_id",
    "azure_client_secret_file",
    "azure_federated_token_file",
    "azure_authority",
    "vault_url",
    "vault_token_file",
    "vault_mount",
    "vault_namespace",
    "cloud_metadata_url",
    "status_list",
    "status_list_ttl",
    "log_level",
    "log_format",
    "metadata_authorization_endpoint",
    "workers",
    "max_connections",
    "header_timeout",
    "body_timeout",
    "keep_alive_timeout",
    "drain_timeout",
    "cache",
    "cache_file",
    "dpop_nonces",
    "dpop_max_age",
    "dpop_leeway",
    "feed_heartbeat",
    "feed_connections",
    "feed_connections_per_agent",
    "outbound_networks",
    "outbound_ports",
    "outbound_ca_file",
)
LIMIT_NAMES: Final = (
    "peer",
    "agent",
    "login_failures",
    "peer_failures",
    "concurrent_requests",
    "concurrent_admin_requests",
)
SECRET_NAMES: Final = frozenset({"master_key", "database", "cache", "pkcs11_pin"})
PATH_NAMES: Final = frozenset(
    {
        "data",
        "cache_file",
        "outbound_ca_file",
        "master_key_file",
        "database_file",
        "tls_cert",
        "tls_key",
        "mtls_cert",
        "mtls_key",
        "client_ca",
        "client_crl",
        "pkcs11_module",
        "pkcs11_pin_file",
        "gcp_kms_credentials_file",
        "azure_client_secret_file",
        "azure_federated_token_file",
        "vault_token_file",
    }
)

SERVER_VARIABLES: Final = {
    **{SERVER_PREFIX + name.upper(): name for name in SERVER_NAMES},
    **{LIMITS_PREFIX + name.upper(): f"limits.{name}" for name in LIMIT_NAMES},
}
"""The settings of the server by environment variable. Those of the section ``limits`` have it before their name."""

_FOR_TESTS: Final = "WATCHWORD_TEST_"
"""The project's own test suite is steered with names of this form; they mean nothing here."""

_SERVICE_LINK: Final = re.compile(
    r"WATCHWORD(_[A-Z0-9]+)*_(SERVICE_HOST=.*|SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+"
    r"|PORT=[a-z]+://.*|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*)"
)
"""Kubernetes sets these in every container beside a service whose name begins with watchword."""


def check_environment(environ: Mapping[str, str]) -> None:
    """Refuse a ``WATCHWORD_`` name that means nothing, with the one that was probably meant.

    Raises:
        BadSettings: settings.unknown_environment.
    """
    known = [*CLIENT_VARIABLES, *SERVER_VARIABLES]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _is_of_others(name, environ[name]):
            detail = f"The environment variable {name} means nothing to watchword; {suggest(name, known)}"
            raise BadSettings("settings.unknown_environment", detail=detail)


def _is_of_others(name: str, value: str) -> bool:
    return name.startswith(_FOR_TESTS) or _SERVICE_LINK.fullmatch(f"{name}={value}") is not None


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the words that follow a name nobody knows: the name that was probably meant, or what to do."""
    tails = {each.removeprefix(PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), list(tails), n=1, cutoff=0.6)
    if not close:
        return "remove it, or see the documentation for the names there are."
    return f"did you mean {prefix}{tails[close[0]]}?"

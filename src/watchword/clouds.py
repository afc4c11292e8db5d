"""Who keeps signing keys elsewhere, over the network: those that the settings name, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from watchword.adapters.keys_azure import AzureSettings, AzureSigner
from watchword.adapters.keys_azure_identity import AzureIdentity
from watchword.adapters.keys_gcp import GcpSettings, GcpSigner
from watchword.adapters.keys_vault import VaultSettings, VaultSigner
from watchword.adapters.outbound import OutboundTransport
from watchword.cloud_settings import CloudSettings
from watchword.ports.keys import Signer

_CONNECT_TIMEOUT: Final = timedelta(seconds=1)
_TOTAL_TIMEOUT: Final = timedelta(seconds=10)
"""Of one request; how long a signature may take the guard says."""


@contextmanager
def open_clouds(settings: CloudSettings) -> Iterator[dict[str, Signer]]:
    """Give each of them by the name of its custody. Nobody is asked before somebody needs a signature."""
    host = urlsplit(settings.cloud_metadata_url).hostname or ""
    transport = OutboundTransport(
        connect_timeout=_CONNECT_TIMEOUT, total_timeout=_TOTAL_TIMEOUT, plain_hosts=frozenset({host})
    )
    signers: dict[str, Signer] = {}
    vault = _vault(settings, transport)
    if vault is not None:
        signers["vault"] = vault
    signers |= _google(settings, transport) | _azure(settings, transport)
    try:
        yield signers
    finally:
        if vault is not None:
            vault.close()
        transport.close()


def _vault(settings: CloudSettings, transport: OutboundTransport) -> VaultSigner | None:
    if settings.vault_url is None or settings.vault_token_file is None:
        return None
    there = VaultSettings(
        url=settings.vault_url,
        token_file=settings.vault_token_file,
        mount=settings.vault_mount,
        namespace=settings.vault_namespace or "",
    )
    return VaultSigner(there, transport)


def _google(settings: CloudSettings, transport: OutboundTransport) -> dict[str, Signer]:
    if settings.gcp_kms_key_ring is None:
        return {}
    there = GcpSettings(
        key_ring=settings.gcp_kms_key_ring,
        credentials_file=settings.gcp_kms_credentials_file,
        protection_level=settings.gcp_kms_protection_level,
        url=settings.gcp_kms_endpoint,
        metadata_url=settings.cloud_metadata_url,
    )
    return {"gcp_kms": GcpSigner(there, transport)}


def _azure(settings: CloudSettings, transport: OutboundTransport) -> dict[str, Signer]:
    if settings.azure_key_vault_url is None:
        return {}
    identity = AzureIdentity(
        tenant=settings.azure_tenant or "",
        client_id=settings.azure_client_id or "",
        client_secret_file=settings.azure_client_secret_file,
        federated_token_file=settings.azure_federated_token_file,
        authority=settings.azure_authority,
        metadata_url=settings.cloud_metadata_url,
    )
    there = AzureSettings(url=settings.azure_key_vault_url, identity=identity, in_hardware=settings.azure_key_vault_hsm)
    return {"azure_key_vault": AzureSigner(there, transport)}

"""The settings of those who keep signing keys elsewhere: Google Cloud KMS, Azure Key Vault, OpenBao and Vault."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from watchword.errors import BadSettings, WatchwordError
from watchword.protocol.url import check_secure_url


class CloudSettings(BaseModel):
    """What of the server's settings is about them. Each is there when its first setting is given."""

    gcp_kms_key_ring: str | None = Field(
        default=None,
        pattern=r"^projects/[^/?#%]+/locations/[^/?#%]+/keyRings/[^/?#%]+$",
        description="The key ring of Google Cloud KMS that holds signing keys, projects/…/locations/…/keyRings/….",
    )
    gcp_kms_credentials_file: Path | None = Field(
        default=None, description="The key of the service account that asks it, unless that is the machine's own."
    )
    gcp_kms_protection_level: Literal["SOFTWARE", "HSM"] = Field(
        default="SOFTWARE", description="Whether new keys are made in hardware there."
    )
    gcp_kms_endpoint: str = Field(default="https://cloudkms.googleapis.com", description="Its address.")
    azure_key_vault_url: str | None = Field(
        default=None, description="The Azure Key Vault or Managed HSM that holds signing keys, a URL."
    )
    azure_key_vault_hsm: bool = Field(default=False, description="Whether new keys are made in hardware there.")
    azure_tenant: str | None = Field(
        default=None, description="The tenant of the application that asks it; else the machine asks."
    )
    azure_client_id: str | None = Field(default=None, description="The application, or which identity of the machine.")
    azure_client_secret_file: Path | None = Field(default=None, description="The file with the application's secret.")
    azure_federated_token_file: Path | None = Field(
        default=None, description="The file with a token of the application's platform, in place of a secret."
    )
    azure_authority: str = Field(
        default="https://login.microsoftonline.com", description="Where the application gets its tokens."
    )
    vault_url: str | None = Field(
        default=None, description="The OpenBao or Vault whose transit engine holds signing keys, a URL."
    )
    vault_token_file: Path | None = Field(default=None, description="The file with the token that asks it.")
    vault_mount: str = Field(default="transit", description="The path of the engine.")
    vault_namespace: str | None = Field(default=None, description="The namespace of the engine and the token.")
    cloud_metadata_url: str = Field(
        default="http://169.254.169.254", description="Where the metadata server of Google Cloud and Azure is."
    )

    def check_clouds(self) -> None:
        """Return if these settings go together.

        Raises:
            BadSettings: settings.custody
        """
        for name in ("gcp_kms_endpoint", "azure_key_vault_url", "azure_authority", "vault_url"):
            url = getattr(self, name)
            if url is not None:
                _check_url(name, url)
        if (self.vault_url is None) != (self.vault_token_file is None):
            raise _bad("vault_url and vault_token_file go together: give both, or neither")
        proofs = [file for file in (self.azure_client_secret_file, self.azure_federated_token_file) if file is not None]
        if bool(self.azure_tenant) != (len(proofs) == 1):
            raise _bad("azure_tenant goes with one of azure_client_secret_file and azure_federated_token_file")


def _check_url(name: str, url: str) -> None:
    try:
        checked = check_secure_url(url, allow_loopback_http=True)
    except WatchwordError as error:
        raise _bad(f"{name} {url!r} cannot be used: write an https URL ({error})") from error
    if checked.query or url.endswith("/"):
        raise _bad(f"{name} {url!r} cannot be used: write it without query, and without slash at the end")


def _bad(detail: str) -> BadSettings:
    return BadSettings("settings.custody", detail=f"{detail}.")

"""The settings of the custodies outside of this process: where new keys are made, and how each of them is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from watchword.cloud_settings import CloudSettings
from watchword.errors import BadSettings


def _to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class CustodySettings(CloudSettings):
    """What of the server's settings is about who holds its signing keys."""

    custody: Annotated[
        Literal["local", "pkcs11", "aws_kms", "gcp_kms", "azure_key_vault", "vault"], BeforeValidator(_to_lower)
    ] = Field(
        default="local",
        description="Where new signing keys are made, and stay: local, pkcs11, aws_kms, gcp_kms, azure_key_vault or vault.",
    )
    pkcs11_module: Path | None = Field(default=None, description="The PKCS #11 library of the token's vendor.")
    pkcs11_token: str | None = Field(default=None, description="The label of the token.")
    pkcs11_pin: SecretStr | None = Field(
        default=None, description="The PIN of its user. Only from the environment; prefer pkcs11_pin_file."
    )
    pkcs11_pin_file: Path | None = Field(default=None, description="The file that holds the PIN, mode 0600.")
    aws_kms_region: str | None = Field(default=None, description="The region of AWS KMS where keys are.")
    aws_kms_endpoint: str | None = Field(default=None, description="An endpoint of one's own, instead of the region's.")

    def check_custody(self) -> None:
        """Return if these settings go together.

        Raises:
            BadSettings: settings.custody
        """
        has_pin = self.pkcs11_pin is not None or self.pkcs11_pin_file is not None
        if self.pkcs11_pin is not None and self.pkcs11_pin_file is not None:
            raise _bad("pkcs11_pin and pkcs11_pin_file are both set: keep one")
        if len({self.pkcs11_module is not None, bool(self.pkcs11_token), has_pin}) != 1:
            raise _bad("pkcs11_module, pkcs11_token and a PIN (pkcs11_pin_file) go together: give all three, or none")
        if self.aws_kms_endpoint is not None and self.aws_kms_region is None:
            raise _bad("aws_kms_endpoint goes with aws_kms_region: give both")
        self.check_clouds()
        needed = {
            "pkcs11": ("pkcs11_module", self.pkcs11_module),
            "aws_kms": ("aws_kms_region", self.aws_kms_region),
            "gcp_kms": ("gcp_kms_key_ring", self.gcp_kms_key_ring),
            "azure_key_vault": ("azure_key_vault_url", self.azure_key_vault_url),
            "vault": ("vault_url and vault_token_file", self.vault_url),
        }
        if self.custody in needed and needed[self.custody][1] is None:
            raise _bad(f"custody is {self.custody}, but nothing says where that is: give {needed[self.custody][0]}")


def _bad(detail: str) -> BadSettings:
    return BadSettings("settings.custody", detail=f"{detail}.")

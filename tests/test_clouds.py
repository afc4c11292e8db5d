"""Who keeps signing keys elsewhere, from the settings to a signature."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.clouds import AzureVault, GoogleKms
from tests.openbao import OpenBao
from watchword.cloud_settings import CloudSettings
from watchword.clouds import open_clouds
from watchword.errors import BadSettings
from watchword.protocol.jose import import_public_jwk
from watchword.testing.records import NOON

RING = "projects/project/locations/europe-west1/keyRings/ring"


def sign_with_all(settings: CloudSettings) -> set[str]:
    """Have each of them make a key and sign; return their names."""

    async def each() -> set[str]:
        with open_clouds(settings) as signers:
            for signer in signers.values():
                key = await signer.generate("ES256", now=NOON)
                signature = await signer.sign(key, b"message")
                import_public_jwk(key.public_jwk).verify(signature, b"message")
            return set(signers)

    return asyncio.run(each())


def test_without_settings_there_is_none() -> None:
    assert sign_with_all(CloudSettings()) == set()


def test_each_is_there_whose_settings_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchword.adapters.keys_gcp._PAUSE", 0.0)
    (tmp_path / "secret").write_text("a secret")
    with GoogleKms() as google, AzureVault() as vault, OpenBao(tmp_path) as bao:
        settings = CloudSettings(
            gcp_kms_key_ring=RING,
            gcp_kms_endpoint=google.url,
            cloud_metadata_url=google.url,
            azure_key_vault_url=vault.url,
            azure_tenant="tenant",
            azure_client_id="client",
            azure_client_secret_file=tmp_path / "secret",
            azure_authority=vault.url,
            vault_url=bao.url,
            vault_token_file=bao.token_file,
        )
        settings.check_clouds()
        assert sign_with_all(settings) == {"gcp_kms", "azure_key_vault", "vault"}


@pytest.mark.parametrize(
    "given",
    [
        {"vault_url": "https://vault.example"},
        {"vault_token_file": Path("token")},
        {"vault_url": "http://vault.example", "vault_token_file": Path("token")},
        {"vault_url": "https://vault.example/", "vault_token_file": Path("token")},
        {"azure_key_vault_url": "http://mine.vault.azure.net"},
        {"azure_key_vault_url": "https://mine.vault.azure.net/?a=b"},
        {"azure_tenant": "tenant"},
        {"azure_client_secret_file": Path("secret")},
        {"azure_tenant": "t", "azure_client_secret_file": Path("s"), "azure_federated_token_file": Path("t")},
        {"gcp_kms_endpoint": "ftp://cloudkms.googleapis.com"},
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings) as caught:
        CloudSettings(**given).check_clouds()
    assert caught.value.reason == "settings.custody"


@pytest.mark.parametrize("ring", ["ring", "projects/a/keyRings/b", RING + "/", RING + "?x", RING + "/cryptoKeys/c"])
def test_a_key_ring_has_its_form(ring: str) -> None:
    with pytest.raises(ValidationError):
        CloudSettings(gcp_kms_key_ring=ring)
    CloudSettings(gcp_kms_key_ring=RING).check_clouds()

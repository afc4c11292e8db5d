"""Against servers written from the published references: nobody has tried the real ones."""

from collections.abc import Iterator

import pytest

from tests.clouds import AzureVault, GoogleKms
from watchword.adapters.keys_azure import AzureSettings, AzureSigner
from watchword.adapters.keys_azure_identity import AzureIdentity
from watchword.adapters.keys_gcp import GcpSettings, GcpSigner
from watchword.adapters.outbound import OutboundTransport
from watchword.protocol import names
from watchword.testing.signer_contract import OpenSigner, SignerContract

RING = "projects/project/locations/europe-west1/keyRings/ring"


@pytest.fixture(scope="module")
def transport() -> Iterator[OutboundTransport]:
    transport = OutboundTransport()
    yield transport
    transport.close()


@pytest.fixture(scope="module")
def google() -> Iterator[GoogleKms]:
    with GoogleKms() as google:
        yield google


@pytest.fixture(scope="module")
def vault() -> Iterator[AzureVault]:
    with AzureVault() as vault:
        yield vault


@pytest.fixture(autouse=True)
def _made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchword.adapters.keys_gcp._PAUSE", 0.0)


class TestGcpSigner(SignerContract):
    @pytest.fixture
    def open_signer(self, google: GoogleKms, transport: OutboundTransport) -> OpenSigner:
        async def open_signer() -> GcpSigner:
            return GcpSigner(GcpSettings(key_ring=RING, url=google.url, metadata_url=google.url), transport)

        return open_signer


class TestAzureSigner(SignerContract):
    """It has no Ed25519."""

    algorithms = (names.ES256, names.ES384, names.PS256, names.RS256)

    @pytest.fixture
    def open_signer(self, vault: AzureVault, transport: OutboundTransport) -> OpenSigner:
        async def open_signer() -> AzureSigner:
            identity = AzureIdentity(metadata_url=vault.url)
            return AzureSigner(AzureSettings(url=vault.url, identity=identity), transport)

        return open_signer

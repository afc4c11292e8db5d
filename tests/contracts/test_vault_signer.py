from collections.abc import Iterator

import pytest

from tests.openbao import OpenBao
from watchword.adapters.keys_vault import VaultSettings, VaultSigner
from watchword.adapters.outbound import OutboundTransport
from watchword.testing.signer_contract import OpenSigner, SignerContract


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("bao")) as bao:
        yield bao


class TestVaultSigner(SignerContract):
    """A real OpenBao."""

    @pytest.fixture
    def open_signer(self, bao: OpenBao) -> Iterator[OpenSigner]:
        transport = OutboundTransport()

        async def open_signer() -> VaultSigner:
            return VaultSigner(VaultSettings(url=bao.url, token_file=bao.token_file), transport)

        yield open_signer
        transport.close()

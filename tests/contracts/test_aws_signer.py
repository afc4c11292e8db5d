import itertools
from collections.abc import Iterator

import pytest

from tests.kms import CREDENTIALS, REGION, MotoKms
from watchword.adapters.keys_aws import AwsSettings, AwsSigner
from watchword.protocol import names
from watchword.testing.signer_contract import OpenSigner, SignerContract


@pytest.fixture(scope="module")
def signers() -> Iterator[Iterator[AwsSigner]]:
    """Two that take turns: boto3 takes a while to make a client."""
    with MotoKms() as kms, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        both = [AwsSigner(AwsSettings(region=REGION, endpoint_url=kms.url)) for _ in range(2)]
        yield itertools.cycle(both)
        for signer in both:
            signer.close()


class TestAwsSigner(SignerContract):
    """Ed25519 is left out: moto has none."""

    algorithms = (names.ES256, names.ES384, names.PS256, names.RS256)

    @pytest.fixture
    def open_signer(self, signers: Iterator[AwsSigner]) -> OpenSigner:
        async def open_signer() -> AwsSigner:
            return next(signers)

        return open_signer

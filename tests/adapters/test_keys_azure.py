import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import rule
from tests.clouds import AzureVault
from watchword.adapters.keys_azure import KINDS, AzureSettings, AzureSigner
from watchword.adapters.keys_azure_identity import AzureIdentity
from watchword.adapters.outbound import OutboundTransport
from watchword.errors import CustodyUnavailable, Fault, NoSigningKey
from watchword.ports.keys import SigningKey
from watchword.protocol.jose import import_public_jwk
from watchword.testing.process import free_port
from watchword.testing.records import NOON


@pytest.fixture(scope="module")
def server() -> Iterator[AzureVault]:
    with AzureVault() as server:
        yield server


@pytest.fixture
def vault(server: AzureVault) -> Iterator[AzureVault]:
    server.asked.clear()
    server.forms.clear()
    yield server
    server.refuses = None
    server.spoils.clear()


@pytest.fixture(scope="module")
def transport() -> Iterator[OutboundTransport]:
    transport = OutboundTransport()
    yield transport
    transport.close()


@pytest.fixture
def signer(vault: AzureVault, transport: OutboundTransport) -> AzureSigner:
    return AzureSigner(AzureSettings(url=vault.url, identity=AzureIdentity(metadata_url=vault.url)), transport)


def generate(signer: AzureSigner, algorithm: str = "ES256") -> SigningKey:
    return asyncio.run(signer.generate(algorithm, now=NOON))


def sign(signer: AzureSigner, key: SigningKey, message: bytes = b"message") -> bytes:
    signature = asyncio.run(signer.sign(key, message))
    import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    return signature


def refusal(signer: AzureSigner, key: SigningKey, kind: type[Fault]) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(signer.sign(key, b"message"))
    return caught.value.reason


def path_of(vault: AzureVault, key: SigningKey) -> str:
    return str(json.loads(key.sealed)["key"]).removeprefix(vault.url)


@pytest.mark.parametrize("in_hardware", [False, True])
@pytest.mark.parametrize("algorithm", list(KINDS))
def test_a_key_is_made_there_for_signing_only(vault, transport, signer, algorithm: str, in_hardware: bool) -> None:
    settings = AzureSettings(
        url=vault.url, identity=AzureIdentity(metadata_url=vault.url), in_hardware=in_hardware
    )  # fmt: skip
    key = generate(AzureSigner(settings, transport), algorithm)
    ((_, _, created),) = [asked for asked in vault.asked if asked[0] == "POST"]
    kind = str(KINDS[algorithm]["kty"]) + ("-HSM" if in_hardware else "")
    assert (created["kty"], created["key_ops"]) == (kind, ["sign", "verify"])
    sign(signer, key)


def test_a_token_of_an_application_is_asked_for_with_its_secret_or_its_own_token(
    vault, transport, tmp_path, signer
) -> None:
    key, secret, token = generate(signer), tmp_path / "secret", tmp_path / "token"
    secret.write_text("a secret\n")
    token.write_text("a token\n")
    application = AzureIdentity(tenant="tenant", client_id="client", authority=vault.url)
    settings = AzureSettings(url=vault.url, identity=replace(application, client_secret_file=secret))
    sign(AzureSigner(settings, transport), key)
    settings = AzureSettings(url=vault.url, identity=replace(application, federated_token_file=token))
    sign(AzureSigner(settings, transport), key)
    with_secret, with_token = vault.forms
    assert (with_secret["client_id"], with_secret["client_secret"]) == (["client"], ["a secret"])
    assert with_token["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert "client_secret" not in with_token
    secret.write_text("another")
    settings = AzureSettings(url=vault.url, identity=replace(application, client_secret_file=secret))
    assert refusal(AzureSigner(settings, transport), key, CustodyUnavailable) == "custody.denied"


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://mine.vault.azure.net", "https://vault.azure.net"),
        ("https://mine.managedhsm.azure.net", "https://managedhsm.azure.net"),
        ("https://mine.vault.azure.cn", "https://vault.azure.cn"),
    ],
)
def test_the_token_is_for_the_service_of_the_vault(url: str, resource: str) -> None:
    assert AzureSettings(url=url).resource == resource


@rule("K8")
def test_without_its_secret_it_is_denied(vault, transport, tmp_path: Path, signer) -> None:
    key = generate(signer)
    identity = AzureIdentity(tenant="tenant", client_secret_file=tmp_path / "none", authority=vault.url)
    nobody = AzureSigner(AzureSettings(url=vault.url, identity=identity), transport)
    assert refusal(nobody, key, CustodyUnavailable) == "custody.denied"


def test_a_token_that_is_not_taken_any_more_is_replaced(vault: AzureVault, signer: AzureSigner) -> None:
    key = generate(signer)
    vault.tokens.clear()
    sign(signer, key)


@rule("K8")
@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, NoSigningKey, "keys.unfit"),
        (403, CustodyUnavailable, "custody.denied"),
        (404, NoSigningKey, "keys.gone"),
        (409, NoSigningKey, "keys.gone"),
        (429, CustodyUnavailable, "custody.throttled"),
        (500, CustodyUnavailable, "custody.failed"),
        (503, CustodyUnavailable, "custody.failed"),
    ],
)
def test_what_it_refuses_has_its_reason(vault, signer, status: int, kind: type[Fault], reason: str) -> None:
    key = generate(signer)
    vault.refuses = (status, {"error": {"code": "Code", "message": "no"}})
    assert refusal(signer, key, kind) == reason
    vault.refuses = None
    sign(signer, key)


@rule("K8")
def test_a_key_that_is_disabled_or_gone_does_not_sign(vault: AzureVault, signer: AzureSigner) -> None:
    key = generate(signer)
    vault.states[path_of(vault, key)] = "disabled"
    assert refusal(signer, key, NoSigningKey) == "keys.disabled"
    del vault.keys[path_of(vault, key)]
    assert refusal(signer, key, NoSigningKey) == "keys.gone"


@rule("K8")
@pytest.mark.parametrize(
    "identifier", ["", "https://evil.example/keys/a/" + "0" * 32, "{url}/keys/a", "{url}/keys/a/../x"]
)
def test_the_token_goes_to_no_other_vault(vault: AzureVault, signer: AzureSigner, identifier: str) -> None:
    key = replace(generate(signer), sealed=json.dumps({"key": identifier.replace("{url}", vault.url)}).encode())
    vault.asked.clear()
    assert refusal(signer, key, NoSigningKey) == "keys.reference"
    assert vault.asked == []


@pytest.mark.parametrize("spoilt", [{"value": ""}, {"value": "+/="}, {"value": 1}, {"kid": "another"}])
def test_an_answer_that_is_none_is_refused(vault: AzureVault, signer: AzureSigner, spoilt: dict[str, object]) -> None:
    key = generate(signer)
    vault.spoils = dict(spoilt)
    assert refusal(signer, key, CustodyUnavailable) == "custody.answer"


@pytest.mark.parametrize(
    "said", [{}, {"kid": "https://evil.example/keys/a/" + "0" * 32}, {"kid": "{url}/keys/a/" + "0" * 32}]
)
def test_a_new_key_that_is_none_is_refused(vault: AzureVault, signer: AzureSigner, said: dict[str, str]) -> None:
    vault.spoils = {"key": {name: value.replace("{url}", vault.url) for name, value in said.items()}}
    with pytest.raises(CustodyUnavailable) as caught:
        generate(signer)
    assert caught.value.reason == "custody.answer"


@rule("K8")
def test_nobody_there_has_its_reason(vault: AzureVault, transport: OutboundTransport, signer: AzureSigner) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    key = replace(generate(signer), sealed=json.dumps({"key": f"{nowhere}/keys/a/" + "0" * 32}).encode())
    identity = AzureIdentity(metadata_url=vault.url)
    assert (
        refusal(AzureSigner(AzureSettings(url=nowhere, identity=identity), transport), key, CustodyUnavailable)
        == "custody.unreachable"
    )
    identity = AzureIdentity(metadata_url=nowhere)
    other = AzureSigner(AzureSettings(url=vault.url, identity=identity), transport)
    assert refusal(other, generate(signer), CustodyUnavailable) == "custody.unreachable"

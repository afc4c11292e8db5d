"""The transit engine of a real OpenBao; what it cannot be brought to say is said by a server that says what it is told."""

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests import rule
from tests.openbao import ROOT, OpenBao
from watchword.adapters.keys_vault import VaultSettings, VaultSigner
from watchword.adapters.outbound import OutboundTransport
from watchword.errors import CustodyUnavailable, Fault, NoSigningKey
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol.jose import import_public_jwk
from watchword.testing.process import free_port
from watchword.testing.records import NOON
from watchword.testing.tcp_proxy import Break, FaultProxy
from watchword.testing.tcp_proxy import Fault as NetworkFault


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("bao")) as bao:
        yield bao


@pytest.fixture
def transport() -> Iterator[OutboundTransport]:
    transport = OutboundTransport(total_timeout=timedelta(seconds=2))
    yield transport
    transport.close()


@pytest.fixture
def signer(bao: OpenBao, transport: OutboundTransport) -> VaultSigner:
    return VaultSigner(VaultSettings(url=bao.url, token_file=bao.token_file), transport)


def generate(signer: VaultSigner, algorithm: str = "ES256") -> SigningKey:
    return asyncio.run(signer.generate(algorithm, now=NOON))


def sign(signer: VaultSigner, key: SigningKey, message: bytes = b"message") -> bytes:
    signature = asyncio.run(signer.sign(key, message))
    import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    return signature


def refusal(signer: VaultSigner, key: SigningKey, kind: type[Fault]) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(signer.sign(key, b"message"))
    return caught.value.reason


def name_of(key: SigningKey) -> str:
    return str(json.loads(key.sealed)["name"])


class Saying:
    """A transport that answers what it is told."""

    def __init__(self, status: int = 200, content: Mapping[str, object] | None = None) -> None:
        self.answer = HttpResponse(status=status, headers={}, body=json.dumps(content or {}).encode())
        self.asked: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        return self.answer

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return self.send(request)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("ES256", "ecdsa-p256"),
        ("ES384", "ecdsa-p384"),
        ("Ed25519", "ed25519"),
        ("PS256", "rsa-3072"),
        ("RS256", "rsa-3072"),
    ],
)
def test_a_key_is_made_there_and_cannot_be_taken_from_there(bao, signer, algorithm: str, kind: str) -> None:
    key = generate(signer, algorithm)
    made = bao.ask("GET", f"transit/keys/{name_of(key)}")["data"]
    assert (made["type"], made["exportable"], made["allow_plaintext_backup"]) == (kind, False, False)
    assert bao.status("GET", f"transit/export/signing-key/{name_of(key)}") == 400
    assert bao.status("GET", f"transit/backup/{name_of(key)}") != 200
    sign(signer, key)


def test_a_key_that_is_rotated_there_signs_as_before(bao: OpenBao, signer: VaultSigner) -> None:
    key = generate(signer)
    bao.ask("POST", f"transit/keys/{name_of(key)}/rotate")
    sign(signer, key)


@rule("K8")
def test_a_key_whose_version_is_withdrawn_or_which_is_deleted_does_not_sign(bao, signer) -> None:
    key = generate(signer)
    path = f"transit/keys/{name_of(key)}"
    assert refusal(signer, _at_version(key, "9"), NoSigningKey) == "keys.gone"
    bao.ask("POST", f"{path}/rotate")
    bao.ask("POST", f"{path}/config", min_encryption_version=2)
    assert refusal(signer, key, NoSigningKey) == "keys.gone"
    bao.ask("POST", f"{path}/config", min_encryption_version=1)
    sign(signer, key)
    bao.ask("POST", f"{path}/config", deletion_allowed=True)
    bao.ask("DELETE", path)
    assert refusal(signer, key, NoSigningKey) == "keys.gone"


def test_a_key_of_another_kind_does_not_sign(bao: OpenBao, signer: VaultSigner) -> None:
    bao.ask("POST", "transit/keys/cipher", type="aes256-gcm96")
    assert refusal(signer, _named(generate(signer), "cipher"), NoSigningKey) == "keys.unfit"


@pytest.mark.parametrize("name", ["../../sys/seal", "a/b", "a?b", "a%2f", "", "."])
def test_a_reference_to_another_place_is_not_followed(bao: OpenBao, name: str) -> None:
    transport = Saying()
    signer = VaultSigner(VaultSettings(url=bao.url, token_file=bao.token_file), transport)
    key = SigningKey(
        kid="kid", algorithm="ES256", state=KeyState.ACTIVE, public_jwk={}, created_at=NOON,
        sealed=json.dumps({"mount": "transit", "name": name, "version": "1"}).encode(),
    )  # fmt: skip
    assert refusal(signer, key, NoSigningKey) == "keys.reference"
    assert transport.asked == []


@rule("K8")
def test_a_token_that_is_not_let_in_is_denied(bao, transport, tmp_path: Path, signer) -> None:
    key = generate(signer)
    file = tmp_path / "token"
    stranger = VaultSigner(VaultSettings(url=bao.url, token_file=file), transport)
    assert refusal(stranger, key, CustodyUnavailable) == "custody.denied"
    for token in ("", "  \n", "two words", "not-a-token"):
        file.write_text(token)
        assert refusal(stranger, key, CustodyUnavailable) == "custody.denied"
    file.write_text(bao.ask("POST", "auth/token/create", policies=["default"])["auth"]["client_token"])
    assert refusal(stranger, key, CustodyUnavailable) == "custody.denied"  # the default policy signs nothing
    file.write_text(f"{ROOT}\n")
    sign(stranger, key)


def test_a_token_that_was_replaced_is_used_at_once(bao, transport, tmp_path: Path, signer) -> None:
    """The first is revoked while the file looks as if it had not changed."""
    key, file = generate(signer), tmp_path / "token"
    file.write_text(bao.ask("POST", "auth/token/create", policies=["root"])["auth"]["client_token"])
    patient = VaultSigner(VaultSettings(url=bao.url, token_file=file), transport)
    sign(patient, key)
    old, stat = file.read_text(), file.stat()
    file.write_text(bao.ask("POST", "auth/token/create", policies=["root"])["auth"]["client_token"])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    bao.ask("POST", "auth/token/revoke", token=old)
    sign(patient, key)


def test_a_token_is_renewed_while_it_is_used(bao, transport, tmp_path: Path, signer) -> None:
    key, file = generate(signer), tmp_path / "token"
    bao.ask("PUT", "sys/policies/acl/signing", policy='path "transit/*" { capabilities = ["update"] }')
    made = bao.ask("POST", "auth/token/create", policies=["default", "signing"], ttl="3s", explicit_max_ttl="1h")
    file.write_text(made["auth"]["client_token"])

    async def use() -> None:
        patient = VaultSigner(VaultSettings(url=bao.url, token_file=file), transport)
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            await patient.sign(key, b"message")
            await asyncio.sleep(0.25)
        patient.close()

    asyncio.run(use())


def test_a_namespace_is_a_place_of_its_own(bao, transport, signer) -> None:
    bao.ask("POST", "sys/namespaces/team")
    bao.ask("POST", "sys/mounts/signing/tokens", namespace="team", type="transit")
    settings = VaultSettings(url=f"{bao.url}/", token_file=bao.token_file, mount="signing/tokens", namespace="team")
    there = VaultSigner(settings, transport)
    key = generate(there)
    sign(there, key)
    assert refusal(signer, key, NoSigningKey) == "keys.gone"


@rule("K8")
def test_sealed_it_signs_nothing_and_unsealed_it_does(bao: OpenBao, signer: VaultSigner) -> None:
    key = generate(signer)
    bao.ask("PUT", "sys/seal")
    try:
        assert refusal(signer, key, CustodyUnavailable) == "custody.failed"
    finally:
        bao.unseal()
    sign(signer, key)


@rule("K8")
def test_over_its_quota_it_is_throttled(bao: OpenBao, signer: VaultSigner) -> None:
    key = generate(signer)
    bao.ask("POST", "sys/quotas/rate-limit/few", rate=1, interval="1m", path="transit")
    try:
        sign(signer, key)
        assert refusal(signer, key, CustodyUnavailable) == "custody.throttled"
    finally:
        bao.ask("DELETE", "sys/quotas/rate-limit/few")
    sign(signer, key)


@rule("K8")
def test_nobody_there_a_reset_and_silence_have_their_reasons(bao, transport, signer) -> None:
    key = generate(signer)
    url = f"http://127.0.0.1:{free_port()}"
    nobody = VaultSigner(VaultSettings(url=url, token_file=bao.token_file), transport)
    assert refusal(nobody, key, CustodyUnavailable) == "custody.unreachable"
    with FaultProxy("127.0.0.1", bao.port) as proxy:
        hasty = OutboundTransport(total_timeout=timedelta(seconds=0.4))
        settings = VaultSettings(url=f"http://127.0.0.1:{proxy.port}", token_file=bao.token_file)
        through = VaultSigner(settings, hasty)
        sign(through, key)
        proxy.impose(NetworkFault(breaks=Break.RESET))
        assert refusal(through, key, CustodyUnavailable) == "custody.unreachable"
        proxy.impose(NetworkFault(latency=2))
        assert refusal(through, key, CustodyUnavailable) == "custody.timeout"
        proxy.heal()
        sign(through, key)
        hasty.close()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"data": None},
        {"data": {"signature": ""}},
        {"data": {"signature": "vault:v2:AAAA"}},
        {"data": {"signature": "vault:v1:+/=="}},
        {"data": {"signature": ["vault:v1:AAAA"]}},
    ],
)
def test_an_answer_that_is_none_is_refused(bao: OpenBao, signer: VaultSigner, content: dict[str, object]) -> None:
    key = generate(signer)
    odd = VaultSigner(VaultSettings(url=bao.url, token_file=bao.token_file), Saying(200, content))
    assert refusal(odd, key, CustodyUnavailable) == "custody.answer"


@pytest.mark.parametrize("member", ["exportable", "allow_plaintext_backup"])
def test_a_key_that_could_leave_is_not_taken(bao: OpenBao, member: str) -> None:
    said = Saying(200, {"data": {"latest_version": 1, member: True, "keys": {"1": {"public_key": ""}}}})
    odd = VaultSigner(VaultSettings(url=bao.url, token_file=bao.token_file), said)
    with pytest.raises(CustodyUnavailable) as caught:
        generate(odd)
    assert caught.value.reason == "custody.answer"


def test_the_token_is_in_no_repr(bao: OpenBao, signer: VaultSigner) -> None:
    sign(signer, generate(signer))
    assert f"'{ROOT}'" not in repr(signer._token)


def _at_version(key: SigningKey, version: str) -> SigningKey:
    return replace(key, sealed=json.dumps({**json.loads(key.sealed), "version": version}).encode())


def _named(key: SigningKey, name: str) -> SigningKey:
    return replace(key, sealed=json.dumps({**json.loads(key.sealed), "name": name}).encode())

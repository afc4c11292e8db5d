import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests import rule
from tests.clouds import Cloud, GoogleKms
from watchword.adapters.keys_gcp import KINDS, GcpSettings, GcpSigner
from watchword.adapters.keys_gcp_account import token_of_account
from watchword.adapters.keys_gcp_checksum import crc32c
from watchword.adapters.outbound import OutboundTransport
from watchword.errors import CustodyUnavailable, Fault, NoSigningKey
from watchword.ports.keys import SigningKey
from watchword.protocol.jose import import_public_jwk, parse_compact, unverified_claims
from watchword.testing.clock import FrozenClock
from watchword.testing.process import free_port
from watchword.testing.records import NOON

RING = "projects/project/locations/europe-west1/keyRings/ring"


@pytest.fixture(scope="module")
def server() -> Iterator[GoogleKms]:
    with GoogleKms() as server:
        yield server


@pytest.fixture
def google(server: GoogleKms) -> Iterator[GoogleKms]:
    server.asked.clear()
    yield server
    server.refuses, server.lifetime = None, 3600
    server.spoils.clear()


@pytest.fixture(scope="module")
def transport() -> Iterator[OutboundTransport]:
    transport = OutboundTransport()
    yield transport
    transport.close()


@pytest.fixture
def signer(google: GoogleKms, transport: OutboundTransport, monkeypatch: pytest.MonkeyPatch) -> GcpSigner:
    monkeypatch.setattr("watchword.adapters.keys_gcp._PAUSE", 0.0)
    return GcpSigner(settings(google), transport)


def settings(google: Cloud, **more: object) -> GcpSettings:
    return replace(GcpSettings(key_ring=RING, url=google.url, metadata_url=google.url), **more)


def generate(signer: GcpSigner, algorithm: str = "ES256") -> SigningKey:
    return asyncio.run(signer.generate(algorithm, now=NOON))


def sign(signer: GcpSigner, key: SigningKey, message: bytes = b"message") -> bytes:
    signature = asyncio.run(signer.sign(key, message))
    import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    return signature


def refusal(signer: GcpSigner, key: SigningKey, kind: type[Fault]) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(signer.sign(key, b"message"))
    return caught.value.reason


def version_of(key: SigningKey) -> str:
    return str(json.loads(key.sealed)["version"])


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_the_checksum_is_that_of_rfc_3720(data: bytes, checksum: int) -> None:
    """Appendix B.4, and the check value of the catalogues."""
    assert crc32c(data) == checksum


@pytest.mark.parametrize("algorithm", list(KINDS))
def test_a_key_is_made_there_for_its_algorithm(google: GoogleKms, transport, signer, algorithm: str) -> None:
    key = generate(GcpSigner(settings(google, protection_level="HSM"), transport), algorithm)
    created = next(content for method, _, content in google.asked if method == "POST")
    assert created["versionTemplate"] == {"algorithm": KINDS[algorithm], "protectionLevel": "HSM"}
    sign(signer, key)


def test_a_service_account_signs_its_own_token(google: GoogleKms, transport, tmp_path: Path, signer) -> None:
    """It is checked by another library, for issuer, subject, audience and time."""
    key, account = generate(signer), rsa.generate_private_key(65537, 2048)
    google.account = account.public_key()
    pem = account.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    said = {"client_email": "watchword@project.iam.gserviceaccount.com", "private_key_id": "1", "private_key": pem}
    file = tmp_path / "account.json"
    file.write_text(json.dumps(said))
    google.asked.clear()
    sign(GcpSigner(settings(google, credentials_file=file), transport), key)
    assert [path for _, path, _ in google.asked] == [f"/v1/{version_of(key)}:asymmetricSign"]


@rule("K8")
@pytest.mark.parametrize(
    "text", [None, "", "{", "{}", '{"client_email": "a", "private_key_id": "1", "private_key": "x"}']
)
def test_without_a_key_of_its_account_it_is_denied(google, transport, signer, tmp_path, text: str | None) -> None:
    key, file = generate(signer), tmp_path / "account.json"
    if text is not None:
        file.write_text(text)
    nobody = GcpSigner(settings(google, credentials_file=file), transport)
    assert refusal(nobody, key, CustodyUnavailable) == "custody.denied"


def test_a_token_is_asked_for_once_and_again_when_it_is_not_taken(google: GoogleKms, transport, signer) -> None:
    key = generate(signer)

    async def use() -> int:
        other = GcpSigner(settings(google), transport)
        google.asked.clear()
        await asyncio.gather(*(other.sign(key, b"message") for _ in range(10)))
        google.tokens.clear()
        await other.sign(key, b"message")
        return sum(path.startswith("/computeMetadata") for _, path, _ in google.asked)

    assert asyncio.run(use()) == 2


@rule("K8")
@pytest.mark.parametrize(
    ("status", "error", "kind", "reason"),
    [
        (400, "INVALID_ARGUMENT", NoSigningKey, "keys.unfit"),
        (400, "FAILED_PRECONDITION", NoSigningKey, "keys.disabled"),
        (403, "PERMISSION_DENIED", CustodyUnavailable, "custody.denied"),
        (404, "NOT_FOUND", NoSigningKey, "keys.gone"),
        (429, "RESOURCE_EXHAUSTED", CustodyUnavailable, "custody.throttled"),
        (500, "INTERNAL", CustodyUnavailable, "custody.failed"),
        (503, "UNAVAILABLE", CustodyUnavailable, "custody.failed"),
        (504, "DEADLINE_EXCEEDED", CustodyUnavailable, "custody.timeout"),
    ],
)
def test_what_it_refuses_has_its_reason(
    google, signer, status: int, error: str, kind: type[Fault], reason: str
) -> None:
    key = generate(signer)
    google.refuses = (status, {"error": {"code": status, "status": error, "message": "no"}})
    assert refusal(signer, key, kind) == reason
    google.refuses = None
    sign(signer, key)


@rule("K8")
@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED", "DESTROY_SCHEDULED"])
def test_a_key_that_is_not_enabled_does_not_sign(google: GoogleKms, signer: GcpSigner, state: str) -> None:
    key = generate(signer)
    google.states[version_of(key)] = state
    assert refusal(signer, key, NoSigningKey) == "keys.disabled"


@rule("K8")
@pytest.mark.parametrize(
    "version",
    [
        "",
        "x",
        RING,
        f"{RING}/cryptoKeys/a/cryptoKeyVersions/1/../2",
        f"{RING}/cryptoKeys/a/cryptoKeyVersions/1?x=y",
        RING.replace("europe-west1", "us-east1") + "/cryptoKeys/a/cryptoKeyVersions/1",
    ],
)
def test_a_reference_that_leads_out_of_the_ring_is_not_followed(google, signer, version: str) -> None:
    key = replace(generate(signer), sealed=json.dumps({"version": version}).encode())
    google.asked.clear()
    assert refusal(signer, key, NoSigningKey) == "keys.reference"
    assert google.asked == []


@pytest.mark.parametrize(
    "spoilt",
    [
        {"signature": "AAAA"},
        {"signature": "no base64"},
        {"signature": ""},
        {"signatureCrc32c": "1"},
        {"signatureCrc32c": 1},
        {"verifiedDigestCrc32c": False},
        {"name": RING + "/cryptoKeys/other/cryptoKeyVersions/1"},
    ],
)
def test_an_answer_that_was_altered_is_refused(google: GoogleKms, signer: GcpSigner, spoilt: dict[str, object]) -> None:
    key = generate(signer)
    google.spoils = dict(spoilt)
    assert refusal(signer, key, CustodyUnavailable) == "custody.answer"
    google.spoils = {}
    sign(signer, key)


def test_a_new_key_whose_public_half_was_altered_is_refused(google: GoogleKms, signer: GcpSigner) -> None:
    google.spoils = {"pemCrc32c": "1"}
    with pytest.raises(CustodyUnavailable) as caught:
        generate(signer)
    assert caught.value.reason == "custody.answer"


@rule("K8")
def test_nobody_there_has_its_reason(google: GoogleKms, transport: OutboundTransport, signer: GcpSigner) -> None:
    key, nowhere = generate(signer), f"http://127.0.0.1:{free_port()}"
    for away in ({"url": nowhere}, {"metadata_url": nowhere}):
        assert refusal(GcpSigner(settings(google, **away), transport), key, CustodyUnavailable) == "custody.unreachable"


def test_an_account_is_judged_by_our_clock(google: GoogleKms, transport, tmp_path: Path) -> None:
    """The token lives for an hour from the time of this server."""
    account = rsa.generate_private_key(65537, 2048)
    pem = account.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = tmp_path / "account.json"
    file.write_text(json.dumps({"client_email": "a@b", "private_key_id": "1", "private_key": pem}))
    token = token_of_account(file, FrozenClock(NOON)).token
    claims = unverified_claims(parse_compact(token, typ="jwt"))
    assert (claims["iat"], claims["exp"]) == (int(NOON.timestamp()), int(NOON.timestamp()) + 3600)

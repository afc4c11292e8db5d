import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests import rule
from tests.forks import is_right_in_a_child, needs_fork
from tests.kms import CREDENTIALS, REGION, MotoKms
from watchword.adapters.keys_aws import KINDS, MOST_RAW, AwsSettings, AwsSigner
from watchword.errors import CustodyUnavailable, Fault, NoSigningKey
from watchword.ports.keys import SigningKey
from watchword.protocol.jose import import_public_jwk
from watchword.testing.process import free_port
from watchword.testing.records import NOON
from watchword.testing.tcp_proxy import Break, FaultProxy
from watchword.testing.tcp_proxy import Fault as NetworkFault


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[MotoKms, AwsSigner]]:
    with MotoKms() as moto, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        signer = AwsSigner(AwsSettings(region=REGION, endpoint_url=moto.url, attempts=1))
        yield moto, signer
        signer.close()


@pytest.fixture
def kms(moto: tuple[MotoKms, AwsSigner]) -> Iterator[MotoKms]:
    moto[0].asked.clear()
    yield moto[0]
    moto[0].refuses = ""


@pytest.fixture
def signer(moto: tuple[MotoKms, AwsSigner]) -> AwsSigner:
    return moto[1]


def generate(signer: AwsSigner, algorithm: str = "ES256") -> SigningKey:
    return asyncio.run(signer.generate(algorithm, now=NOON))


def sign(signer: AwsSigner, key: SigningKey, message: bytes = b"message") -> bytes:
    signature = asyncio.run(signer.sign(key, message))
    import_public_jwk(key.public_jwk, algorithm=key.algorithm).verify(signature, message)
    return signature


def refusal(signer: AwsSigner, key: SigningKey, kind: type[Fault]) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(signer.sign(key, b"message"))
    return caught.value.reason


def arn_of(key: SigningKey) -> str:
    return str(json.loads(key.sealed)["arn"])


def asked(kms: MotoKms, action: str) -> Mapping[str, object]:
    """Return the parameters of the one request of this kind."""
    (parameters,) = [parameters for asked, parameters in kms.asked if asked == action]
    return parameters


@pytest.mark.parametrize(
    ("algorithm", "spec"),
    [("ES256", "ECC_NIST_P256"), ("ES384", "ECC_NIST_P384"), ("PS256", "RSA_3072"), ("RS256", "RSA_3072")],
)
def test_a_key_is_made_there_for_signing_only(kms: MotoKms, signer: AwsSigner, algorithm: str, spec: str) -> None:
    key = generate(signer, algorithm)
    made = asked(kms, "CreateKey")
    assert (made["KeySpec"], made["KeyUsage"]) == (spec, "SIGN_VERIFY")
    assert asked(kms, "GetPublicKey") == {"KeyId": arn_of(key)}
    sign(signer, key)


@pytest.mark.parametrize(
    ("algorithm", "name", "hashed"),
    [
        ("ES256", "ECDSA_SHA_256", hashlib.sha256),
        ("ES384", "ECDSA_SHA_384", hashlib.sha384),
        ("PS256", "RSASSA_PSS_SHA_256", hashlib.sha256),
        ("RS256", "RSASSA_PKCS1_V1_5_SHA_256", hashlib.sha256),
    ],
)
def test_a_message_is_sent_up_to_4096_bytes_and_above_that_its_hash(kms, signer, algorithm, name, hashed) -> None:
    """moto ignores MessageType, so a wrong hash of the right length would go unseen there: what is sent is what counts."""
    key = generate(signer, algorithm)
    for message, kind, content in (
        (b"m", "RAW", b"m"),
        (b"m" * MOST_RAW, "RAW", b"m" * MOST_RAW),
        (b"m" * (MOST_RAW + 1), "DIGEST", hashed(b"m" * (MOST_RAW + 1)).digest()),
    ):
        kms.asked.clear()
        sign(signer, key, message)
        assert asked(kms, "Sign") == {
            "KeyId": arn_of(key),
            "Message": base64.b64encode(content).decode(),
            "MessageType": kind,
            "SigningAlgorithm": name,
        }


def test_an_ed25519_key_signs_the_message_itself_and_none_that_is_longer(signer: AwsSigner) -> None:
    """Against the published shapes: moto has no such keys."""
    private = ed25519.Ed25519PrivateKey.generate()
    der = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    arn = f"arn:aws:kms:{REGION}:123456789012:key/0123"
    stubber = Stubber(signer._kms())
    made = {"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"}
    made |= {"Description": "watchword signing key, Ed25519"}
    stubber.add_response("create_key", {"KeyMetadata": {"KeyId": "0123", "Arn": arn}}, made)
    stubber.add_response("get_public_key", {"PublicKey": der}, {"KeyId": arn})
    asked = {"KeyId": arn, "SigningAlgorithm": "ED25519_SHA_512", "Message": b"message", "MessageType": "RAW"}
    stubber.add_response("sign", {"Signature": private.sign(b"message")}, asked)
    with stubber:
        key = generate(signer, "Ed25519")
        sign(signer, key)
        with pytest.raises(NoSigningKey) as caught:
            asyncio.run(signer.sign(key, b"m" * 4097))
    assert caught.value.reason == "keys.too_long"


@rule("K8")
@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("ThrottlingException", CustodyUnavailable, "custody.throttled"),
        ("LimitExceededException", CustodyUnavailable, "custody.throttled"),
        ("AccessDeniedException", CustodyUnavailable, "custody.denied"),
        ("UnrecognizedClientException", CustodyUnavailable, "custody.denied"),
        ("ExpiredTokenException", CustodyUnavailable, "custody.denied"),
        ("KMSInternalException", CustodyUnavailable, "custody.failed"),
        ("DependencyTimeoutException", CustodyUnavailable, "custody.failed"),
        ("KeyUnavailableException", CustodyUnavailable, "custody.failed"),
        ("AnythingNew", CustodyUnavailable, "custody.failed"),
        ("DisabledException", NoSigningKey, "keys.disabled"),
        ("KMSInvalidStateException", NoSigningKey, "keys.disabled"),
        ("NotFoundException", NoSigningKey, "keys.gone"),
        ("InvalidKeyUsageException", NoSigningKey, "keys.unfit"),
        ("ValidationException", NoSigningKey, "keys.unfit"),
    ],
)
def test_what_it_refuses_has_its_reason(kms, signer, code: str, kind: type[Fault], reason: str) -> None:
    key = generate(signer)
    kms.refuses = code
    assert refusal(signer, key, kind) == reason
    kms.refuses = ""
    sign(signer, key)


@rule("K8")
def test_a_key_that_is_disabled_deleted_or_gone_does_not_sign(kms: MotoKms, signer: AwsSigner) -> None:
    key = generate(signer)
    kms.key(arn_of(key)).enabled = False
    assert refusal(signer, key, NoSigningKey) == "keys.disabled"
    kms.key(arn_of(key)).enabled = True
    kms.key(arn_of(key)).key_state = "PendingDeletion"
    assert refusal(signer, key, NoSigningKey) == "keys.disabled"
    kms.key(arn_of(key)).key_state = "Enabled"
    sign(signer, key)
    elsewhere = arn_of(key)[:-1] + ("0" if arn_of(key)[-1] != "0" else "1")
    assert refusal(signer, replace(key, sealed=json.dumps({"arn": elsewhere}).encode()), NoSigningKey) == "keys.gone"


@rule("K8")
def test_a_key_of_another_region_is_not_asked_for(kms: MotoKms, signer: AwsSigner) -> None:
    key = generate(signer)
    kms.asked.clear()
    other = replace(key, sealed=key.sealed.replace(b"eu-west-1", b"us-east-1"))
    assert refusal(signer, other, NoSigningKey) == "keys.region"
    assert kms.asked == []


@pytest.mark.parametrize("arn", ["", "alias/mine", "arn:aws:kms:eu-west-1:123456789012:alias/x", "arn:aws:s3:::bucket"])
def test_a_reference_to_something_else_is_refused(signer: AwsSigner, arn: str) -> None:
    key = replace(generate(signer), sealed=json.dumps({"arn": arn}).encode())
    assert refusal(signer, key, NoSigningKey) == "keys.reference"


@rule("K8")
def test_nobody_there_a_reset_and_silence_have_their_reasons(kms: MotoKms, signer: AwsSigner) -> None:
    key = generate(signer)
    settings = AwsSettings(region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}", attempts=1)
    assert refusal(AwsSigner(settings), key, CustodyUnavailable) == "custody.unreachable"
    with FaultProxy("127.0.0.1", kms.port) as proxy:
        through = AwsSigner(
            AwsSettings(
                region=REGION,
                endpoint_url=f"http://127.0.0.1:{proxy.port}",
                attempts=1,
                read_timeout=timedelta(seconds=0.3),
            )
        )
        sign(through, key)
        proxy.impose(NetworkFault(breaks=Break.RESET))
        assert refusal(through, key, CustodyUnavailable) == "custody.unreachable"
        proxy.impose(NetworkFault(latency=2))
        assert refusal(through, key, CustodyUnavailable) == "custody.timeout"
        proxy.heal()
        sign(through, key)


def test_it_tries_again_as_often_as_it_is_told(kms: MotoKms, signer: AwsSigner) -> None:
    key = generate(signer)
    patient = AwsSigner(AwsSettings(region=REGION, endpoint_url=kms.url, attempts=2))
    kms.refuses = "ThrottlingException"
    kms.asked.clear()
    assert refusal(patient, key, CustodyUnavailable) == "custody.throttled"
    assert [action for action, _ in kms.asked] == ["Sign", "Sign"]


def test_without_credentials_it_says_so(kms: MotoKms, signer: AwsSigner, monkeypatch, tmp_path) -> None:
    key = generate(signer)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    nobody = AwsSigner(AwsSettings(region=REGION, endpoint_url=kms.url))
    assert refusal(nobody, key, CustodyUnavailable) == "custody.denied"


@pytest.mark.parametrize("answer", [{}, {"Signature": b"no DER"}, {"Signature": b"\x30\x06\x02\x01\x01\x02\x01"}])
def test_an_answer_that_is_none_is_refused(signer: AwsSigner, answer: Mapping[str, object]) -> None:
    key = generate(signer)
    expected = {"KeyId": arn_of(key), "SigningAlgorithm": "ECDSA_SHA_256", "Message": b"message", "MessageType": "RAW"}
    with Stubber(signer._kms()) as stubber:
        stubber.add_response("sign", answer, expected)
        assert refusal(signer, key, CustodyUnavailable) == "custody.answer"


@rule("O15")
@needs_fork
def test_a_forked_child_makes_connections_and_threads_of_its_own(signer: AwsSigner) -> None:
    key = generate(signer)
    sign(signer, key)
    assert is_right_in_a_child(lambda: len(sign(signer, key)) == 64, held=[signer._lock])
    sign(signer, key)


def test_every_algorithm_has_a_kind() -> None:
    assert set(KINDS) == {"ES256", "ES384", "Ed25519", "PS256", "RS256"}

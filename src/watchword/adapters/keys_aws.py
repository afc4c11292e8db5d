"""Signing keys in AWS KMS: made there, never seen here. Implements ``ports.keys.Signer`` on boto3 (extra ``aws``).

The reference in ``SigningKey.sealed`` is the key's ARN. Who may use it is said by boto3's own chain: environment, profile,
web identity, the role of the machine.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from watchword import forking
from watchword.adapters.keys_aws_failures import translated
from watchword.adapters.keys_remote import check_supported, new_key, read_reference, refuse_answer
from watchword.errors import BadSettings, NoSigningKey
from watchword.ports.keys import SigningKey
from watchword.protocol import names
from watchword.protocol.algorithms import WrongSignature
from watchword.protocol.custody import digest, own_jwk_of_der, raw_signature
from watchword.protocol.jose import InvalidKey

if TYPE_CHECKING:
    from botocore.config import Config  # type: ignore[import-untyped]  # it has no types

MOST_RAW: Final = 4096
"""Bytes of a message that AWS KMS hashes itself; of a longer one it is given the hash."""

_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,256}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kind:
    key_spec: str
    signing_algorithm: str


KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        names.ES256: _Kind("ECC_NIST_P256", "ECDSA_SHA_256"),
        names.ES384: _Kind("ECC_NIST_P384", "ECDSA_SHA_384"),
        names.ED25519: _Kind("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
        names.PS256: _Kind("RSA_3072", "RSASSA_PSS_SHA_256"),
        names.RS256: _Kind("RSA_3072", "RSASSA_PKCS1_V1_5_SHA_256"),
    }
)
"""What AWS KMS calls the keys and signatures of each algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """``endpoint_url`` is for an endpoint of one's own (VPC), else the region's. Both times are those of one attempt."""

    region: str
    endpoint_url: str | None = None
    connect_timeout: timedelta = timedelta(seconds=1)
    read_timeout: timedelta = timedelta(seconds=2)
    attempts: int = 2
    threads: int = 16


class Kms(Protocol):
    """What of boto3's client is used here."""

    def create_key(self, **parameters: object) -> Mapping[str, object]:
        """Make a key."""
        ...

    def get_public_key(self, **parameters: object) -> Mapping[str, object]:
        """Return the public half."""
        ...

    def sign(self, **parameters: object) -> Mapping[str, object]:
        """Return a signature."""
        ...


class AwsSigner:
    """boto3 blocks, so it works in threads of its own, as many as it keeps connections; a forked child makes new ones."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Kms | None = None
        self._threads: ThreadPoolExecutor | None = None
        forking.register(self)

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key there, whose use is to sign and verify, and fetch its public half."""
        check_supported(algorithm, KINDS, "AWS KMS")
        arn, jwk = await self._run(lambda: self._create(algorithm))
        return new_key(algorithm, jwk, {"arn": arn}, now=now)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Have the message signed there: itself where it is short enough, else its hash."""
        check_supported(key.algorithm, KINDS, "AWS KMS")
        (arn,) = read_reference(key, "arn")
        self._check_arn(key, arn)
        return await self._run(lambda: self._sign(key, arn, message))

    def close(self) -> None:
        """Let the threads go. Idempotent; the next use makes new ones."""
        with self._lock:
            threads, self._threads, self._client = self._threads, None, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def renew_after_fork(self) -> None:
        """Leave the parent's threads and connections to the parent."""
        self._lock, self._threads, self._client = threading.Lock(), None, None

    async def _run(self, call: Callable[[], _T]) -> _T:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="watchword-kms")
            threads = self._threads
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    def _create(self, algorithm: str) -> tuple[str, dict[str, str]]:
        with translated(self._settings.region):
            client = self._kms()
            made = client.create_key(
                KeySpec=KINDS[algorithm].key_spec,
                KeyUsage="SIGN_VERIFY",
                Description=f"watchword signing key, {algorithm}",
            )
            metadata = made.get("KeyMetadata")
            arn = metadata.get("Arn") if isinstance(metadata, Mapping) else None
            if not isinstance(arn, str):
                refuse_answer("a new key of AWS KMS has no ARN")
            der = client.get_public_key(KeyId=arn).get("PublicKey")
        try:
            return arn, own_jwk_of_der(der if isinstance(der, bytes) else b"", algorithm)
        except InvalidKey as error:
            refuse_answer(f"the public half of {arn} cannot be used: {error.reason}", error)

    def _sign(self, key: SigningKey, arn: str, message: bytes) -> bytes:
        content: dict[str, object] = {"Message": message, "MessageType": "RAW"}
        if not 1 <= len(message) <= MOST_RAW:
            content = {"Message": _digest(key, message), "MessageType": "DIGEST"}
        with translated(self._settings.region):
            answer = self._kms().sign(KeyId=arn, SigningAlgorithm=KINDS[key.algorithm].signing_algorithm, **content)
        signature = answer.get("Signature")
        if not isinstance(signature, bytes):
            refuse_answer("an answer of AWS KMS has no signature")
        return _to_jws(signature, key)

    def _check_arn(self, key: SigningKey, arn: str) -> None:
        match = _ARN.fullmatch(arn)
        if match is None:
            raise NoSigningKey("keys.reference", detail=f"the reference of key {key.kid} is no ARN of AWS KMS")
        if match[1] != self._settings.region:
            detail = f"key {key.kid} is in {match[1]}, and this server asks {self._settings.region}"
            raise NoSigningKey("keys.region", detail=detail)

    def _kms(self) -> Kms:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._settings)
            return self._client


def _digest(key: SigningKey, message: bytes) -> bytes:
    try:
        return digest(key.algorithm, message)
    except InvalidKey as error:
        detail = f"AWS KMS signs at most {MOST_RAW} bytes with {key.algorithm}"
        raise NoSigningKey("keys.too_long", detail=detail) from error


def _to_jws(signature: bytes, key: SigningKey) -> bytes:
    if not key.algorithm.startswith("ES"):
        return signature
    try:
        return raw_signature(signature, key.algorithm)
    except WrongSignature as error:
        refuse_answer("an ECDSA signature of AWS KMS is not in DER", error)


def _connect(settings: AwsSettings) -> Kms:
    """Return a client of its own session: boto3's default one is not safe to make in threads."""
    try:
        import boto3  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise BadSettings("settings.custody", detail="AWS KMS needs boto3: pip install 'watchword[aws]'.") from error
    session = boto3.session.Session()
    client: Kms = session.client(
        "kms", region_name=settings.region, endpoint_url=settings.endpoint_url, config=_config(settings)
    )
    return client


def _config(settings: AwsSettings) -> Config:
    from botocore.config import Config

    return Config(
        connect_timeout=settings.connect_timeout.total_seconds(),
        read_timeout=settings.read_timeout.total_seconds(),
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        max_pool_connections=settings.threads,
        tcp_keepalive=True,
        user_agent_extra="watchword",
    )

"""Signing keys in Google Cloud KMS: made there, never seen here. ``ports.keys.Signer`` over its REST interface, version 1.

The reference in ``SigningKey.sealed`` is the name of the key's version.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from watchword.adapters.keys_bearer import BearerTokens, Lent
from watchword.adapters.keys_gcp_account import token_of_account, token_of_machine
from watchword.adapters.keys_gcp_checksum import crc32c
from watchword.adapters.keys_http import Answer, ask, from_base64, member, refuse, text_member
from watchword.adapters.keys_remote import check_supported, new_key, read_reference, refuse_answer
from watchword.clock import Clock, system_clock
from watchword.errors import NoSigningKey
from watchword.ports.http import Transport
from watchword.ports.keys import SigningKey
from watchword.protocol import names
from watchword.protocol.algorithms import WrongSignature
from watchword.protocol.custody import DIGESTS, digest, own_jwk_of_pem, raw_signature
from watchword.protocol.jose import InvalidKey

CUSTODY: Final = "Google Cloud KMS"
METADATA: Final = "http://169.254.169.254"

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        names.ES256: "EC_SIGN_P256_SHA256",
        names.ES384: "EC_SIGN_P384_SHA384",
        names.ED25519: "EC_SIGN_ED25519",
        names.PS256: "RSA_SIGN_PSS_3072_SHA256",
        names.RS256: "RSA_SIGN_PKCS1_3072_SHA256",
    }
)
"""What it calls the keys of each algorithm."""

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "keys.unfit",
        401: "custody.denied",
        403: "custody.denied",
        404: "keys.gone",
        429: "custody.throttled",
        504: "custody.timeout",
    }
)
_VERSION: Final = re.compile(
    r"(projects/[^/?#%]+/locations/[^/?#%]+/keyRings/[^/?#%]+)/cryptoKeys/[A-Za-z0-9_-]{1,63}/cryptoKeyVersions/[0-9]{1,9}"
)
_TRIES: Final = 100
_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpSettings:
    """``key_ring`` is ``projects/…/locations/…/keyRings/…``. Without ``credentials_file`` the machine's own account is used."""

    key_ring: str
    credentials_file: Path | None = None
    protection_level: Literal["SOFTWARE", "HSM"] = "SOFTWARE"
    url: str = "https://cloudkms.googleapis.com"
    metadata_url: str = METADATA


class GcpSigner:
    """Hashes are sent, with their checksums, and checksums come back with what is signed; Ed25519 signs the message itself."""

    def __init__(self, settings: GcpSettings, transport: Transport, *, clock: Clock = system_clock) -> None:
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._tokens = BearerTokens(self._fetch_token)

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in the key ring, wait until it is there, and fetch its public half."""
        check_supported(algorithm, KINDS, CUSTODY)
        name = f"watchword-{algorithm.lower()}-{secrets.token_hex(8)}"
        template = {"algorithm": KINDS[algorithm], "protectionLevel": self._settings.protection_level}
        wanted = {"purpose": "ASYMMETRIC_SIGN", "versionTemplate": template}
        await self._ask("POST", f"{self._settings.key_ring}/cryptoKeys?cryptoKeyId={name}", wanted)
        version = f"{self._settings.key_ring}/cryptoKeys/{name}/cryptoKeyVersions/1"
        await self._wait_for(version)
        public = await self._ask("GET", f"{version}/publicKey")
        pem = text_member(CUSTODY, public.content, "pem")
        self._check_crc(public, "pemCrc32c", pem.encode())
        try:
            jwk = own_jwk_of_pem(pem, algorithm)
        except InvalidKey as error:
            refuse_answer(f"the public half of {version} cannot be used: {error.reason}", error)
        return new_key(algorithm, jwk, {"version": version}, now=now)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Have the hash signed there; of Ed25519 the message."""
        check_supported(key.algorithm, KINDS, CUSTODY)
        (version,) = read_reference(key, "version")
        match = _VERSION.fullmatch(version)
        if match is None or match[1] != self._settings.key_ring:
            detail = f"the reference of key {key.kid} does not lead into {self._settings.key_ring}"
            raise NoSigningKey("keys.reference", detail=detail)
        answer = await self._ask("POST", f"{version}:asymmetricSign", _to_sign(key.algorithm, message))
        if member(answer.content, "name") != version:
            refuse_answer(f"{CUSTODY} has signed with another key")
        is_hash = key.algorithm in DIGESTS
        if member(answer.content, "verifiedDigestCrc32c" if is_hash else "verifiedDataCrc32c") is not True:
            refuse_answer(f"{CUSTODY} did not get what was sent")
        try:
            signature = from_base64(text_member(CUSTODY, answer.content, "signature"))
            self._check_crc(answer, "signatureCrc32c", signature)
            return raw_signature(signature, key.algorithm) if key.algorithm.startswith("ES") else signature
        except (ValueError, WrongSignature) as error:
            refuse_answer(f"a signature of {CUSTODY} is in another form", error)

    async def _wait_for(self, version: str) -> None:
        """A key in hardware takes some seconds to be made."""
        for _ in range(_TRIES):
            state = member((await self._ask("GET", version)).content, "state")
            if state == "ENABLED":
                return
            if state != "PENDING_GENERATION":
                refuse_answer(f"the new key {version} is {state}")
            await asyncio.sleep(_PAUSE)
        refuse_answer(f"the new key {version} does not come into being")

    async def _ask(self, method: str, path: str, content: Mapping[str, object] | None = None) -> Answer:
        answer = await self._ask_once(method, path, content)
        if answer.status == 401:
            self._tokens.forget()
            answer = await self._ask_once(method, path, content)
        if not answer.is_good:
            is_state = answer.status == 400 and member(answer.content, "error", "status") == "FAILED_PRECONDITION"
            raise refuse(CUSTODY, answer, {400: "keys.disabled"} if is_state else _REASONS)
        return answer

    async def _ask_once(self, method: str, path: str, content: Mapping[str, object] | None) -> Answer:
        url = f"{self._settings.url}/v1/{path}"
        return await ask(self._transport, CUSTODY, method, url, await self._tokens.headers(), content)

    async def _fetch_token(self) -> Lent:
        if self._settings.credentials_file is not None:
            return token_of_account(self._settings.credentials_file, self._clock)
        return await token_of_machine(self._transport, self._settings.metadata_url)

    @staticmethod
    def _check_crc(answer: Answer, name: str, data: bytes) -> None:
        if member(answer.content, name) != str(crc32c(data)):
            refuse_answer(f"an answer of {CUSTODY} was altered on the way: {name}")


def _to_sign(algorithm: str, message: bytes) -> dict[str, object]:
    """Return the request: 64-bit numbers are text in its JSON."""
    if algorithm not in DIGESTS:
        return {"data": base64.b64encode(message).decode(), "dataCrc32c": str(crc32c(message))}
    hashed = digest(algorithm, message)
    named = {DIGESTS[algorithm]: base64.b64encode(hashed).decode()}
    return {"digest": named, "digestCrc32c": str(crc32c(hashed))}

"""Signing keys in the transit engine of OpenBao or HashiCorp Vault: made there, never seen here. ``ports.keys.Signer`` over HTTP.

The reference in ``SigningKey.sealed`` names mount, key and version: what others do to the key in the engine, as rotating it,
does not change what signs.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from watchword.adapters.keys_http import Answer, ask, from_base64, member, refuse, text_member
from watchword.adapters.keys_remote import check_supported, new_key, read_reference, refuse_answer
from watchword.adapters.keys_vault_token import VaultToken
from watchword.errors import NoSigningKey
from watchword.ports.http import Transport
from watchword.ports.keys import SigningKey
from watchword.protocol import names
from watchword.protocol.custody import own_jwk, own_jwk_of_pem
from watchword.protocol.jose import InvalidKey, b64url_decode, b64url_encode

CUSTODY: Final = "the transit engine"

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {403: "custody.denied", 404: "keys.gone", 405: "custody.failed", 429: "custody.throttled", 503: "custody.failed"}
)
_SAYINGS: Final = (
    ("signing key not found", "keys.gone"),
    ("encryption key not found", "keys.gone"),
    ("version for signing is", "keys.gone"),
    ("cannot sign with key version", "keys.gone"),
    ("soft deleted", "keys.disabled"),
    ("soft-deleted", "keys.disabled"),
    ("does not support signing", "keys.unfit"),
    ("not supported for key type", "keys.unfit"),
)
"""What the engine says of a key, whatever the status: it has none of its own for that."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOUNT: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class _Kind:
    type: str
    options: Mapping[str, str]
    is_base64url: bool = False


KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        names.ES256: _Kind("ecdsa-p256", {"hash_algorithm": "sha2-256", "marshaling_algorithm": "jws"}, True),
        names.ES384: _Kind("ecdsa-p384", {"hash_algorithm": "sha2-384", "marshaling_algorithm": "jws"}, True),
        names.ED25519: _Kind("ed25519", {}),
        names.PS256: _Kind(
            "rsa-3072", {"hash_algorithm": "sha2-256", "signature_algorithm": "pss", "salt_length": "hash"}
        ),
        names.RS256: _Kind("rsa-3072", {"hash_algorithm": "sha2-256", "signature_algorithm": "pkcs1v15"}),
    }
)
"""What the engine calls the keys of each algorithm, and how it is to sign with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """``url`` is where the server is, ``mount`` the path of its transit engine, ``namespace`` that of both, if any."""

    url: str
    token_file: Path
    mount: str = "transit"
    namespace: str = ""


class VaultSigner:
    """Every message is sent as it is, and hashed there: the server's own rules of what may be signed see all of it."""

    def __init__(self, settings: VaultSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._token = VaultToken(settings.token_file, self._send)

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key there that can be neither exported nor backed up in the clear, and fetch its public half."""
        check_supported(algorithm, KINDS, CUSTODY)
        name = f"watchword-{algorithm.lower()}-{secrets.token_hex(8)}"
        path = f"{self._settings.mount}/keys/{name}"
        wanted = {"type": KINDS[algorithm].type, "exportable": False, "allow_plaintext_backup": False, "derived": False}
        await self._ask("POST", path, wanted)
        data = member((await self._ask("GET", path)).content, "data")
        if not isinstance(data, Mapping) or data.get("exportable") or data.get("allow_plaintext_backup"):
            refuse_answer(f"{CUSTODY} does not say of {name} that it stays there")
        version = str(data.get("latest_version"))
        public = text_member(CUSTODY, data, "keys", version, "public_key")
        try:
            jwk = _own_jwk(public, algorithm)
        except (InvalidKey, ValueError) as error:
            refuse_answer(f"the public half of {name} cannot be used: {error}", error)
        return new_key(algorithm, jwk, {"mount": self._settings.mount, "name": name, "version": version}, now=now)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Have the message signed there, by this version of the key."""
        check_supported(key.algorithm, KINDS, CUSTODY)
        mount, name, version = read_reference(key, "mount", "name", "version")
        if not (_MOUNT.fullmatch(mount) and _NAME.fullmatch(name) and _VERSION.fullmatch(version)):
            raise NoSigningKey("keys.reference", detail=f"the reference of key {key.kid} names nothing in {CUSTODY}")
        kind = KINDS[key.algorithm]
        wanted = {"input": base64.b64encode(message).decode(), "key_version": int(version), "prehashed": False}
        answer = await self._ask("POST", f"{mount}/sign/{name}", {**wanted, **kind.options})
        return _signature(text_member(CUSTODY, answer.content, "data", "signature"), version, kind)

    def close(self) -> None:
        """End what is under way. Idempotent; the next use begins anew."""
        self._token.stop()

    async def _ask(self, method: str, path: str, content: Mapping[str, object] | None = None) -> Answer:
        """Ask, once more with the token that is in the file by then where the first is not taken any more."""
        token = self._token.read()
        answer = await self._send(method, path, token, content)
        if answer.status == 403:
            self._token.forget()
            newer = self._token.read()
            if newer != token:
                answer = await self._send(method, path, newer, content)
        if not answer.is_good:
            raise _fault(answer)
        self._token.renew_in_time()
        return answer

    async def _send(self, method: str, path: str, token: str, content: Mapping[str, object] | None = None) -> Answer:
        headers = {"x-vault-token": token, "x-vault-request": "true"}
        if self._settings.namespace:
            headers["x-vault-namespace"] = self._settings.namespace
        url = f"{self._settings.url.rstrip('/')}/v1/{path}"
        return await ask(self._transport, CUSTODY, method, url, headers, content)


def _fault(answer: Answer) -> Exception:
    for saying, reason in _SAYINGS:
        if saying in answer.text:
            return refuse(CUSTODY, answer, {answer.status: reason})
    return refuse(CUSTODY, answer, _REASONS)


def _own_jwk(public: str, algorithm: str) -> dict[str, str]:
    """Return the JWK of a public half: PEM, but the bare point for Ed25519."""
    if algorithm != names.ED25519:
        return own_jwk_of_pem(public, algorithm)
    x = b64url_encode(from_base64(public)).decode()
    return own_jwk({"kty": "OKP", "crv": "Ed25519", "x": x}, algorithm)


def _signature(text: str, version: str, kind: _Kind) -> bytes:
    """Return what stands behind the prefix ``vault:v1:``, if it is of this version.

    Raises:
        CustodyUnavailable: custody.answer.
    """
    _, marked, encoded = text.rpartition(f":v{version}:")
    if not marked:
        refuse_answer(f"{CUSTODY} has signed with another version than {version}")
    try:
        return b64url_decode(encoded.encode("ascii")) if kind.is_base64url else from_base64(encoded)
    except ValueError as error:
        refuse_answer(f"a signature of {CUSTODY} is not in base64", error)

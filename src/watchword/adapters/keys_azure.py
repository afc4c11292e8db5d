"""Signing keys in Azure Key Vault or Managed HSM: made there, never seen here. ``ports.keys.Signer`` over REST, version 7.4.

The reference in ``SigningKey.sealed`` is the key's identifier there: vault, name and version.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from watchword.adapters.keys_azure_identity import AzureIdentity
from watchword.adapters.keys_bearer import BearerTokens, Lent
from watchword.adapters.keys_http import Answer, ask, member, refuse, text_member
from watchword.adapters.keys_remote import check_supported, new_key, read_reference, refuse_answer
from watchword.errors import NoSigningKey
from watchword.ports.http import Transport
from watchword.ports.keys import SigningKey
from watchword.protocol import names
from watchword.protocol.custody import digest, own_jwk
from watchword.protocol.jose import InvalidKey, b64url_decode, b64url_encode

CUSTODY: Final = "Azure Key Vault"
_VERSION: Final = "api-version=7.4"

KINDS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        names.ES256: {"kty": "EC", "crv": "P-256"},
        names.ES384: {"kty": "EC", "crv": "P-384"},
        names.PS256: {"kty": "RSA", "key_size": 3072},
        names.RS256: {"kty": "RSA", "key_size": 3072},
    }
)
"""What it calls the keys of each algorithm; it has none for Ed25519."""

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "keys.unfit",
        401: "custody.denied",
        403: "custody.denied",
        404: "keys.gone",
        408: "custody.timeout",
        409: "keys.gone",
        429: "custody.throttled",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """``url`` is the vault's. ``in_hardware``: keys of the kinds that Azure calls EC-HSM and RSA-HSM."""

    url: str
    identity: AzureIdentity = field(default_factory=AzureIdentity)
    in_hardware: bool = False

    @property
    def resource(self) -> str:
        """What the token must be for: the service of which this vault is one."""
        return "https://" + self.url.partition("://")[2].partition("/")[0].partition(".")[2]


class AzureSigner:
    """Hashes are sent; what comes back has the form of JWS already."""

    def __init__(self, settings: AzureSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._tokens = BearerTokens(self._fetch_token)

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        """Make a key in the vault that may sign and verify, and nothing else."""
        check_supported(algorithm, KINDS, CUSTODY)
        kind = KINDS[algorithm]
        kty = f"{kind['kty']}-HSM" if self._settings.in_hardware else kind["kty"]
        wanted = {**kind, "kty": kty, "key_ops": ["sign", "verify"], "attributes": {"enabled": True}}
        name = f"watchword-{algorithm.lower()}-{secrets.token_hex(8)}"
        answer = await self._ask("POST", f"{self._settings.url}/keys/{name}/create", wanted)
        said = member(answer.content, "key")
        identifier = text_member(CUSTODY, answer.content, "key", "kid")
        if not isinstance(said, Mapping) or not self._is_ours(identifier):
            refuse_answer(f"{CUSTODY} says of the new key {name} that it is elsewhere")
        try:
            jwk = own_jwk({**said, "kty": str(said.get("kty")).removesuffix("-HSM")}, algorithm)
        except InvalidKey as error:
            refuse_answer(f"the public half of {identifier} cannot be used: {error.reason}", error)
        return new_key(algorithm, jwk, {"key": identifier}, now=now)

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        """Have the hash signed there, by this version of the key."""
        check_supported(key.algorithm, KINDS, CUSTODY)
        (identifier,) = read_reference(key, "key")
        if not self._is_ours(identifier):
            raise NoSigningKey("keys.reference", detail=f"the reference of key {key.kid} leads into another vault")
        hashed = b64url_encode(digest(key.algorithm, message)).decode()
        answer = await self._ask("POST", f"{identifier}/sign", {"alg": key.algorithm, "value": hashed})
        if member(answer.content, "kid") != identifier:
            refuse_answer(f"{CUSTODY} has signed with another key")
        try:
            return b64url_decode(text_member(CUSTODY, answer.content, "value").encode())
        except ValueError as error:
            refuse_answer(f"a signature of {CUSTODY} is not in base64url", error)

    def _is_ours(self, identifier: str) -> bool:
        """The token goes to nobody but the vault of the settings."""
        return (
            re.fullmatch(re.escape(self._settings.url) + "/keys/[A-Za-z0-9-]{1,127}/[0-9a-f]{32}", identifier)
            is not None
        )

    async def _ask(self, method: str, url: str, content: Mapping[str, object]) -> Answer:
        answer = await self._ask_once(method, url, content)
        if answer.status == 401:
            self._tokens.forget()
            answer = await self._ask_once(method, url, content)
        if not answer.is_good:
            inner = {member(answer.content, "error", name, "code") for name in ("innererror", "innerError")}
            is_disabled = "KeyDisabled" in inner
            raise refuse(CUSTODY, answer, {403: "keys.disabled"} if is_disabled else _REASONS)
        return answer

    async def _ask_once(self, method: str, url: str, content: Mapping[str, object]) -> Answer:
        headers = await self._tokens.headers()
        return await ask(self._transport, CUSTODY, method, f"{url}?{_VERSION}", headers, content)

    async def _fetch_token(self) -> Lent:
        return await self._settings.identity.token(self._transport, self._settings.resource)

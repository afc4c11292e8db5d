"""Tokens of this server, judged by this server: by its own keys, and by all that is registered and revoked at this moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from watchword.errors import InvalidToken
from watchword.ports.agents import Registration, Resource
from watchword.protocol import names
from watchword.protocol.access_token import MAX_LEEWAY, AccessToken, check_expiry, parse_access_token, read_own_token
from watchword.server.registrations import Registrations
from watchword.server.revocations import LiveRevocations
from watchword.server.signing_keys import SigningKeys

_ALGORITHMS: Final = frozenset(names.SIGNING_ALGORITHMS)


@dataclass(frozen=True, slots=True)
class OwnToken:
    """A token that this server made and that has not expired. ``kid`` names the key that signed it."""

    token: AccessToken = field(repr=False)
    kid: str


class OwnTokens:
    """Reads tokens and says whether they are any good now. Nothing here is remembered of any of them."""

    def __init__(
        self, issuer: str, keys: SigningKeys, registrations: Registrations, revocations: LiveRevocations
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._registrations = registrations
        self._revocations = revocations

    async def read(self, text: str, now: datetime) -> OwnToken:
        """Return the token if it is one of ours, and its time is not over; a cut-off may have put its begin a little ahead.

        Raises:
            InvalidToken: as ``check_access_token``; token.unknown_key.
            StoreUnavailable
        """
        unverified = parse_access_token(text)
        kid = str(unverified.header[names.KID])
        key = (await self._keys.key_set()).find(kid, str(unverified.header[names.ALG]))
        if key is None:
            raise InvalidToken("token.unknown_key")
        token = read_own_token(unverified, key=key, issuer=self._issuer, algorithms=_ALGORITHMS)
        check_expiry(token, now=now, leeway=MAX_LEEWAY)
        if now >= token.expires_at:
            raise InvalidToken("token.expired")
        return OwnToken(token, kid)

    async def is_revoked(self, own: OwnToken) -> bool:
        """Tell whether anything that is revoked hits it.

        Raises:
            StoreUnavailable
        """
        return (await self._revocations.current()).hit(own.token.claims, own.kid) is not None

    async def confirm(self, own: OwnToken, now: datetime) -> Resource:
        """Return the resource that the token is for, if it would be issued still, state read now.

        Raises:
            InvalidToken: token.revoked, token.agent, token.credential, token.permission
            StoreUnavailable
        """
        if await self.is_revoked(own):
            raise InvalidToken("token.revoked")
        token = own.token
        basis = await self._registrations.find(token.client_id)
        if basis is None or not basis.registration.agent.is_usable(now):
            raise InvalidToken("token.agent")
        used = token.claims.get(names.CREDENTIAL_ID)
        credentials = basis.registration.credentials
        if used is not None and not any(one.id == used and one.is_usable(now) for one in credentials):
            raise InvalidToken("token.credential")
        return _permitted(token, basis.registration, now)


def _permitted(token: AccessToken, registration: Registration, now: datetime) -> Resource:
    resource = next((one for one in registration.resources.values() if (one.identifier,) == token.audience), None)
    if resource is None:
        raise InvalidToken("token.permission")
    open_now = [
        one.scopes
        for one in registration.permissions
        if one.resource == resource.name and ((end := one.conditions.not_after) is None or now < end)
    ]
    if not all(scope in resource.scopes and any(scope in given for given in open_now) for scope in token.scopes):
        raise InvalidToken("token.permission")
    return resource

"""Who may read the revocation feed: a resource server with a token of ours for it, for as long as that token would be taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from watchword.errors import InsufficientScope, InvalidToken
from watchword.protocol import names
from watchword.protocol.access_token import AccessToken, check_access_token, parse_access_token
from watchword.server.registrations import Registrations
from watchword.server.revocations import LiveRevocations
from watchword.server.signing_keys import SigningKeys

_ALGORITHMS: Final = frozenset(names.SIGNING_ALGORITHMS)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, by a token that was found good. ``kid`` names the key that signed it."""

    token: AccessToken = field(repr=False)
    kid: str

    @property
    def client_id(self) -> str:
        """The agent that reads."""
        return self.token.client_id

    @property
    def ends_at(self) -> datetime:
        """When the token ends, and reading with it."""
        return self.token.expires_at


class FeedAccess:
    """Judges tokens for the feed by this server's own keys, registry and revocations. Possession is judged elsewhere."""

    def __init__(
        self, issuer: str, keys: SigningKeys, registrations: Registrations, revocations: LiveRevocations
    ) -> None:
        self._issuer = issuer
        self._audience = issuer + names.PATH_EVENTS
        self._keys = keys
        self._registrations = registrations
        self._revocations = revocations

    async def admit(self, token: str, now: datetime) -> Reader:
        """Return who reads with this token.

        Raises:
            InvalidToken: as ``check_access_token``; token.unknown_key, token.expired, token.revoked, token.agent.
            InsufficientScope: caller.scope; feed.serves: the agent is no resource's server.
            StoreUnavailable
        """
        unverified = parse_access_token(token)
        kid = str(unverified.header[names.KID])
        key = (await self._keys.key_set()).find(kid, str(unverified.header[names.ALG]))
        if key is None:
            raise InvalidToken("token.unknown_key")
        found = check_access_token(
            unverified, key=key, issuer=self._issuer, audience=self._audience, algorithms=_ALGORITHMS, now=now
        )
        if names.EVENTS_READ not in found.scopes:
            raise InsufficientScope("caller.scope", scope=(names.EVENTS_READ,))
        reader = Reader(found, kid)
        await self.confirm(reader, now)
        return reader

    async def confirm(self, reader: Reader, now: datetime) -> None:
        """Return if the reader may go on: asked again whenever something has changed.

        Raises:
            InvalidToken: token.expired, token.unknown_key, token.revoked, token.agent.
            InsufficientScope: feed.serves
            StoreUnavailable
        """
        if now >= reader.ends_at:
            raise InvalidToken("token.expired")
        if reader.kid not in (await self._keys.key_set()).keys:
            raise InvalidToken("token.unknown_key")
        if (await self._revocations.current()).hit(reader.token.claims, reader.kid) is not None:
            raise InvalidToken("token.revoked")
        basis = await self._registrations.find(reader.client_id)
        if basis is None or not basis.registration.agent.is_usable(now):
            raise InvalidToken("token.agent")
        if not basis.registration.agent.serves:
            raise InsufficientScope("feed.serves", scope=(names.EVENTS_READ,))

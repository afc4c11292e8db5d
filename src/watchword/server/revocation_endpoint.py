"""``POST /oauth/revoke``: a client takes back a token of its own. RFC 7009."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from watchword.errors import InvalidGrant, InvalidToken, UnsupportedTokenType
from watchword.ports.revocations import Revoke
from watchword.protocol.access_token import MAX_LEEWAY, AccessToken
from watchword.protocol.client_secret import looks_like_secret
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.server.audit import Audit, Trail
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.caller import TokenCallers
from watchword.server.entry import Request
from watchword.server.own_tokens import OwnToken, OwnTokens
from watchword.server.revocations import MARGIN
from watchword.server.status_places import place_of


@dataclass(frozen=True, slots=True)
class RevocationEndpoint:
    """Revokes tokens of this server. The revocation is durable, with its event, before the answer leaves."""

    audit: Audit
    callers: TokenCallers
    tokens: OwnTokens
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def answer(self, request: Request) -> None:
        """Return when the token is worth nothing any more, if it ever was anything.

        Raises:
            UnsupportedTokenType: revoke.credential
            InvalidGrant: revoke.another: it is another client's, and stays.
            OAuthError: refused; recorded.
            Fault: it could not be decided or recorded, and may go on.
        """
        async with AsyncExitStack() as turn, self.audit.trail(request, "token.revoke") as trail:
            text, client = await self.callers.admit(request, trail)
            own = await self._read(text, request, trail)
            if own is not None and own.token.client_id != client.agent.client_id:
                raise InvalidGrant("revoke.another")
            if own is not None:
                await turn.enter_async_context(self._turns.setdefault(own.token.jti, asyncio.Lock()))
            await self._end(own, client, request, trail)

    async def _read(self, text: str, request: Request, trail: Trail) -> OwnToken | None:
        """Return the token; nothing for what is none, or not any more: there is nothing to be revoked. RFC 7009 §2.2."""
        if looks_like_secret(text):
            raise UnsupportedTokenType("revoke.credential")
        try:
            own = await self.tokens.read(text, request.received_at)
        except InvalidToken as refused:
            trail.note(details={"why": refused.reason})
            return None
        trail.note(jti=own.token.jti, kid=own.kid, resource=own.token.audience[0], expires_at=own.token.expires_at)
        return own

    async def _end(self, own: OwnToken | None, client: AuthenticatedAgent, request: Request, trail: Trail) -> None:
        use = self.callers.uses.count(client.credential, request.received_at, request.peer.address)
        if own is None:
            trail.succeed("nothing_to_revoke", *use.changes, undo=use.undo)
        elif await self.tokens.is_revoked(own):
            trail.succeed("revoked_before", *use.changes, undo=use.undo)
        else:
            trail.succeed("revoked", Revoke(_revocation(own.token, request)), *use.changes, undo=use.undo)


def _revocation(token: AccessToken, request: Request) -> Revocation:
    """Its cut-off is its own end: there is one token of this ``jti``, and revoking it again changes nothing."""
    return Revocation(
        kind=RevocationKind.TOKEN,
        target=token.jti,
        cutoff=token.expires_at,
        created_at=request.received_at,
        expires_at=token.expires_at + MAX_LEEWAY + MARGIN,
        status=place_of(token.claims),
    )

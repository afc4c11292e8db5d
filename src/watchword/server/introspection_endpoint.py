"""``POST /oauth/introspect``: whether a token is any good at this moment, told to who may know. RFC 7662, RFC 9701.

A stranger is told what is told of no token at all. Nothing is remembered of any token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watchword.errors import InvalidToken
from watchword.ports.agents import Agent, Resource
from watchword.ports.keys import Signer
from watchword.protocol.access_token import AccessToken
from watchword.protocol.introspection import (
    INACTIVE,
    build_introspection,
    build_signed_claims,
    build_signed_header,
    wants_signed,
)
from watchword.protocol.jose import assemble, signing_input
from watchword.server.audit import Audit, Trail
from watchword.server.caller import TokenCallers
from watchword.server.entry import Request
from watchword.server.own_tokens import OwnTokens
from watchword.server.signing_keys import SigningKeys

EVERY = "*"
"""Who serves this, serves every resource."""


@dataclass(frozen=True, slots=True)
class AnswerSigner:
    """Signs answers with the server's own algorithm."""

    issuer: str
    algorithm: str
    keys: SigningKeys
    signer: Signer

    async def sign(self, members: Mapping[str, object], caller: str, request: Request) -> str:
        """Return the answer as a JWT for this caller.

        Raises:
            NoSigningKey, StoreUnavailable
        """
        key = await self.keys.active(self.algorithm)
        claims = build_signed_claims(members, issuer=self.issuer, caller=caller, now=request.received_at)
        unsigned = signing_input(build_signed_header(algorithm=key.algorithm, kid=key.kid), claims)
        return assemble(unsigned, await self.signer.sign(key, unsigned))


@dataclass(frozen=True, slots=True)
class IntrospectionEndpoint:
    """Answers about tokens of this server."""

    audit: Audit
    callers: TokenCallers
    tokens: OwnTokens
    signer: AnswerSigner

    async def answer(self, request: Request) -> Mapping[str, object] | str:
        """Return the members of the answer, or the JWT with them where the caller wants that.

        Raises:
            OAuthError: refused; recorded.
            Fault: could not be decided or recorded.
        """
        async with self.audit.trail(request, "token.introspect") as trail:
            text, client = await self.callers.admit(request, trail)
            members = await self._judge(text, client.agent, request, trail)
            is_signed = wants_signed(request.header_values(b"accept"))
            answer = await self.signer.sign(members, client.agent.client_id, request) if is_signed else members
            use = self.callers.uses.count(client.credential, request.received_at, request.peer.address)
            trail.succeed("active" if members["active"] else "inactive", *use.changes, undo=use.undo)
        return answer

    async def _judge(self, text: str, caller: Agent, request: Request, trail: Trail) -> Mapping[str, object]:
        """Say in the trail, and there alone, why a token is not active."""
        try:
            own = await self.tokens.read(text, request.received_at)
            trail.note(jti=own.token.jti, kid=own.kid, resource=own.token.audience[0])
            check_may_know(caller, own.token, await self.tokens.confirm(own, request.received_at))
        except InvalidToken as refused:
            trail.note(details={"why": refused.reason})
            return INACTIVE
        trail.note(details={"subject": own.token.client_id})
        return build_introspection(own.token)


def check_may_know(caller: Agent, token: AccessToken, resource: Resource) -> None:
    """Pass if an agent may be told about a token: its own, or one for a resource whose server it is.

    Raises:
        InvalidToken: token.not_the_callers
    """
    is_own = caller.client_id == token.client_id
    if not is_own and EVERY not in caller.serves and resource.name not in caller.serves:
        raise InvalidToken("token.not_the_callers")

"""``POST /oauth/token``: from a request to a signed token, step by step. RFC 6749 §3.2, §4.4, §5."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from watchword.errors import StoreUnavailable, Superseded
from watchword.protocol import names
from watchword.protocol.confirmation import build_cnf
from watchword.protocol.form import Form
from watchword.protocol.scope import build_scope
from watchword.server.audit import Audit, Trail, claimed
from watchword.server.authentication import AuthenticatedAgent, ClientAuthenticator
from watchword.server.binding import Binder
from watchword.server.caller import Callers
from watchword.server.entry import Request
from watchword.server.grants import Grants
from watchword.server.limits import RequestLimits
from watchword.server.minting import MintedToken, Minter
from watchword.server.policy import Circumstances, decide
from watchword.server.uses import Uses

ATTEMPTS = 3
"""How often a request is decided whose agent is changed meanwhile."""


class TokenEndpoint:
    """Reads as the list of its steps; each step refuses by raising, and the trail records it."""

    def __init__(
        self,
        audit: Audit,
        limits: RequestLimits,
        clients: ClientAuthenticator,
        binder: Binder,
        grants: Grants,
        minter: Minter,
        hosts: frozenset[str],
        uses: Uses | None = None,
    ) -> None:
        self._audit = audit
        self._callers = Callers(limits, clients, hosts)
        self._binder = binder
        self._grants = grants
        self._minter = minter
        self._uses = uses or Uses()

    async def answer(self, request: Request) -> dict[str, object]:
        """Return the members of the token response; its audit event is durable by then.

        Raises:
            OAuthError: refused; recorded.
            Fault: could not be decided or recorded; no token.
        """
        for _ in range(ATTEMPTS):
            with suppress(Superseded):
                return await self._decide(request)
        async with self._audit.trail(request, "token.issue"):
            raise StoreUnavailable("store.superseded", detail="the agent is being changed all the time")

    async def _decide(self, request: Request) -> dict[str, object]:
        """Answer, if the agent is still registered as it was when the answer is recorded."""
        now = request.received_at
        async with self._audit.trail(request, "token.issue") as trail:
            form, client = await self._callers.identify(request, trail, _note_claims)
            grant = self._grants.choose(form, client)
            confirmation = await self._binder.bind(request, client)
            proposal = grant.propose(form, client)
            trail.note(resource=proposal.resource.identifier, scope=build_scope(proposal.scopes))
            permit = decide(proposal, Circumstances(now, request.peer.address, confirmation))
            token = await self._minter.mint(permit, confirmation, now)
            use = self._uses.count(client.credential, now, request.peer.address)
            facts = _facts(token, client, now)
            trail.succeed("issued", *use.changes, basis=client.basis, undo=use.undo, **facts)
        return _response(token)


def _note_claims(trail: Trail, form: Form) -> None:
    trail.note(
        client_id=claimed(form.get(names.CLIENT_ID)),
        grant_type=claimed(form.get(names.GRANT_TYPE)),
        scope=claimed(form.get(names.SCOPE)),
        resource=claimed(" ".join(form.all(names.RESOURCE) or form.all(names.AUDIENCE))),
    )


def _facts(token: MintedToken, client: AuthenticatedAgent, now: datetime) -> dict[str, object]:
    details = {
        "alg": token.algorithm,
        "lifetime": str(int(token.lifetime.total_seconds())),
        **build_cnf(token.confirmation),
    }
    if token.status is not None:
        details["status"] = str(token.status)
    if token.issued_at > now:
        details["iat"] = str(int(token.issued_at.timestamp()))
    if client.concessions:
        details["deprecated"] = " ".join(client.concessions)
    return {
        "jti": token.jti,
        "kid": token.kid,
        "expires_at": token.expires_at,
        "details": details,
    }


def _response(token: MintedToken) -> dict[str, object]:
    """RFC 6749 §5.1, RFC 9449 §5; ``scope`` is always there."""
    return {
        names.ACCESS_TOKEN: token.token,
        names.TOKEN_TYPE: names.BEARER if token.confirmation.jkt is None else names.DPOP,
        names.EXPIRES_IN: int(token.lifetime.total_seconds()),
        names.SCOPE: build_scope(token.scopes),
    }

"""To which key a token will be bound. DPoP (RFC 9449) and mutual TLS (RFC 8705) meet here in one ``Confirmation``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from watchword.errors import InvalidDpopProof, InvalidRequest
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.entry import Request


class Possession(Protocol):
    """One way to prove that one holds a key; a file in ``server/possession/`` and a line in ``compose.py``."""

    async def prove(self, request: Request, client: AuthenticatedAgent) -> Confirmation:
        """Return what was proved; ``NO_CONFIRMATION`` where the request brings nothing of this kind.

        Raises:
            OAuthError: it brings something, and that proves nothing.
        """
        ...


class Binder:
    """Asks every way there is. What was proved binds the token, whether the agent must prove anything or not.

    ``is_demanded``: no agent gets a token that is not bound to a key.
    """

    def __init__(self, possessions: Iterable[Possession] = (), *, is_demanded: bool = False) -> None:
        self._possessions = tuple(possessions)
        self._is_demanded = is_demanded

    async def bind(self, request: Request, client: AuthenticatedAgent) -> Confirmation:
        """Return everything that was proved of keys in this request.

        Raises:
            InvalidDpopProof: binding.dpop_required: this agent gets no token without.
            InvalidRequest: binding.certificate_required: nor this one; binding.required: nor anybody.
            OAuthError: a bad proof, whoever brings it.
        """
        bound = NO_CONFIRMATION
        for possession in self._possessions:
            found = await possession.prove(request, client)
            bound = Confirmation(jkt=found.jkt or bound.jkt, x5t_s256=found.x5t_s256 or bound.x5t_s256)
        if client.agent.dpop_bound and bound.jkt is None:
            raise InvalidDpopProof("binding.dpop_required")
        if client.agent.mtls_bound and bound.x5t_s256 is None:
            raise InvalidRequest("binding.certificate_required")
        if self._is_demanded and not bound.is_bound:
            raise InvalidRequest("binding.required")
        return bound

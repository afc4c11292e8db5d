"""Who asks at an OAuth endpoint: the steps that all of them begin with, so that none is a way around the limits of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watchword.errors import InvalidRequest
from watchword.protocol import names
from watchword.protocol.form import Form, parse_form
from watchword.server.abreast import abreast
from watchword.server.audit import Trail, claimed
from watchword.server.authentication import AuthenticatedAgent, ClientAuthenticator
from watchword.server.binding import Binder
from watchword.server.entry import Request
from watchword.server.limits import RequestLimits
from watchword.server.request_head import check_certificate_header, check_head
from watchword.server.uses import Uses

Note = Callable[[Trail, Form], None]


@dataclass(frozen=True, slots=True)
class Callers:
    """What every endpoint shares that clients log in at."""

    limits: RequestLimits
    clients: ClientAuthenticator
    hosts: frozenset[str]

    async def identify(self, request: Request, trail: Trail, note: Note) -> tuple[Form, AuthenticatedAgent]:
        """Say what is asked and who asks; ``note`` what is claimed.

        A refusal up to here counts as a failure of the peer, and of whom it claims to be.

        Raises:
            OAuthError, Fault
        """
        await abreast()
        await self.limits.admit_peer(request.peer.address, request.received_at)
        async with self.limits.attempt(request.peer.address, request.received_at) as attempt:
            check_head(request, methods=("POST",), hosts=self.hosts)
            check_certificate_header(request)
            form = parse_form(request.body, content_type=request.header_values(b"content-type"), query=request.query)
            note(trail, form)
            method, presented = self.clients.present(request, form)
            trail.note(client_id=claimed(presented.client_id), client_auth=presented.method)
            await abreast()
            await attempt.claim(presented.login)
            client = await self.clients.authenticate(method, presented, request, attempt.confirm)
        await abreast()
        trail.note(
            actor=f"agent:{client.agent.client_id}",
            client_id=client.agent.client_id,
            credential_id=client.credential.id,
            client_auth=client.method,
        )
        await self.limits.admit_agent(client.agent.client_id, request.received_at)
        return form, client


@dataclass(frozen=True, slots=True)
class TokenCallers:
    """Those who bring a token to an endpoint: who is bound to a key proves it here too."""

    callers: Callers
    binder: Binder
    uses: Uses

    async def admit(self, request: Request, trail: Trail) -> tuple[str, AuthenticatedAgent]:
        """Return the token that is brought, and by whom.

        Raises:
            InvalidRequest: request.token
            OAuthError, Fault: as ``Callers.identify``, ``Binder.bind``.
        """
        form, client = await self.callers.identify(request, trail, _note_nothing)
        await self.binder.bind(request, client)
        token = form.get(names.TOKEN)
        if token is None:
            raise InvalidRequest("request.token")
        return token, client


def _note_nothing(trail: Trail, form: Form) -> None:
    trail.note(client_id=claimed(form.get(names.CLIENT_ID)))

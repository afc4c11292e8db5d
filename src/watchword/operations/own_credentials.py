"""``POST /oauth/credentials``: an agent replaces a credential of its own, if it may, shown by one that is no weaker.

It authenticates as at the token endpoint: same methods, same limits, same refusals. What it gets is of the kind of what it
replaces, which goes on for a day, whoever asked: who has stolen a secret cannot lock its owner out at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from watchword.errors import Conflict, InvalidRequest, Problem, StoreUnavailable, Superseded, UnauthorizedClient
from watchword.operations.context import OperationContext
from watchword.operations.credential_rotation import RotateCredential, Rotation, plan_rotation
from watchword.ports.agents import CredentialKind
from watchword.protocol import names
from watchword.protocol.form import Form, parse_form
from watchword.server.audit import Audit, Trail, claimed
from watchword.server.authentication import AuthenticatedAgent, ClientAuthenticator
from watchword.server.entry import Request
from watchword.server.limits import RequestLimits
from watchword.server.request_head import check_certificate_header, check_head
from watchword.server.uses import Uses

STRENGTH: Final[Mapping[CredentialKind, int]] = MappingProxyType(
    {
        CredentialKind.CLIENT_SECRET: 1,
        CredentialKind.FEDERATED: 2,
        CredentialKind.PUBLIC_KEY: 3,
        CredentialKind.CERTIFICATE: 4,
    }
)
"""What is copied when it is shown, what somebody else vouches for, what is never shown, what the connection itself proves."""

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class OwnCredentials:
    """Gives an agent another secret, or takes another key of it, in place of one that it has."""

    context: OperationContext
    audit: Audit
    limits: RequestLimits
    clients: ClientAuthenticator
    hosts: frozenset[str]
    uses: Uses

    async def answer(self, request: Request) -> dict[str, object]:
        """Return the members of the response; its audit event is durable by then.

        Raises:
            OAuthError: refused; recorded.
            Fault: could not be decided or recorded.
        """
        for _ in range(_ATTEMPTS):
            with suppress(Superseded, Conflict):
                return await self._decide(request)
        async with self.audit.trail(request, "credential.rotate"):
            raise StoreUnavailable("store.superseded", detail="the agent is being changed all the time")

    async def _decide(self, request: Request) -> dict[str, object]:
        async with self.audit.trail(request, "credential.rotate") as trail:
            await self.limits.admit_peer(request.peer.address, request.received_at)
            form, client = await self._identify(request, trail)
            agent = client.agent
            trail.note(actor=f"agent:{agent.client_id}", client_id=agent.client_id, client_auth=client.method)
            await self.limits.admit_agent(agent.client_id, request.received_at)
            rotation = await self._plan(client, form)
            use = self.uses.count(client.credential, request.received_at, request.peer.address)
            changes = (*rotation.changes, *use.changes)
            trail.succeed("rotated", *changes, basis=client.basis, undo=use.undo, **rotation.facts)
        return _response(rotation)

    async def _identify(self, request: Request, trail: Trail) -> tuple[Form, AuthenticatedAgent]:
        async with self.limits.attempt(request.peer.address, request.received_at) as attempt:
            check_head(request, methods=("POST",), hosts=self.hosts)
            check_certificate_header(request)
            form = parse_form(request.body, content_type=request.header_values(b"content-type"), query=request.query)
            method, presented = self.clients.present(request, form)
            trail.note(client_id=claimed(presented.client_id), client_auth=presented.method)
            await attempt.claim(presented.login)
            return form, await self.clients.authenticate(method, presented, request, attempt.confirm)

    async def _plan(self, client: AuthenticatedAgent, form: Form) -> Rotation:
        """Return the rotation, if the agent may do it with what it has shown."""
        if names.OWN_CREDENTIALS not in client.agent.concessions:
            raise UnauthorizedClient("rotation.not_allowed")
        wanted = form.get("credential_id") or client.credential.id
        old = next((one for one in client.registration.credentials if one.id == wanted), None)
        if old is None or old.kind not in (CredentialKind.CLIENT_SECRET, CredentialKind.PUBLIC_KEY):
            raise InvalidRequest("rotation.credential")
        if STRENGTH[client.credential.kind] < STRENGTH[old.kind]:
            raise UnauthorizedClient("rotation.weaker")
        said = _said(form.get("public_key"), old.kind)
        command = RotateCredential(ref=client.agent.client_id, credential_id=old.id, details=said)
        try:
            return await plan_rotation(self.context, client.registration, command)
        except Problem as problem:
            raise InvalidRequest("rotation.refused", detail=problem.reason) from problem


def _said(public_key: str | None, kind: CredentialKind) -> Mapping[str, object]:
    if (public_key is not None) is not (kind is CredentialKind.PUBLIC_KEY):
        raise InvalidRequest("rotation.public_key")
    if public_key is None:
        return {}
    try:
        jwk = json.loads(public_key)
    except (ValueError, RecursionError):
        raise InvalidRequest("rotation.public_key") from None
    return {"jwk": jwk}


def _response(rotation: Rotation) -> dict[str, object]:
    new, old = rotation.new.credential, rotation.old
    members: dict[str, object] = {"credential_id": new.id, "replaces": old.id}
    if rotation.new.client_secret:
        members[names.CLIENT_SECRET] = rotation.new.client_secret
    if new.expires_at is not None:
        members["expires_at"] = int(new.expires_at.timestamp())
    if old.expires_at is not None:
        members["replaces_until"] = int(old.expires_at.timestamp())
    return members

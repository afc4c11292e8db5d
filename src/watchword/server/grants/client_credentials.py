"""``client_credentials``: the agent asks for itself. RFC 6749 §4.4, RFC 8707."""

from __future__ import annotations

from watchword.errors import InvalidScope
from watchword.ports.agents import Registration, Resource
from watchword.protocol import names
from watchword.protocol.form import Form
from watchword.protocol.resource_indicators import choose_resource, parse_target
from watchword.protocol.scope import parse_scope
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.grants import Grant, Proposal


def propose(form: Form, client: AuthenticatedAgent) -> Proposal:
    """Say what the agent asks for: one resource, and scopes that exist there.

    Raises:
        InvalidScope: scope.* of the syntax, scope.missing, scope.unknown
        InvalidTarget: target.*
    """
    named = parse_target(form.all(names.RESOURCE), form.all(names.AUDIENCE))
    text = form.get(names.SCOPE)
    asked = parse_scope(text) if text is not None else ()
    resource = _choose(named, asked, client.registration)
    scopes = asked or _default_scopes(client.registration, resource)
    unknown = [scope for scope in scopes if scope not in resource.scopes]
    if unknown:
        raise InvalidScope("scope.unknown", facts={"scope": " ".join(unknown), "resource": resource.identifier})
    return Proposal(client, client.agent.client_id, resource, scopes)


def _choose(named: str | None, asked: tuple[str, ...], registration: Registration) -> Resource:
    by_identifier = {resource.identifier: resource for resource in registration.resources.values()}
    default = registration.resources.get(registration.agent.default_resource or "")
    identifier = choose_resource(
        named,
        asked,
        {identifier: frozenset(resource.scopes) for identifier, resource in by_identifier.items()},
        default.identifier if default else None,
    )
    return by_identifier[identifier]


def _default_scopes(registration: Registration, resource: Resource) -> tuple[str, ...]:
    scopes: dict[str, None] = {}
    for permission in registration.permissions:
        if permission.resource == resource.name:
            scopes.update(dict.fromkeys(permission.default_scopes))
    if not scopes:
        raise InvalidScope("scope.missing", facts={"resource": resource.identifier})
    return tuple(scopes)


CLIENT_CREDENTIALS = Grant(names.CLIENT_CREDENTIALS, propose)

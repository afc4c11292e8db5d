"""A grant as data: its name and how it turns a request into a proposal. It never mints, binds, stores or audits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from watchword.errors import InvalidRequest, UnauthorizedClient, UnsupportedGrantType
from watchword.ports.agents import Resource
from watchword.protocol import names
from watchword.protocol.form import Form
from watchword.server.authentication import AuthenticatedAgent


@dataclass(frozen=True, slots=True)
class Proposal:
    """Who wants a token, for which resource, with which scopes. Nothing of it is decided yet."""

    client: AuthenticatedAgent
    subject: str
    resource: Resource
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """``propose`` raises ``OAuthError`` for what the grant itself does not allow."""

    name: str
    propose: Callable[[Form, AuthenticatedAgent], Proposal]


class Grants:
    """The grants that are on."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._by_name = {grant.name: grant for grant in grants}

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, for the metadata."""
        return tuple(self._by_name)

    def choose(self, form: Form, client: AuthenticatedAgent) -> Grant:
        """Return the grant asked for, if this client may use it. RFC 6749 §5.2.

        Raises:
            InvalidRequest: grant.missing
            UnsupportedGrantType: grant.unknown
            UnauthorizedClient: grant.not_allowed
        """
        name = form.get(names.GRANT_TYPE)
        if name is None:
            raise InvalidRequest("grant.missing")
        grant = self._by_name.get(name)
        if grant is None:
            raise UnsupportedGrantType("grant.unknown", facts={"supported": " ".join(self._by_name)})
        if name not in client.agent.grant_types:
            raise UnauthorizedClient("grant.not_allowed")
        return grant

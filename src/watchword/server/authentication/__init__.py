"""Who is asking: exactly one presented method, checked against what is registered for this client.

RFC 6749 §2.3. A method lives in a file of its own and is registered in ``compose.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, runtime_checkable

from watchword.errors import InvalidAssertion, InvalidClient, InvalidRequest
from watchword.ports.agents import Agent, AgentState, AgentStore, Credential, Registration
from watchword.ports.store import Basis
from watchword.protocol import names
from watchword.protocol.form import Form
from watchword.server.credential_rules import NO_RULES, CredentialRules
from watchword.server.entry import Request
from watchword.server.registrations import Registrations

MAX_CLIENT_ID = 256


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request puts forward. ``proof`` is the method's own: a secret, an assertion, a certificate.

    ``client_id`` is empty where the request names none. ``is_assertion``: it is the request's ``client_assertion``.
    ``is_grant``: it is the grant itself, and what is refused is not a client authentication. ``claimed_name`` is whom the
    failures of a proof count against that names no client."""

    method: str
    client_id: str
    proof: object = field(repr=False)
    is_assertion: bool = False
    is_grant: bool = False
    claimed_name: str = ""

    @property
    def login(self) -> str:
        """Whom it claims to be."""
        return self.claimed_name or self.client_id


@dataclass(frozen=True, slots=True)
class Proved:
    """A credential that was proved. ``concessions`` (``names.CONCESSIONS``) were needed: the agent must have been given them.

    ``method`` is by which it was proved, where that is seen only now."""

    credential: Credential
    concessions: tuple[str, ...] = ()
    method: str = ""


class AuthenticationMethod(Protocol):
    """One way to authenticate. ``names`` are the ``token_endpoint_auth_method`` values it serves."""

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names of the method."""
        ...

    def present(self, request: Request, form: Form) -> Presented | None:
        """Return what the request puts forward under this method, or nothing. Proves nothing yet.

        Raises:
            InvalidClient, InvalidRequest: put forward, but malformed.
        """
        ...

    async def check(self, presented: Presented, credentials: tuple[Credential, ...], request: Request) -> Proved | None:
        """Return the credential that was proved, usable when the request came, or nothing.

        Takes as long for no credentials as for one, so that an unknown client cannot be told from a wrong secret. What works
        once is claimed last (``server/single_use.py``).

        Raises:
            InvalidClient: not proved, for a reason that the trail is to have.
            Fault: it cannot be said.
        """
        ...


@runtime_checkable
class FindsItsClient(Protocol):
    """A method whose proof says by itself who asks."""

    async def find(self, presented: Presented, request: Request) -> Proved:
        """Return the credential that was proved, whoever's it is; of the client that is named, where one is.

        Raises:
            InvalidClient, Fault: as ``check``.
        """
        ...


@dataclass(frozen=True, slots=True)
class AuthenticatedAgent:
    """A client that has proved who it is, usable at this moment, and all that is registered for it."""

    basis: Basis
    credential: Credential
    method: str
    concessions: tuple[str, ...] = ()

    @property
    def registration(self) -> Registration:
        """All that is registered for it."""
        return self.basis.registration

    @property
    def agent(self) -> Agent:
        """The agent itself."""
        return self.registration.agent


class ClientAuthenticator:
    """Finds the one method a request presents and lets it decide."""

    def __init__(
        self,
        methods: Iterable[AuthenticationMethod],
        store: AgentStore,
        registrations: Registrations,
        rules: CredentialRules = NO_RULES,
    ) -> None:
        self._methods = tuple(methods)
        self._store = store
        self._registrations = registrations
        self._rules = rules

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods that work here, as audit and metrics call them."""
        return tuple(dict.fromkeys(name for method in self._methods for name in method.names))

    def present(self, request: Request, form: Form) -> tuple[AuthenticationMethod, Presented]:
        """Return the one method that the request presents.

        Raises:
            InvalidRequest: client.several_methods, client.id_mismatch
            InvalidClient: client.no_credentials, client.no_id, client.method_unknown
        """
        ways = _count_ways(request, form)
        if ways > 1:
            raise InvalidRequest("client.several_methods")
        found = [(method, presented) for method in self._methods if (presented := method.present(request, form))]
        if len(found) > 1:
            raise InvalidRequest("client.several_methods")
        if not found:
            raise InvalidClient("client.method_unknown" if ways else "client.no_credentials")
        method, presented = found[0]
        if isinstance(method, FindsItsClient):
            return method, presented
        if not presented.client_id:
            raise InvalidClient("client.no_id")
        body_client_id = form.get(names.CLIENT_ID)
        if body_client_id is not None and body_client_id != presented.client_id:
            raise InvalidRequest("client.id_mismatch")
        return method, presented

    async def authenticate(
        self, method: AuthenticationMethod, presented: Presented, request: Request, admit: Callable[[], Awaitable[None]]
    ) -> AuthenticatedAgent:
        """Return the agent, its state read now. ``admit`` is asked when all is there that the check needs.

        What is registered for it beyond its credentials is read only once it has proved who it is: how much that is, nobody
        else can measure.

        Raises:
            InvalidClient: client.unknown, client.credential, client.method, client.suspended, client.deleted, client.expired,
                client.concession, client.credential_age, and those of the method
            RateLimited: by ``admit``
            Fault
        """
        try:
            proved = await self._prove(method, presented, request, admit)
            return await self._admit(proved, presented.method, request.received_at)
        except InvalidClient as refused:
            if presented.is_grant:
                raise InvalidAssertion(refused.reason, detail=refused.detail, facts=refused.facts) from None
            raise

    async def _prove(
        self, method: AuthenticationMethod, presented: Presented, request: Request, admit: Callable[[], Awaitable[None]]
    ) -> Proved:
        if isinstance(method, FindsItsClient):
            await admit()
            return await method.find(presented, request)
        credentials = None
        if len(presented.client_id) <= MAX_CLIENT_ID:
            credentials = await self._store.credentials(presented.client_id)
        await admit()
        proved = await method.check(presented, credentials or (), request)
        if credentials is None:
            raise InvalidClient("client.unknown")
        if proved is None:
            raise InvalidClient("client.credential")
        return proved

    async def _admit(self, proved: Proved, method: str, now: datetime) -> AuthenticatedAgent:
        """Return the agent of a proved credential, if it may log in now."""
        basis = await self._registrations.find(proved.credential.client_id)
        if basis is None:
            raise InvalidClient("client.unknown")
        registration = basis.registration
        used = proved.credential
        credential = next((one for one in registration.credentials if one.id == used.id), None)
        if credential is None or not credential.is_usable(now):  # revoked in this very moment
            raise InvalidClient("client.credential")
        if self._rules.refuses(credential, now):
            raise InvalidClient("client.credential_age")
        shown = proved.method or method
        _check_usable(registration.agent, shown, now)
        _check_conceded(registration.agent, proved.concessions)
        return AuthenticatedAgent(basis, used, shown, proved.concessions)  # its last use as read a moment ago


def _count_ways(request: Request, form: Form) -> int:
    """Count the ways in which this request authenticates, whether or not a method here serves them."""
    schemes = request.header_values(b"authorization")
    if len(schemes) > 1:
        raise InvalidRequest("authorization.several")
    assertion = form.get(names.CLIENT_ASSERTION) or form.get(names.CLIENT_ASSERTION_TYPE)
    grant = form.get(names.ASSERTION) if form.get(names.GRANT_TYPE) == names.JWT_BEARER else None
    return len(schemes) + sum(one is not None for one in (form.get(names.CLIENT_SECRET), assertion, grant))


def _check_usable(agent: Agent, method: str, now: datetime) -> None:
    if agent.state is not AgentState.ACTIVE:
        raise InvalidClient(f"client.{agent.state}")
    if not agent.is_usable(now):
        raise InvalidClient("client.expired")
    if method not in agent.auth_methods:
        raise InvalidClient("client.method")


def _check_conceded(agent: Agent, needed: tuple[str, ...]) -> None:
    for name in needed:
        if name not in agent.concessions:
            raise InvalidClient("client.concession", facts={"concession": name, "advice": _INSTEAD[name]})


_INSTEAD: Final[Mapping[str, str]] = {
    names.TOKEN_ENDPOINT_AUDIENCE: "The audience of an assertion is the issuer, not the token endpoint",
    names.EDDSA_HEADER: "The algorithm is called Ed25519, not EdDSA",
}

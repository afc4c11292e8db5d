"""Agents, their credentials and permissions, the resources they may ask for, and the operators who decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from watchword.protocol import names


class AgentState(StrEnum):
    """A deleted agent keeps its row: its ``client_id`` is reserved for ever."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class CredentialKind(StrEnum):
    """One way in."""

    CLIENT_SECRET = "client_secret"  # noqa: S105 -- a kind's name
    PUBLIC_KEY = "public_key"
    CERTIFICATE = "certificate"
    FEDERATED = "federated"


class CredentialState(StrEnum):
    """Revocation is for ever."""

    ACTIVE = "active"
    REVOKED = "revoked"


class Role(StrEnum):
    """What an operator may do; ``operations/roles.py`` says which operation needs which."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    MANAGER = "manager"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A registered OAuth client that is an AI agent, bot, service or job.

    ``auth_methods`` are the ``token_endpoint_auth_method`` values it may use. ``default_resource`` is a resource's name.
    ``version`` counts changes from 1 and is the entity tag's content. One that is ``dpop_bound`` or ``mtls_bound`` gets tokens
    for its key or its certificate alone. ``concessions`` name what is accepted of this agent and of no other
    (``protocol/names.py``, ``CONCESSIONS``). ``serves`` names the resources whose server it is: it may ask about their tokens;
    ``*`` is all of them.
    """

    client_id: str
    name: str
    state: AgentState
    auth_methods: tuple[str, ...]
    created_at: datetime
    grant_types: tuple[str, ...] = (names.CLIENT_CREDENTIALS,)
    expires_at: datetime | None = None
    owner: str = ""
    purpose: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    default_resource: str | None = None
    version: int = 1
    dpop_bound: bool = False
    mtls_bound: bool = False
    concessions: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()

    def is_usable(self, now: datetime) -> bool:
        """Active and not expired. The one question every path to a token asks."""
        return self.state is AgentState.ACTIVE and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One way in. ``secret_hash`` is the keyed hash of a client secret (``protocol/client_secret.py``), never the secret.

    What opens by a key, a certificate or somebody else's word has it in ``details``, as its kind writes it: a JSON object of
    public facts. ``trusted_issuer`` is the name of the one whose word it is. ``last_used_at`` is exact to the hour,
    ``last_used_network`` is the /24 or /48 it came from, ``uses`` how often it was, as far as that has been written. One
    that was rotated is ``replaced_by`` another and ends at ``expires_at``, or once unused for as long as ``silence``.
    """

    id: str
    client_id: str
    kind: CredentialKind
    state: CredentialState
    created_at: datetime
    label: str = ""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_network: str = ""
    secret_hash: bytes = field(default=b"", repr=False)
    details: Mapping[str, object] = field(default_factory=dict)
    trusted_issuer: str | None = None
    replaced_by: str | None = None
    silence: timedelta | None = None
    uses: int = 0

    def is_usable(self, now: datetime) -> bool:
        """Active and inside its validity."""
        return (
            self.state is CredentialState.ACTIVE
            and (self.not_before is None or now >= self.not_before)
            and (self.expires_at is None or now < self.expires_at)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A protected API. ``identifier`` is what stands in ``aud``; ``name`` is how operators call it; neither changes."""

    name: str
    identifier: str
    scopes: tuple[str, ...]
    created_at: datetime
    token_lifetime: timedelta = timedelta(seconds=600)
    signing_algorithm: str = names.ES256
    require_pop: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What narrows a permission. An empty value means: no such condition.

    ``source_networks`` are CIDR strings; ``hours`` is ``HH:MM-HH:MM`` in UTC and may wrap past midnight.
    """

    not_before: datetime | None = None
    not_after: datetime | None = None
    source_networks: tuple[str, ...] = ()
    hours: str = ""
    maximum_lifetime: timedelta | None = None
    require_sender_constraint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Agent x resource x scopes. ``resource`` is a resource's name. ``default_scopes`` are given when none are asked for."""

    id: str
    client_id: str
    resource: str
    scopes: tuple[str, ...]
    created_at: datetime
    default_scopes: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person or job that administers. ``token_hash`` is the keyed hash of its credential.

    A disabled one keeps its row: its name is reserved for ever.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    is_disabled: bool = False
    token_hash: bytes = field(default=b"", repr=False)
    version: int = 1

    def is_usable(self, now: datetime) -> bool:
        """Neither disabled nor expired."""
        return not self.is_disabled and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Registration:
    """All that a token request needs to know of one client, read in one moment: of its permissions and its credentials.

    ``resources`` holds the resource of every permission, by name.
    """

    agent: Agent
    credentials: tuple[Credential, ...]
    permissions: tuple[Permission, ...]
    resources: Mapping[str, Resource]

    def permits_as(self, other: Registration | None) -> bool:
        """Tell whether a decision made on the other would be the same: nothing differs but last uses."""
        return other is not None and _without_uses(self) == _without_uses(other)


def _without_uses(registration: Registration) -> tuple[object, ...]:
    unused = [replace(one, last_used_at=None, last_used_network="", uses=0) for one in registration.credentials]
    return registration.agent, unused, registration.permissions, dict(registration.resources)


class AgentStore(Protocol):
    """Reads of the registry. Each answer is one consistent moment, never older than the last acknowledged commit.

    Raises:
        StoreUnavailable: the store cannot be read.
    """

    async def credentials(self, client_id: str) -> tuple[Credential, ...] | None:
        """Return the credentials of one client, deleted ones included, or nothing for a name that is nobody's.

        What is asked before a client has proved anything: the work must not tell one that exists from one that does not.
        """
        ...

    async def ending_credentials(
        self, *, after: tuple[datetime, str], before: datetime, limit: int, silence: bool = False
    ) -> Sequence[Credential]:
        """Return active credentials that end by ``before``, by end and id, beginning after that end and id.

        With ``silence`` only those that a silence ends earlier. Neither costs more for those that do not end.
        """
        ...

    async def registration(self, client_id: str) -> Registration | None:
        """Return everything about one client, deleted ones included, or nothing. Exact bytes: no case folding."""
        ...

    async def find_agent(self, name_or_id: str) -> Agent | None:
        """Return the agent with this ``client_id``, or the not deleted one with this name."""
        ...

    async def agents(self, *, after: str, limit: int, state: AgentState | None = None) -> Sequence[Agent]:
        """Return agents by ascending ``client_id``, beginning after ``after``; without ``state``, all but deleted ones."""
        ...

    async def resource(self, name: str) -> Resource | None:
        """Return one resource by name."""
        ...

    async def resources(self, *, after: str, limit: int) -> Sequence[Resource]:
        """Return resources by ascending name, beginning after ``after``."""
        ...

    async def operator(self, token_hash: bytes) -> Operator | None:
        """Return the operator whose credential has this keyed hash."""
        ...

    async def operators(self) -> Sequence[Operator]:
        """Return all operators, by name."""
        ...

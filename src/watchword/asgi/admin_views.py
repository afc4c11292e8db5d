"""What the admin API gives, as pydantic models. Absent members are left out: there are no nulls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from watchword.operations.agents import NewAgent
from watchword.operations.credential_rotation import Rotation
from watchword.operations.credentials import NewCredential
from watchword.ports.agents import Agent, AgentState, Conditions, Credential, Permission, Resource
from watchword.ports.audit import format_time
from watchword.protocol import names

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T12:00:00.000000Z"])]


class ResourceView(BaseModel):
    """A protected API and the scopes it owns."""

    name: str
    identifier: str
    scopes: list[str]
    token_lifetime: int
    signing_algorithm: str
    require_pop: bool
    created_at: Timestamp
    version: int


class AgentView(BaseModel):
    """A registered agent."""

    client_id: str
    name: str
    state: AgentState
    auth_methods: list[str]
    grant_types: list[str]
    owner: str
    purpose: str
    labels: dict[str, str]
    default_resource: str | None = None
    parent: str | None = None
    created_at: Timestamp
    expires_at: Timestamp | None = None
    dpop_bound: bool
    mtls_bound: bool
    concessions: list[str]
    serves: list[str]
    version: int


class ConditionsView(BaseModel):
    """What narrows a permission."""

    not_before: Timestamp | None = None
    not_after: Timestamp | None = None
    source_networks: list[str] | None = None
    hours: str | None = None
    maximum_lifetime: int | None = None
    require_sender_constraint: bool | None = None


class PermissionView(BaseModel):
    """Scopes of one resource that an agent may ask for."""

    id: str
    client_id: str
    resource: str
    scopes: list[str]
    default_scopes: list[str]
    conditions: ConditionsView | None = None
    created_at: Timestamp
    version: int


class CredentialView(BaseModel):
    """One way in. `last_used_at` is exact to the hour, `uses` is at least so many. One that was rotated is `replaced_by` another:
    it ends at `expires_at`, or once unused for `silence` seconds."""

    id: str
    client_id: str
    kind: str
    label: str
    state: str
    created_at: Timestamp
    not_before: Timestamp | None = None
    expires_at: Timestamp | None = None
    last_used_at: Timestamp | None = None
    last_used_network: str | None = None
    uses: int
    replaced_by: str | None = None
    silence: int | None = None
    public_key: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    federated: dict[str, Any] | None = None


class NewCredentialView(CredentialView):
    """A credential with its secret, if it is one, which is not shown again."""

    client_secret: str | None = None


class RotatedCredentialView(NewCredentialView):
    """The new credential, and the one that it replaces."""

    replaces: CredentialView


class NewAgentView(AgentView):
    """An agent with what it needs to log in. A secret is not shown again."""

    permissions: list[PermissionView]
    credential_id: str
    client_secret: str | None = None
    issuer: str
    token_endpoint: str


class ResourcePage(BaseModel):
    """Some resources; `next_cursor` is there when more follow."""

    items: list[ResourceView]
    next_cursor: str | None = None


class AgentPage(BaseModel):
    """Some agents; `next_cursor` is there when more follow."""

    items: list[AgentView]
    next_cursor: str | None = None


class CredentialList(BaseModel):
    """All credentials of an agent."""

    items: list[CredentialView]


class PermissionList(BaseModel):
    """All permissions of an agent."""

    items: list[PermissionView]


def answer(view: BaseModel, *, status: int = 200, version: int | None = None, location: str = "") -> JSONResponse:
    """Return a view as a response; with ``version``, it has an entity tag."""
    headers = {"etag": f'"{version}"'} if version is not None else {}
    if location:
        headers["location"] = location
    return JSONResponse(view.model_dump(mode="json", exclude_none=True), status, headers)


def resource_view(resource: Resource) -> ResourceView:
    """Return a resource as it is shown."""
    return ResourceView(
        name=resource.name,
        identifier=resource.identifier,
        scopes=list(resource.scopes),
        token_lifetime=int(resource.token_lifetime.total_seconds()),
        signing_algorithm=resource.signing_algorithm,
        require_pop=resource.require_pop,
        created_at=format_time(resource.created_at),
        version=resource.version,
    )


def agent_view(agent: Agent) -> AgentView:
    """Return an agent as it is shown."""
    return AgentView(
        client_id=agent.client_id,
        name=agent.name,
        state=agent.state,
        auth_methods=list(agent.auth_methods),
        grant_types=list(agent.grant_types),
        owner=agent.owner,
        purpose=agent.purpose,
        labels=dict(agent.labels),
        default_resource=agent.default_resource,
        parent=agent.parent,
        created_at=format_time(agent.created_at),
        expires_at=_time(agent.expires_at),
        dpop_bound=agent.dpop_bound,
        mtls_bound=agent.mtls_bound,
        concessions=list(agent.concessions),
        serves=list(agent.serves),
        version=agent.version,
    )


def new_agent_view(new: NewAgent, issuer: str) -> NewAgentView:
    """Return a new agent as it is shown, once."""
    return NewAgentView(
        **agent_view(new.agent).model_dump(),
        permissions=[permission_view(one) for one in new.permissions],
        credential_id=new.credential.id,
        client_secret=new.client_secret or None,
        issuer=issuer,
        token_endpoint=issuer + names.PATH_TOKEN,
    )


def credential_view(credential: Credential) -> CredentialView:
    """Return a credential as it is shown: nothing of its secret."""
    return CredentialView(
        id=credential.id,
        client_id=credential.client_id,
        kind=credential.kind,
        label=credential.label,
        state=credential.state,
        created_at=format_time(credential.created_at),
        not_before=_time(credential.not_before),
        expires_at=_time(credential.expires_at),
        last_used_at=_time(credential.last_used_at),
        last_used_network=credential.last_used_network or None,
        uses=credential.uses,
        replaced_by=credential.replaced_by,
        silence=None if credential.silence is None else int(credential.silence.total_seconds()),
        **_said_of(credential),
    )


def _said_of(credential: Credential) -> dict[str, Any]:
    """Return what was said of it, under the name of its kind."""
    if not credential.details:
        return {}
    trusted = {} if credential.trusted_issuer is None else {"trusted_issuer": credential.trusted_issuer}
    return {credential.kind.value: {**trusted, **credential.details}}


def new_credential_view(new: NewCredential) -> NewCredentialView:
    """Return a new credential as it is shown, once."""
    return NewCredentialView(**credential_view(new.credential).model_dump(), client_secret=new.client_secret or None)


def rotation_view(rotation: Rotation) -> RotatedCredentialView:
    """Return a rotation as it is shown, once."""
    shown = new_credential_view(rotation.new).model_dump()
    return RotatedCredentialView(**shown, replaces=credential_view(rotation.old))


def permission_view(permission: Permission) -> PermissionView:
    """Return a permission as it is shown."""
    conditions = permission.conditions
    return PermissionView(
        id=permission.id,
        client_id=permission.client_id,
        resource=permission.resource,
        scopes=list(permission.scopes),
        default_scopes=list(permission.default_scopes),
        conditions=None if conditions == Conditions() else _conditions_view(conditions),
        created_at=format_time(permission.created_at),
        version=permission.version,
    )


def _conditions_view(conditions: Conditions) -> ConditionsView:
    lifetime = conditions.maximum_lifetime
    return ConditionsView(
        not_before=_time(conditions.not_before),
        not_after=_time(conditions.not_after),
        source_networks=list(conditions.source_networks) or None,
        hours=conditions.hours or None,
        maximum_lifetime=int(lifetime.total_seconds()) if lifetime else None,
        require_sender_constraint=conditions.require_sender_constraint or None,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)

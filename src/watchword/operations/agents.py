"""Agents: created, shown, changed. How they are stopped: ``agent_states.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final

from watchword.errors import Conflict, Invalid
from watchword.operations.checks import check_expiry, check_labels, check_name, check_text, check_version
from watchword.operations.client_ids import new_client_id
from watchword.operations.context import OperationContext, details
from watchword.operations.credential_kinds import KINDS, check_auth_methods, check_concessions, kind_of, methods_with
from watchword.operations.credentials import AddCredential, build_credential
from watchword.operations.finding import find_agent, find_registration
from watchword.operations.operation import operation
from watchword.operations.paging import DEFAULT_PAGE, Page, check_limit, cut
from watchword.operations.permissions import MAX_PERMISSIONS, Grant, build_permission
from watchword.operations.resources import find_resource
from watchword.operations.serving import check_serves, feed_changes
from watchword.ports import store
from watchword.ports.agents import Agent, AgentState, Credential, Permission
from watchword.protocol import names
from watchword.protocol.revocation import RevocationKind
from watchword.server.key_schedule import LONGEST_LIFETIME

MAX_OWNER: Final = 200


class Unchanged(Enum):
    """Says of a member that may be emptied that it stays as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAgent:
    """``default_resource`` is that of the first grant unless given. ``credential`` is what is said of the first way in, by the
    rules of its kind; nothing, of a secret. The rest as in ``Agent``."""

    name: str
    auth_method: str = names.CLIENT_SECRET_BASIC
    pin_auth_method: bool = False
    credential: Mapping[str, object] = field(default_factory=dict)
    dpop_bound: bool = False
    mtls_bound: bool = False
    concessions: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    owner: str = ""
    purpose: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    default_resource: str | None = None
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAgent:
    """``None`` (or ``UNCHANGED``, where ``None`` empties) leaves a member. ``expected``: see ``check_version``."""

    ref: str
    owner: str | None = None
    purpose: str | None = None
    labels: Mapping[str, str] | None = None
    auth_methods: tuple[str, ...] | None = None
    dpop_bound: bool | None = None
    mtls_bound: bool | None = None
    concessions: tuple[str, ...] | None = None
    serves: tuple[str, ...] | None = None
    expires_at: datetime | Unchanged | None = UNCHANGED
    default_resource: str | Unchanged | None = UNCHANGED
    expected: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowAgent:
    """``ref`` is the ``client_id`` or the name."""

    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAgents:
    """Agents by ascending ``client_id``, beginning after ``after``; without ``state`` all but deleted ones."""

    after: str = ""
    limit: int = DEFAULT_PAGE
    state: AgentState | None = None


@dataclass(frozen=True, slots=True)
class NewAgent:
    """An agent, its first credential and permissions, and the secret, if it is one, which is not shown again."""

    agent: Agent
    credential: Credential
    permissions: tuple[Permission, ...]
    client_secret: str = field(repr=False)


@operation("agent.create")
async def create_agent(context: OperationContext, command: CreateAgent) -> NewAgent:
    """Register an agent with its first way in and its permissions, all or nothing.

    Raises:
        Invalid: agent.*, text.*, label.*, scope.*, conditions.*, permission.*, credential.*, and those of the credential
        Missing: resource.missing, and those of the credential
        Conflict: agent.name
    """
    agent = await _build_agent(context, command)
    if await context.store.find_agent(agent.name) is not None:
        sentence = "An agent of this name exists. Choose another name, or delete that agent first."
        raise Conflict("agent.name", detail=sentence)
    if len(command.grants) > MAX_PERMISSIONS:
        raise Invalid("permission.limit", detail=f"An agent has at most {MAX_PERMISSIONS} permissions.")
    granted = [await build_permission(context, agent.client_id, grant) for grant in command.grants]
    first = AddCredential(ref=agent.client_id, kind=kind_of(command.auth_method), details=command.credential)
    new = await build_credential(context, agent.client_id, first)
    agent = replace(
        agent, auth_methods=methods_with(new.credential, command.auth_method, is_pinned=command.pin_auth_method)
    )
    permissions = tuple(permission for permission, _ in granted)
    await context.commit(
        "created",
        *(store.Create(agent), store.Create(new.credential), *map(store.Create, permissions)),
        *await feed_changes(context, agent, ()),
        credential_id=new.credential.id,
        **agent_facts(agent, permissions="; ".join(f"{one.resource}: {' '.join(one.scopes)}" for one in permissions)),
    )
    return NewAgent(agent, new.credential, permissions, new.client_secret)


@operation("agent.show")
async def show_agent(context: OperationContext, command: ShowAgent) -> Agent:
    """Return one agent; a deleted one by its ``client_id``.

    Raises:
        Missing: agent.missing
    """
    return await find_agent(context, command.ref)


@operation("agent.list")
async def list_agents(context: OperationContext, command: ListAgents) -> Page[Agent]:
    """Return a page of agents.

    Raises:
        Invalid: page.limit
    """
    limit = check_limit(command.limit)
    return cut(await context.store.agents(after=command.after, limit=limit + 1, state=command.state), limit)


@operation("agent.update")
async def update_agent(context: OperationContext, command: UpdateAgent) -> Agent:
    """Change what is said of an agent. Name and ``client_id`` never change.

    Raises:
        Missing: agent.missing, resource.missing
        Invalid: agent.*, text.*, label.*
        PreconditionFailed: version.changed
        Conflict: agent.deleted
    """
    old = await find_agent(context, command.ref, changeable=True)
    check_version(old.version, command.expected)
    new = _merged(context, old, command)
    if new.default_resource is not None and new.default_resource != old.default_resource:
        await find_resource(context, new.default_resource)
    changes: list[store.Change] = [store.Replace(new), *await _ends_sooner(context, old, new)]
    if command.serves is not None:
        new = replace(new, serves=await check_serves(context, command.serves, had=old.serves))
        registration = await find_registration(context, old.client_id)
        changes = [store.Replace(new), *changes[1:], *await feed_changes(context, new, registration.permissions)]
    await context.commit("updated", *changes, **agent_facts(new))
    return new


async def _ends_sooner(context: OperationContext, old: Agent, new: Agent) -> tuple[store.Change, ...]:
    """Return what ends its tokens, where one of them might outlive the agent now. Its next token ends with it."""
    end = new.expires_at
    is_earlier = end is not None and (old.expires_at is None or end < old.expires_at)
    if not is_earlier or end is None or end >= context.now + LONGEST_LIFETIME:
        return ()
    return await context.revocations((RevocationKind.AGENT, new.client_id))


async def _build_agent(context: OperationContext, command: CreateAgent) -> Agent:
    name = check_name(command.name, "agent")
    default = command.default_resource or next((grant.resource for grant in command.grants), None)
    if default is not None:
        await find_resource(context, default)
    return Agent(
        client_id=await new_client_id(context, name),
        name=name,
        state=AgentState.ACTIVE,
        auth_methods=check_auth_methods((command.auth_method,)),
        grant_types=KINDS[kind_of(command.auth_method)].grant_types,
        created_at=context.now,
        expires_at=check_expiry(command.expires_at, now=context.now, noun="agent"),
        owner=check_text(command.owner, "owner", limit=MAX_OWNER),
        purpose=check_text(command.purpose, "purpose"),
        labels=check_labels(command.labels),
        default_resource=default,
        dpop_bound=command.dpop_bound,
        mtls_bound=command.mtls_bound,
        concessions=check_concessions(command.concessions),
        serves=await check_serves(context, command.serves),
    )


def _merged(context: OperationContext, old: Agent, command: UpdateAgent) -> Agent:
    expires_at, resource, methods = command.expires_at, command.default_resource, command.auth_methods
    return replace(
        old,
        owner=old.owner if command.owner is None else check_text(command.owner, "owner", limit=MAX_OWNER),
        purpose=old.purpose if command.purpose is None else check_text(command.purpose, "purpose"),
        labels=old.labels if command.labels is None else check_labels(command.labels),
        auth_methods=old.auth_methods if methods is None else check_auth_methods(methods),
        dpop_bound=old.dpop_bound if command.dpop_bound is None else command.dpop_bound,
        mtls_bound=old.mtls_bound if command.mtls_bound is None else command.mtls_bound,
        concessions=old.concessions if command.concessions is None else check_concessions(command.concessions),
        expires_at=old.expires_at
        if expires_at is UNCHANGED
        else check_expiry(expires_at, now=context.now, noun="agent"),
        default_resource=old.default_resource if resource is UNCHANGED else resource,
        version=old.version + 1,
    )


def agent_facts(agent: Agent, **more: object) -> dict[str, object]:
    """Return what an event tells of an agent."""
    return {
        "client_id": agent.client_id,
        "details": details(
            name=agent.name,
            auth_methods=" ".join(agent.auth_methods),
            owner=agent.owner,
            purpose=agent.purpose,
            labels=", ".join(f"{name}={value}" for name, value in sorted(agent.labels.items())),
            agent_expires_at=agent.expires_at,
            default_resource=agent.default_resource,
            dpop_bound=agent.dpop_bound or None,
            mtls_bound=agent.mtls_bound or None,
            concessions=" ".join(agent.concessions),
            serves=" ".join(agent.serves),
            **more,
        ),
    }

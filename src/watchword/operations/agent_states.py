"""Agents suspended, resumed, deleted. Deleted is for ever, and the ``client_id`` is never given again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from watchword.operations.agents import agent_facts
from watchword.operations.checks import check_text, check_version
from watchword.operations.context import OperationContext, details
from watchword.operations.finding import find_agent, find_registration
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.agents import Agent, AgentState, CredentialState


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeState:
    """``note`` says why, for the audit trail."""

    ref: str
    note: str = ""
    expected: frozenset[int] | None = None


@operation("agent.suspend")
async def suspend_agent(context: OperationContext, command: ChangeState) -> Agent:
    """Stop an agent: no token from now on, and those it has are dead. Suspending it again changes nothing.

    Raises:
        Missing: agent.missing
        Invalid: text.*
        PreconditionFailed: version.changed
        Conflict: agent.deleted
    """
    return await _change_state(context, command, AgentState.SUSPENDED)


@operation("agent.resume")
async def resume_agent(context: OperationContext, command: ChangeState) -> Agent:
    """Let a suspended agent log in again.

    Raises:
        Missing: agent.missing
        Invalid: text.*
        PreconditionFailed: version.changed
        Conflict: agent.deleted
    """
    return await _change_state(context, command, AgentState.ACTIVE)


@operation("agent.delete")
async def delete_agent(context: OperationContext, command: ChangeState) -> Agent:
    """Delete an agent for ever: its credentials and tokens are revoked and its permissions removed in the same moment.

    Raises:
        Missing: agent.missing
        PreconditionFailed: version.changed
        Conflict: agent.deleted
    """
    registration = await find_registration(context, command.ref, changeable=True)
    old = registration.agent
    check_version(old.version, command.expected)
    new = replace(old, state=AgentState.DELETED, version=old.version + 1)
    active = [one for one in registration.credentials if one.state is CredentialState.ACTIVE]
    await context.commit(
        "deleted",
        *(store.RevokeCredential(old.client_id, one.id) for one in active),
        *(store.DeletePermission(old.client_id, one.id) for one in registration.permissions),
        store.Replace(new),
        **agent_facts(new, revoked_credentials=len(active), revoked_permissions=len(registration.permissions)),
    )
    return new


async def _change_state(context: OperationContext, command: ChangeState, state: AgentState) -> Agent:
    old = await find_agent(context, command.ref, changeable=True)
    check_version(old.version, command.expected)
    note = check_text(command.note, "reason")
    new = old if old.state is state else replace(old, state=state, version=old.version + 1)
    changes = () if new is old else (store.Replace(new),)
    reason = "suspended" if state is AgentState.SUSPENDED else "resumed"
    await context.commit(reason, *changes, client_id=old.client_id, details=details(name=old.name, note=note))
    return new

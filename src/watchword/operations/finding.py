"""An agent by what an operator calls it: its ``client_id`` or its name."""

from __future__ import annotations

import re
from typing import Final

from watchword.errors import Conflict, Missing
from watchword.operations.context import OperationContext
from watchword.ports.agents import Agent, AgentState, Registration

_REFERENCE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


async def find_agent(context: OperationContext, ref: str, *, changeable: bool = False) -> Agent:
    """Return an agent; deleted ones are found by ``client_id`` only. ``changeable`` refuses a deleted one.

    Raises:
        Missing: agent.missing
        Conflict: agent.deleted
    """
    agent = await context.store.find_agent(ref) if _REFERENCE.fullmatch(ref) else None
    if agent is None:
        raise Missing("agent.missing", detail="There is no agent with this client_id or name.")
    if changeable and agent.state is AgentState.DELETED:
        raise Conflict("agent.deleted", detail="This agent is deleted, for ever. Create another.")
    return agent


async def find_registration(context: OperationContext, ref: str, *, changeable: bool = False) -> Registration:
    """Return an agent with its credentials and permissions.

    Raises:
        Missing: agent.missing
        Conflict: agent.deleted
    """
    agent = await find_agent(context, ref, changeable=changeable)
    registration = await context.store.registration(agent.client_id)
    if registration is None:
        raise Missing("agent.missing", detail="There is no agent with this client_id or name.")
    return registration

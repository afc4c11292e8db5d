"""``/agents`` of the admin API. ``ref`` is a ``client_id`` or a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from watchword.asgi.admin_models import NOTHING_SAID, AgentChange, NewAgent, StateChange
from watchword.asgi.admin_requests import DEFAULT_LIMIT, Context, Cursor, Expected, Limit, PageCursors, problems
from watchword.asgi.admin_views import AgentPage, AgentView, NewAgentView, agent_view, answer, new_agent_view
from watchword.operations import agent_states, agents
from watchword.ports.agents import Agent, AgentState
from watchword.protocol import names

Ref = Annotated[str, Path(description="The agent's `client_id` or name.", examples=["reader-k7q2m9xw"])]

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("", response_model=AgentPage)
async def list_agents(
    context: Context,
    cursors: PageCursors,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    state: Annotated[AgentState | None, Query(description="Without it, all but deleted ones.")] = None,
) -> Response:
    """List agents by `client_id`."""
    query = f"agents?state={state or ''}"
    command = agents.ListAgents(after=cursors.open(query, cursor), limit=limit, state=state)
    page = await agents.list_agents(context, command)
    following = cursors.issue(query, page.items[-1].client_id) if page.has_more else None
    return answer(AgentPage(items=[agent_view(one) for one in page.items], next_cursor=following))


@router.post("", status_code=201, response_model=NewAgentView, responses=problems(404, 409, 413, 415, 422))
async def create_agent(context: Context, body: NewAgent) -> Response:
    """Register an agent with its first way in and its permissions, all or nothing. A secret is shown this once."""
    new = await agents.create_agent(context, body.to_command())
    location = f"{context.issuer}{names.PATH_ADMIN}/agents/{new.agent.client_id}"
    return answer(new_agent_view(new, context.issuer), status=201, version=new.agent.version, location=location)


@router.get("/{ref}", response_model=AgentView, responses=problems(404))
async def show_agent(context: Context, ref: Ref) -> Response:
    """Show one agent; a deleted one by its `client_id`."""
    return _answer(await agents.show_agent(context, agents.ShowAgent(ref=ref)))


@router.patch("/{ref}", response_model=AgentView, responses=problems(404, 409, 412, 413, 415, 422))
async def update_agent(context: Context, ref: Ref, body: AgentChange, expected: Expected) -> Response:
    """Change what is said of an agent."""
    return _answer(await agents.update_agent(context, body.to_command(ref, expected)))


@router.delete("/{ref}", response_model=AgentView, responses=problems(404, 409, 412))
async def delete_agent(context: Context, ref: Ref, expected: Expected) -> Response:
    """Delete an agent for ever: credentials revoked, permissions removed."""
    return _answer(await agent_states.delete_agent(context, agent_states.ChangeState(ref=ref, expected=expected)))


@router.post("/{ref}/suspend", response_model=AgentView, responses=problems(404, 409, 412, 413, 415, 422))
async def suspend_agent(context: Context, ref: Ref, expected: Expected, body: StateChange = NOTHING_SAID) -> Response:
    """The kill switch: no token from now on, and those it has are dead. Suspending a suspended agent changes nothing."""
    return _answer(
        await agent_states.suspend_agent(
            context, agent_states.ChangeState(ref=ref, note=body.reason, expected=expected)
        )
    )


@router.post("/{ref}/resume", response_model=AgentView, responses=problems(404, 409, 412, 413, 415, 422))
async def resume_agent(context: Context, ref: Ref, expected: Expected, body: StateChange = NOTHING_SAID) -> Response:
    """Let a suspended agent log in again."""
    return _answer(
        await agent_states.resume_agent(context, agent_states.ChangeState(ref=ref, note=body.reason, expected=expected))
    )


def _answer(agent: Agent) -> Response:
    return answer(agent_view(agent), version=agent.version)

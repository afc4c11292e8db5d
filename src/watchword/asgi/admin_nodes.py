"""``/nodes`` of the admin API: the servers on this store."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from watchword.asgi.admin_requests import Context
from watchword.asgi.admin_views import Timestamp, answer
from watchword.operations import nodes
from watchword.ports.audit import format_time
from watchword.server.nodes import Standing

router = APIRouter(prefix="/nodes", tags=["nodes"])


class NodeView(BaseModel):
    """One server. ``silent``: it has not been heard of lately and did not take its leave.

    ``schema_known``: the last step of the store's tables that its version knows.
    """

    id: str
    name: str
    state: Literal["present", "silent"]
    offices: list[str]
    version: str
    schema_known: int
    started_at: Timestamp
    seen_at: Timestamp


class NodeList(BaseModel):
    """All nodes."""

    items: list[NodeView]


@router.get("", response_model=NodeList)
async def list_nodes(context: Context) -> Response:
    """List the servers on this store by name, and which of them does the periodic work."""
    listed = await nodes.list_nodes(context, nodes.ListNodes())
    return answer(NodeList(items=[_node_view(one) for one in listed]))


def _node_view(standing: Standing) -> NodeView:
    node = standing.node
    return NodeView(
        id=node.id,
        name=node.name,
        state="silent" if standing.is_silent else "present",
        offices=list(standing.offices),
        version=node.version,
        schema_known=node.schema,
        started_at=format_time(node.started_at),
        seen_at=format_time(node.seen_at),
    )

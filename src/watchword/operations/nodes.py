"""The servers of this store, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.operations.context import OperationContext
from watchword.operations.operation import operation
from watchword.server.nodes import Standing, standings


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNodes:
    """All of them."""


@operation("node.list")
async def list_nodes(context: OperationContext, _command: ListNodes) -> tuple[Standing, ...]:
    """Return every node that is there, or was until lately, by name."""
    return await standings(context.store, now=context.now)

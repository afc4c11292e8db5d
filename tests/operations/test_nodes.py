from dataclasses import replace

import pytest

from watchword.operations.nodes import ListNodes, list_nodes
from watchword.ports.agents import Role
from watchword.server.nodes import Standing
from watchword.server.offices import LEASE, UPKEEP
from watchword.testing.records import make_node

pytestmark = pytest.mark.anyio


async def test_a_viewer_sees_every_node_and_leaves_no_event(scene):
    node = replace(make_node(), seen_at=scene.clock())
    await scene.store.report(node)
    await scene.store.hold(UPKEEP, node.id, now=scene.clock(), until=scene.clock() + LEASE)
    assert await list_nodes(scene.context(Role.VIEWER), ListNodes()) == (Standing(node, (UPKEEP,), is_silent=False),)
    assert scene.store.trail == []


async def test_nobody_else_does(scene):
    assert await scene.refusal(list_nodes, ListNodes(), None) == "operator.role"

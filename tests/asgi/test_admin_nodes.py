"""``/nodes``: the servers on this store."""

from dataclasses import replace

import pytest

from watchword.ports.agents import Role
from watchword.ports.audit import format_time
from watchword.server.offices import LEASE, UPKEEP
from watchword.testing.records import make_node

pytestmark = pytest.mark.anyio


async def test_nodes_are_listed_with_what_they_do(desk):
    now = desk.clock()
    here, gone = (replace(make_node(f"n{number}", name=f"host-{number}:8020"), started_at=now) for number in (1, 2))
    await desk.store.report(replace(here, seen_at=now))
    await desk.store.report(replace(gone, seen_at=now - LEASE))
    await desk.store.hold(UPKEEP, "n1", now=now, until=now + LEASE)
    async with desk.client(Role.VIEWER) as viewer:
        answer = (await viewer.get("/nodes")).json()
    common = {"version": "1.0", "schema_known": 1, "started_at": format_time(now)}
    present = {
        "id": "n1",
        "name": "host-1:8020",
        "state": "present",
        "offices": ["upkeep"],
        "seen_at": format_time(now),
    }
    silent = {"id": "n2", "name": "host-2:8020", "state": "silent", "offices": [], "seen_at": format_time(now - LEASE)}
    assert answer == {"items": [present | common, silent | common]}


async def test_there_may_be_none(desk):
    async with desk.client() as admin:
        assert (await admin.get("/nodes")).json() == {"items": []}

"""The kill switch, at every level."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import Scene
from watchword.operations.revocations import RevokeIssued, Switch, revoke_issued
from watchword.ports.agents import Role

pytestmark = pytest.mark.anyio


@rule("R4")
@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("agent", "reader", [("agent", "reader")]),
        ("owner", "team", [("agent", "reader"), ("agent", "writer")]),
        ("label", "env=prod", [("agent", "reader")]),
        ("label", "env=nowhere", []),
        ("resource", "my-api", [("resource", "my-api")]),
        ("scope", "my-api read:data", [("scope", "my-api read:data")]),
        ("credential", "cred-1", [("credential", "cred-1")]),
        ("key", "kid-1", [("signing_key", "kid-1")]),
        ("everything", "", [("everything", "")]),
    ],
)
async def test_what_is_named_is_dead_and_nothing_else(scene: Scene, kind: str, target: str, expected: list) -> None:
    await scene.with_resource()
    names = {}
    for name, labels in (("reader", {"env": "prod"}), ("writer", {"env": "test"})):
        made = await scene.with_agent(name, owner="team", labels=labels)
        names[made.agent.client_id] = name
    await scene.with_agent("other", owner="others")
    done = await revoke_issued(scene.context(Role.ADMIN), RevokeIssued(kind=Switch(kind), target=target))
    rows = await scene.store.revocations(after=0, limit=9)
    assert sorted((str(one.kind), names.get(one.target, one.target)) for one in rows) == expected
    assert (done.targets, done.effective_at) == (len(expected), scene.clock())
    assert {one.cutoff for one in rows} <= {done.cutoff}
    assert (scene.last.action, scene.last.reason) == ("revocation.create", "revoked")


async def test_before_a_moment_and_never_ahead(scene: Scene) -> None:
    before = scene.clock() - timedelta(minutes=3)
    everything = RevokeIssued(kind=Switch.EVERYTHING, before=before)
    assert await scene.refusal(revoke_issued, everything) == "operator.role"
    assert (await revoke_issued(scene.context(Role.ADMIN), everything)).cutoff == before
    ahead = RevokeIssued(kind=Switch.CREDENTIAL, target="c", before=scene.clock() + timedelta(seconds=1))
    assert await scene.refusal(revoke_issued, ahead) == "revocation.before"
    assert await scene.refusal(revoke_issued, RevokeIssued(kind=Switch.AGENT)) == "revocation.target"
    assert await scene.refusal(revoke_issued, RevokeIssued(kind=Switch.AGENT, target="x")) == "agent.missing"

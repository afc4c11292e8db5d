from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from watchword.operations.agent_states import ChangeState, delete_agent
from watchword.operations.permissions import (
    MAX_PERMISSIONS,
    Grant,
    GrantPermission,
    ListPermissions,
    RevokePermission,
    grant_permission,
    list_permissions,
    revoke_permission,
)
from watchword.ports.agents import Conditions
from watchword.ports.audit import Outcome

pytestmark = pytest.mark.anyio


def granting(conditions=Conditions(), **members):  # noqa: B008 -- frozen
    grant = Grant(**{"resource": "my-api", "scopes": ("read:data",), "conditions": conditions, **members})
    return GrantPermission(ref="reader", grant=grant)


@pytest.fixture
async def agent(scene):
    await scene.with_resource()
    return (await scene.with_agent()).agent


async def test_a_permission_is_what_was_granted(scene, agent):
    conditions = Conditions(
        not_before=datetime(2027, 1, 1, tzinfo=UTC),
        source_networks=("10.0.0.0/8", "2001:DB8::/32", "192.0.2.1"),
        hours="22:00-06:00",
        maximum_lifetime=timedelta(seconds=60),
        require_sender_constraint=True,
    )
    permission = await grant_permission(scene.context(), granting(conditions, default_scopes=("read:data",)))
    assert permission.conditions.source_networks == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32")
    assert await list_permissions(scene.context(), ListPermissions(ref="reader")) == (permission,)
    event = scene.last
    assert (event.action, event.outcome, event.reason) == ("permission.grant", Outcome.SUCCESS, "granted")
    assert (event.client_id, event.resource, event.scope) == (agent.client_id, "my-api", "read:data")
    assert event.details["hours"] == "22:00-06:00"


@rule("S1", "S3")
@pytest.mark.parametrize("scope", ["read", "read:data:all", "READ:DATA", "*", "read:*"])
async def test_a_scope_that_the_resource_does_not_have_is_refused(scene, agent, scope):
    assert await scene.refusal(grant_permission, granting(scopes=(scope,))) == "permission.unknown_scope"
    assert (scene.last.resource, scene.last.scope) == ("my-api", scope)


@rule("S4")
async def test_default_scopes_are_among_the_scopes(scene, agent):
    command = granting(default_scopes=("write:data",))
    assert await scene.refusal(grant_permission, command) == "permission.default_scopes"


@rule("P12")
@pytest.mark.parametrize(
    "network",
    ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "::ffff:10.0.0.0/104", "fe80::1%eth0", "0x7f000001", "10.0.0.0/8 "],
)
async def test_a_network_that_cannot_be_judged_is_refused(scene, agent, network):
    assert (
        await scene.refusal(grant_permission, granting(Conditions(source_networks=(network,)))) == "conditions.networks"
    )


@pytest.mark.parametrize(
    "hours", ["8-18", "08:00-24:00", "08:00-08:00", "08:60-09:00", "08:00-18:00\n", "08:00", "٠٨:00-09:00"]
)
async def test_hours_that_cannot_be_judged_are_refused(scene, agent, hours):
    assert await scene.refusal(grant_permission, granting(Conditions(hours=hours))) == "conditions.hours"


@rule("S8")
@pytest.mark.parametrize("seconds", [0, -1, 3601, 1.5])
async def test_a_lifetime_out_of_bounds_is_refused(scene, agent, seconds):
    conditions = Conditions(maximum_lifetime=timedelta(seconds=seconds))
    assert await scene.refusal(grant_permission, granting(conditions)) == "conditions.maximum_lifetime"


async def test_a_period_that_is_none_is_refused(scene, agent):
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    naive = datetime(2027, 1, 1)  # noqa: DTZ001 -- meant
    for conditions in (Conditions(not_before=moment, not_after=moment), Conditions(not_after=naive)):
        assert await scene.refusal(grant_permission, granting(conditions)) == "conditions.period"


async def test_a_revoked_permission_is_gone(scene, agent):
    permission = await grant_permission(scene.context(), granting())
    await revoke_permission(scene.context(), RevokePermission(ref="reader", permission_id=permission.id))
    assert (scene.last.action, scene.last.reason, scene.last.scope) == ("permission.revoke", "revoked", "read:data")
    assert await list_permissions(scene.context(), ListPermissions(ref="reader")) == ()


@rule("A2", "KF-96")
async def test_another_agents_permission_is_not_found_here(scene, agent):
    permission = await grant_permission(scene.context(), granting())
    await scene.with_agent("writer")
    command = RevokePermission(ref="writer", permission_id=permission.id)
    assert await scene.refusal(revoke_permission, command) == "permission.missing"
    assert len(await list_permissions(scene.context(), ListPermissions(ref="reader"))) == 1


async def test_one_permission_too_many_is_refused(scene, agent):
    for _ in range(MAX_PERMISSIONS):
        await grant_permission(scene.context(), granting())
    assert await scene.refusal(grant_permission, granting()) == "permission.limit"


async def test_a_deleted_agent_gets_no_permission(scene, agent):
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    command = GrantPermission(ref=agent.client_id, grant=Grant(resource="my-api", scopes=("read:data",)))
    assert await scene.refusal(grant_permission, command) == "agent.deleted"

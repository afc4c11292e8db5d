"""Whatever ends, ends what was issued for it: in the same commit, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import ISSUER, Scene
from watchword.operations.agent_states import ChangeState, delete_agent, resume_agent, suspend_agent
from watchword.operations.agents import UpdateAgent, update_agent
from watchword.operations.credentials import RevokeCredential, revoke_credential
from watchword.operations.key_rotation import CompromiseSigningKey, compromise_signing_key
from watchword.operations.permissions import Grant, RevokePermission, revoke_permission
from watchword.operations.resources import DeleteResource, UpdateResource, delete_resource, update_resource
from watchword.ports.agents import Role
from watchword.ports.keys import KeyState
from watchword.ports.store import Create
from watchword.server.offices import BEAT
from watchword.server.revocations import LONGEST_HELD
from watchword.testing.records import make_event, make_node, make_signing_key

pytestmark = pytest.mark.anyio

GRANT = Grant(resource="my-api", scopes=("read:data",))


async def revoked(scene: Scene) -> dict[tuple[str, str], int]:
    """Every revocation in force, with how far its cut-off is from now in milliseconds."""
    found = await scene.store.revocations(after=0, limit=99)
    return {(str(one.kind), one.target): int((one.cutoff - scene.clock()).total_seconds() * 1000) for one in found}


@pytest.fixture
async def reader(scene: Scene):
    await scene.with_resource()
    return await scene.with_agent(grants=(GRANT,))


@rule("DR-8", "C9")
async def test_suspending_an_agent_ends_its_tokens_and_resuming_it_brings_none_back(scene: Scene, reader) -> None:
    await suspend_agent(scene.context(), ChangeState(ref="reader"))
    target = ("agent", reader.agent.client_id)
    assert await revoked(scene) == {target: 0}
    await resume_agent(scene.context(), ChangeState(ref="reader"))
    assert await revoked(scene) == {target: 0}


async def test_deleting_an_agent_ends_its_tokens(scene: Scene, reader) -> None:
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    assert ("agent", reader.agent.client_id) in await revoked(scene)


async def test_a_cut_off_is_a_whole_second_and_not_before_now(scene: Scene, reader) -> None:
    scene.clock.advance(timedelta(milliseconds=250))
    await suspend_agent(scene.context(), ChangeState(ref="reader"))
    assert await revoked(scene) == {("agent", reader.agent.client_id): 750}


@rule("R8")
async def test_a_cut_off_is_not_behind_a_node_with_a_fast_clock(scene: Scene, reader) -> None:
    await scene.store.report(replace(make_node(), seen_at=scene.clock() + timedelta(seconds=7)))
    await suspend_agent(scene.context(), ChangeState(ref="reader"))
    (ahead,) = (await revoked(scene)).values()
    assert 7000 <= ahead <= 7000 + BEAT.total_seconds() * 1000


@pytest.mark.parametrize(("before", "after", "is_cut"), [
    (None, 600, True), (7200, 3599, True), (1200, 600, True),
    (600, 1200, False), (None, 3600, False), (None, None, False), (600, None, False),
])  # fmt: skip
async def test_an_agent_that_is_to_end_sooner_ends_the_tokens_that_might_outlive_it(
    scene: Scene, reader, before: int | None, after: int | None, is_cut: bool
) -> None:
    def moment(seconds: int | None):
        return None if seconds is None else scene.clock() + timedelta(seconds=seconds)

    agent = await scene.with_agent("brief", expires_at=moment(before))
    await update_agent(scene.context(), UpdateAgent(ref="brief", expires_at=moment(after)))
    assert await revoked(scene) == ({("agent", agent.agent.client_id): 0} if is_cut else {})


async def test_revoking_a_credential_ends_what_was_obtained_with_it(scene: Scene, reader) -> None:
    command = RevokeCredential(ref="reader", credential_id=reader.credential.id)
    await revoke_credential(scene.context(), command)
    assert await revoked(scene) == {("credential", reader.credential.id): 0}


async def test_revoking_a_permission_ends_the_agents_tokens_for_the_resource(scene: Scene, reader) -> None:
    command = RevokePermission(ref="reader", permission_id=reader.permissions[0].id)
    await revoke_permission(scene.context(), command)
    assert await revoked(scene) == {("permission", f"{reader.agent.client_id} my-api"): 0}


async def test_a_scope_that_goes_and_a_resource_that_goes_end_their_tokens(scene: Scene) -> None:
    await scene.with_resource()
    await update_resource(scene.context(), UpdateResource(name="my-api", scopes=("read:data", "new")))
    assert await revoked(scene) == {("scope", "my-api write:data"): 0}
    await delete_resource(scene.context(), DeleteResource(name="my-api"))
    assert await revoked(scene) == {("scope", "my-api write:data"): 0, ("resource", "my-api"): 0}


async def test_a_key_that_is_somebody_elses_ends_all_that_it_signed(scene: Scene) -> None:
    await scene.store.commit(make_event(), [Create(replace(make_signing_key("key-abcdefgh"), state=KeyState.RETIRING))])
    await compromise_signing_key(scene.context(Role.ADMIN), CompromiseSigningKey(kid="key-abcdefgh"))
    assert await revoked(scene) == {("signing_key", "key-abcdefgh"): LONGEST_HELD / timedelta(milliseconds=1)}


async def test_who_serves_a_resource_may_read_the_feed_and_who_does_not_any_more_may_not(scene: Scene) -> None:
    await scene.with_resource()
    made = await scene.with_agent("api", serves=("my-api",))
    feed = f"{ISSUER}/oauth/events"
    found = await scene.store.registration(made.agent.client_id)
    assert found is not None
    assert [(one.resource, one.scopes) for one in found.permissions] == [("watchword-events", ("events:read",))]
    assert found.resources["watchword-events"].identifier == feed
    await scene.with_agent("another", serves=("my-api",))
    await update_agent(scene.context(), UpdateAgent(ref="api", serves=()))
    found = await scene.store.registration(made.agent.client_id)
    assert found is not None
    assert (found.agent.serves, found.permissions) == ((), ())
    assert await revoked(scene) == {("permission", f"{made.agent.client_id} {feed}"): 0}


async def test_that_an_agent_serves_everything_needs_an_admin(scene: Scene, reader) -> None:
    every = UpdateAgent(ref="reader", serves=("*",))
    assert await scene.refusal(update_agent, every) == "operator.role"
    assert (await update_agent(scene.context(Role.ADMIN), every)).serves == ("*",)
    assert (await update_agent(scene.context(), UpdateAgent(ref="reader", owner="team"))).serves == ("*",)
    assert await scene.refusal(update_agent, UpdateAgent(ref="reader", serves=("my-api", "my-api"))) == "agent.serves"
    assert await scene.refusal(update_agent, UpdateAgent(ref="reader", serves=("nothing",))) == "resource.missing"

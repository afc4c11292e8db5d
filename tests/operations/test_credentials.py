import asyncio
from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import PEPPERS
from watchword.errors import Problem
from watchword.operations.agent_states import ChangeState, delete_agent
from watchword.operations.credentials import (
    MAX_CREDENTIALS,
    AddCredential,
    ListCredentials,
    RevokeCredential,
    add_credential,
    list_credentials,
    revoke_credential,
)
from watchword.ports.agents import CredentialState
from watchword.protocol.client_secret import hash_secret

pytestmark = pytest.mark.anyio


async def test_a_second_secret_stands_beside_the_first(scene):
    first = await scene.with_agent()
    second = await add_credential(scene.context(), AddCredential(ref="reader", label="spare"))
    listed = await list_credentials(scene.context(), ListCredentials(ref="reader"))
    assert {one.id for one in listed} == {first.credential.id, second.credential.id}
    assert second.client_secret != first.client_secret
    assert (scene.last.action, scene.last.reason) == ("credential.create", "created")
    assert scene.last.credential_id == second.credential.id


@rule("P7", "P8")
async def test_the_secret_is_shown_once_and_stored_as_a_keyed_hash(scene):
    await scene.with_agent()
    new = await add_credential(scene.context(), AddCredential(ref="reader"))
    assert new.client_secret not in repr(new)
    listed = await list_credentials(scene.context(), ListCredentials(ref="reader"))
    assert new.client_secret not in repr(listed)
    assert new.credential.secret_hash == hash_secret(new.client_secret, pepper=PEPPERS.client_secret)
    assert new.client_secret.encode() not in b"".join(event.canonical_bytes() for event in scene.store.trail)


@rule("P11")
async def test_one_secret_too_many_is_refused_until_one_is_revoked(scene):
    first = await scene.with_agent()
    for _ in range(MAX_CREDENTIALS - 1):
        await add_credential(scene.context(), AddCredential(ref="reader"))
    assert await scene.refusal(add_credential, AddCredential(ref="reader")) == "credential.limit"
    gone = RevokeCredential(ref="reader", credential_id=first.credential.id)
    await revoke_credential(scene.context(), gone)
    await add_credential(scene.context(), AddCredential(ref="reader"))


async def test_expired_secrets_leave_room(scene):
    await scene.with_agent()
    soon = scene.clock() + timedelta(hours=1)
    for _ in range(MAX_CREDENTIALS - 1):
        await add_credential(scene.context(), AddCredential(ref="reader", expires_at=soon))
    scene.clock.advance(timedelta(hours=1))
    await add_credential(scene.context(), AddCredential(ref="reader"))


async def test_operators_at_the_same_moment_do_not_pass_the_limit_together(scene):
    await scene.with_agent()
    for _ in range(MAX_CREDENTIALS - 2):
        await add_credential(scene.context(), AddCredential(ref="reader"))
    store = scene.store
    commit, barrier = store.commit, asyncio.Barrier(2)

    async def commit_together(event, changes=(), **rest):
        if changes and store.commit is commit_together:
            await barrier.wait()
            store.commit = commit
        await commit(event, changes)

    store.commit = commit_together
    attempts = [add_credential(scene.context(), AddCredential(ref="reader")) for _ in range(2)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [one.reason for one in results if isinstance(one, Problem)] == ["credential.limit"]
    assert len(await list_credentials(scene.context(), ListCredentials(ref="reader"))) == MAX_CREDENTIALS


async def test_revoking_is_for_ever_and_may_be_repeated(scene):
    new = await scene.with_agent()
    command = RevokeCredential(ref="reader", credential_id=new.credential.id)
    for _ in range(2):
        revoked = await revoke_credential(scene.context(), command)
        assert revoked.state is CredentialState.REVOKED
        assert (scene.last.action, scene.last.reason) == ("credential.revoke", "revoked")


@rule("A2", "KF-96")
async def test_another_agents_credential_is_not_found_here(scene):
    await scene.with_agent("reader")
    other = await scene.with_agent("writer")
    command = RevokeCredential(ref="reader", credential_id=other.credential.id)
    assert await scene.refusal(revoke_credential, command) == "credential.missing"
    assert (await scene.store.registration(other.agent.client_id)).credentials[0].state is CredentialState.ACTIVE


async def test_a_validity_that_is_none_is_refused(scene):
    await scene.with_agent()
    now = scene.clock()
    for expires_at in (now, now - timedelta(days=1)):
        assert (
            await scene.refusal(add_credential, AddCredential(ref="reader", expires_at=expires_at))
            == "credential.expires_at"
        )
    later = now + timedelta(days=2)
    command = AddCredential(ref="reader", not_before=later, expires_at=later)
    assert await scene.refusal(add_credential, command) == "credential.not_before"


async def test_a_label_with_a_control_character_is_refused(scene):
    await scene.with_agent()
    assert await scene.refusal(add_credential, AddCredential(ref="reader", label="a\rb")) == "text.character"


async def test_a_deleted_agent_gets_no_secret(scene):
    new = await scene.with_agent()
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    assert await scene.refusal(add_credential, AddCredential(ref=new.agent.client_id)) == "agent.deleted"

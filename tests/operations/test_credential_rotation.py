import asyncio
from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import Scene
from watchword.errors import Problem
from watchword.operations.credential_rotation import RotateCredential, rotate_credential
from watchword.operations.credentials import (
    MAX_CREDENTIALS,
    AddCredential,
    ListCredentials,
    RevokeCredential,
    add_credential,
    list_credentials,
    revoke_credential,
)
from watchword.ports.agents import Credential, CredentialKind
from watchword.protocol.private_keys import generate_private_key

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


async def rotated(scene: Scene, credential_id: str, **how: object):
    return await rotate_credential(scene.context(), RotateCredential(ref="reader", credential_id=credential_id, **how))


async def refused(scene: Scene, credential_id: str, **how: object) -> str:
    return await scene.refusal(rotate_credential, RotateCredential(ref="reader", credential_id=credential_id, **how))


async def stored(scene: Scene) -> dict[str, Credential]:
    return {one.id: one for one in await list_credentials(scene.context(), ListCredentials(ref="reader"))}


@rule("C10", "TRAP-22")
async def test_another_secret_takes_the_place_of_one_which_ends_by_itself(scene):
    first = await scene.with_agent()
    rotation = await rotated(scene, first.credential.id, overlap=2 * HOUR, silence=HOUR)
    both = await stored(scene)
    old, new = both[first.credential.id], both[rotation.new.credential.id]
    assert rotation.new.client_secret != first.client_secret
    assert (old.expires_at, old.replaced_by, old.silence) == (scene.clock() + 2 * HOUR, new.id, HOUR)
    assert (new.expires_at, new.label, new.kind) == (None, old.label, old.kind)
    for moment, usable in ((0, [True, True]), (2 * 3600 - 1, [True, True]), (2 * 3600, [False, True])):
        at = scene.clock() + timedelta(seconds=moment)
        assert [one.is_usable(at) for one in (old, new)] == usable
    assert (scene.last.action, scene.last.reason, scene.last.credential_id) == ("credential.rotate", "rotated", new.id)
    assert scene.last.details["replaces"] == old.id
    assert rotation.new.client_secret not in repr(rotation)


@rule("TRAP-22")
@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(seconds=-1), timedelta(days=90, seconds=1)])
async def test_there_is_no_overlap_without_end_and_none_of_no_length(scene, overlap):
    first = await scene.with_agent()
    assert await refused(scene, first.credential.id, overlap=overlap) == "credential.overlap"
    assert len(await stored(scene)) == 1


@pytest.mark.parametrize("silence", [timedelta(0), HOUR + timedelta(seconds=1)])
async def test_a_silence_is_no_longer_than_the_overlap(scene, silence):
    first = await scene.with_agent()
    assert await refused(scene, first.credential.id, overlap=HOUR, silence=silence) == "credential.silence"


@rule("TRAP-22")
async def test_an_old_one_never_ends_later_than_it_would_have(scene):
    await scene.with_agent()
    short = await add_credential(scene.context(), AddCredential(ref="reader", expires_at=scene.clock() + HOUR))
    rotation = await rotated(scene, short.credential.id, overlap=24 * HOUR)
    assert (await stored(scene))[short.credential.id].expires_at == scene.clock() + HOUR
    assert rotation.new.credential.expires_at == scene.clock() + HOUR, "as long a life as the old one was to have"


async def test_label_and_end_of_the_new_one_can_be_said(scene):
    first = await scene.with_agent()
    rotation = await rotated(scene, first.credential.id, label="2027", expires_at=scene.clock() + HOUR)
    assert (rotation.new.credential.label, rotation.new.credential.expires_at) == ("2027", scene.clock() + HOUR)


async def test_one_that_is_being_replaced_is_not_replaced_twice(scene):
    first = await scene.with_agent()
    second = await rotated(scene, first.credential.id)
    assert await refused(scene, first.credential.id) == "credential.rotated"
    third = await rotated(scene, second.new.credential.id)
    assert third.old.replaced_by == third.new.credential.id


async def test_after_a_successor_was_revoked_there_may_be_another_with_the_same_end(scene):
    """As where the new secret was lost before anybody had it: the countdown goes on as it was."""
    first = await scene.with_agent()
    lost = await rotated(scene, first.credential.id, overlap=HOUR)
    await revoke_credential(scene.context(), RevokeCredential(ref="reader", credential_id=lost.new.credential.id))
    again = await rotated(scene, first.credential.id, overlap=24 * HOUR)
    assert again.old.expires_at == scene.clock() + HOUR
    assert again.new.credential.expires_at is None


async def test_two_operators_at_once_make_one_successor(scene):
    first = await scene.with_agent()
    commit, barrier, store = scene.store.commit, asyncio.Barrier(2), scene.store

    async def commit_together(event, changes=(), **rest):
        if changes and store.commit is commit_together:
            await barrier.wait()
            store.commit = commit
        await commit(event, changes, **rest)

    store.commit = commit_together
    results = await asyncio.gather(*(rotated(scene, first.credential.id) for _ in range(2)), return_exceptions=True)
    assert [one.reason for one in results if isinstance(one, Problem)] == ["credential.rotated"]
    assert len(await stored(scene)) == 2


async def test_what_has_ended_is_not_rotated(scene):
    first = await scene.with_agent()
    await revoke_credential(scene.context(), RevokeCredential(ref="reader", credential_id=first.credential.id))
    assert await refused(scene, first.credential.id) == "credential.ended"
    short = await add_credential(scene.context(), AddCredential(ref="reader", expires_at=scene.clock() + HOUR))
    scene.clock.advance(HOUR)
    assert await refused(scene, short.credential.id) == "credential.ended"
    assert await refused(scene, "cred-nobodys") == "credential.missing"


async def test_a_key_is_replaced_by_a_key_and_by_nothing_else(scene):
    await scene.with_agent()
    jwks = [dict(generate_private_key("ES256").public_jwk) for _ in range(2)]
    said = [{"jwk": jwk} for jwk in jwks]
    key = await add_credential(
        scene.context(), AddCredential(ref="reader", kind=CredentialKind.PUBLIC_KEY, details=said[0])
    )
    name = key.credential.id
    assert await refused(scene, name) == "registered_key.form"
    assert await refused(scene, name, kind=CredentialKind.CERTIFICATE, details={}) == "credential.kind"
    rotation = await rotated(scene, name, kind=CredentialKind.PUBLIC_KEY, details=said[1])
    assert rotation.new.client_secret == ""
    assert rotation.new.credential.kind is CredentialKind.PUBLIC_KEY


async def test_a_rotation_needs_room_for_one_more(scene):
    first = await scene.with_agent()
    for _ in range(MAX_CREDENTIALS - 1):
        await add_credential(scene.context(), AddCredential(ref="reader"))
    assert await refused(scene, first.credential.id) == "credential.limit"

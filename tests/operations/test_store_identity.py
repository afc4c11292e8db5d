import asyncio

import pytest

from tests import rule
from tests.operations.scene import ISSUER
from watchword.errors import BadSettings
from watchword.operations.store_identity import (
    BeginGeneration,
    RecordBackup,
    SetIssuer,
    begin_generation,
    claim_issuer,
    record_backup,
    set_issuer,
)
from watchword.ports.agents import Role
from watchword.ports.store import StoreIdentity

pytestmark = pytest.mark.anyio
ADMIN = Role.ADMIN


async def test_a_store_of_nobody_becomes_that_of_who_comes_first(scene):
    await claim_issuer(scene.context(ADMIN), place="here")
    assert await scene.store.identity() == StoreIdentity(issuer=ISSUER, version=2)
    assert scene.summary() == [("store.issuer", "success", "remembered")]
    await claim_issuer(scene.context(ADMIN), place="here")
    assert len(scene.store.trail) == 1


async def test_of_several_who_come_first_all_are_served(scene):
    await asyncio.gather(*(claim_issuer(scene.context(ADMIN), place="here") for _ in range(8)))
    assert (await scene.store.identity()).issuer == ISSUER


async def test_a_store_of_another_issuer_is_refused(scene):
    await set_issuer(scene.context(ADMIN), SetIssuer(issuer="https://other.example"))
    with pytest.raises(BadSettings) as caught:
        await claim_issuer(scene.context(ADMIN), place="here")
    assert caught.value.reason == "store.wrong_issuer"


@rule("O13")
async def test_a_store_that_was_put_back_begins_another_life(scene):
    await set_issuer(scene.context(ADMIN), SetIssuer(issuer=ISSUER))
    epoch = await scene.store.epoch()
    for generation in (2, 3):
        identity = await begin_generation(scene.context(ADMIN), BeginGeneration(file="a.backup", last_event="then"))
        assert (identity.generation, identity.restored_at, identity.issuer) == (generation, scene.clock(), ISSUER)
        assert scene.last.details == {"file": "a.backup", "last_event": "then", "generation": str(generation)}
    assert await scene.store.epoch() == epoch + 2


async def test_taking_a_copy_is_recorded(scene):
    await record_backup(scene.context(ADMIN), RecordBackup(file="/backups/a.backup"))
    assert (scene.last.action, scene.last.reason, scene.last.details) == (
        "store.backup",
        "copied",
        {"file": "/backups/a.backup"},
    )


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.MANAGER, None])
@pytest.mark.parametrize(
    ("operation", "command"),
    [
        (set_issuer, SetIssuer(issuer=ISSUER)),
        (record_backup, RecordBackup(file="x")),
        (begin_generation, BeginGeneration(file="x")),
    ],
)
async def test_only_an_admin_touches_the_store_itself(scene, operation, command, role):
    assert await scene.refusal(operation, command, role) == "operator.role"
    assert await scene.store.identity() == StoreIdentity()

"""Keys move to another custody as they rotate: what is unsafe, or leads nowhere, is refused and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import Conflict, CustodyUnavailable, Invalid, NoSigningKey
from watchword.operations.context import OperationContext
from watchword.operations.key_migration import MigrateSigningKey, migrate_signing_key
from watchword.operations.key_rotation import (
    PrepareSigningKey,
    PublishSigningKey,
    RetireSigningKey,
    prepare_signing_key,
    publish_signing_key,
    retire_signing_key,
)
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.ports.agents import Role
from watchword.ports.keys import KeyState, SigningKey
from watchword.server.custody import Custodies
from watchword.server.signing_keys import SigningKeys
from watchword.testing.faulty_signer import FaultySigner
from watchword.testing.signer_contract import sign

pytestmark = pytest.mark.anyio

NOTICE = timedelta(minutes=7)
THERE, HERE = MigrateSigningKey(custody="pkcs11"), MigrateSigningKey(custody="local")


@pytest.fixture
def there() -> FaultySigner:
    return FaultySigner(FileSigner(MasterKey(bytes(32))))


@pytest.fixture
def context(scene, there) -> OperationContext:
    here = FileSigner(MasterKey(bytes(range(32))))
    return replace(
        scene.context(Role.ADMIN), signer=Custodies({"local": here, "pkcs11": there}, mark_key=bytes(range(32)))
    )


@pytest.fixture
async def key(context) -> SigningKey:
    return await create_signing_key(context, CreateSigningKey())


async def refused(context: OperationContext, command: MigrateSigningKey) -> tuple[str, str]:
    with pytest.raises((Conflict, Invalid, NoSigningKey, CustodyUnavailable)) as caught:
        await migrate_signing_key(context, command)
    return caught.value.reason, caught.value.detail


async def active(context: OperationContext) -> tuple[str, str]:
    found = await SigningKeys(context.store).active("ES256")
    await sign(context.signer, found)
    return found.kid, found.custody


@rule("K1", "K8", "TRAP-22")
async def test_a_key_is_made_there_published_and_signs_when_it_may_and_the_way_back_is_the_same(scene, context, key):
    following = await migrate_signing_key(context, THERE)
    assert (following.state, following.custody) == (KeyState.PUBLISHED, "pkcs11")
    assert (scene.last.action, scene.last.reason, scene.last.kid) == ("key.migrate", "published", following.kid)
    assert scene.last.details == {"alg": "ES256", "custody": "pkcs11"}
    assert await active(context) == (key.kid, "local")
    assert (await refused(context, THERE))[0] == "key.too_early"
    scene.clock.advance(NOTICE)
    assert (await migrate_signing_key(context, THERE)).state is KeyState.ACTIVE
    assert await active(context) == (following.kid, "pkcs11")
    back = await migrate_signing_key(context, HERE)
    scene.clock.advance(NOTICE)
    await migrate_signing_key(context, HERE)
    assert await active(context) == (back.kid, "local")


async def test_a_custody_that_is_not_configured_is_refused_with_those_that_are(scene, context, key):
    reason, sentence = await refused(context, MigrateSigningKey(custody="aws_kms"))
    assert reason == "key.custody"
    assert "local, pkcs11: add its settings, on every node" in sentence
    alone = replace(context, signer=FileSigner(MasterKey(bytes(32))))
    assert (await refused(alone, THERE))[0] == "key.custody"
    assert await context.store.signing_keys() == [key]


async def test_what_is_there_already_does_not_move(context, key):
    assert (await refused(context, HERE))[0] == "key.held"
    await migrate_signing_key(context, THERE)


async def test_a_next_key_that_is_published_elsewhere_is_not_passed_over_in_silence(context, key):
    following = await publish_signing_key(context, PublishSigningKey())
    reason, sentence = await refused(context, THERE)
    assert (reason, following.kid in sentence) == ("key.published", True)
    await retire_signing_key(context, RetireSigningKey(kid=following.kid))
    assert (await migrate_signing_key(context, THERE)).custody == "pkcs11"


async def test_a_prepared_key_is_taken_only_if_it_is_there(context, key):
    elsewhere = await prepare_signing_key(context, PrepareSigningKey())
    moved = await migrate_signing_key(context, THERE)
    assert (moved.custody, moved.kid != elsewhere.kid) == ("pkcs11", True)


@rule("K8")
@pytest.mark.parametrize(("fault", "reason"), [("down", "custody.down"), ("denied", "keys.denied")])
async def test_a_custody_that_does_not_sign_gets_no_key_into_the_key_set(
    context, key, there, monkeypatch, fault, reason
):
    there.fault = fault
    assert (await refused(context, THERE))[0] == reason
    there.fault = ""
    generate = there.generate

    async def makes_but_does_not_sign(algorithm, *, now):
        made = await generate(algorithm, now=now)
        there.fault = fault
        return made

    monkeypatch.setattr(there, "generate", makes_but_does_not_sign)
    assert (await refused(context, THERE))[0] == reason
    assert await context.store.signing_keys() == [key]
    monkeypatch.undo()
    there.fault = ""
    await migrate_signing_key(context, THERE)


async def test_only_an_admin_moves_keys(scene):
    assert await scene.refusal(migrate_signing_key, THERE, Role.MANAGER) == "operator.role"

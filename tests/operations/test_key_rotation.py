"""Keys as operators steer them: nothing unsafe is done, and what is refused says until when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import Conflict, CustodyUnavailable, Missing
from watchword.operations.context import OperationContext
from watchword.operations.key_rotation import (
    CompromiseSigningKey,
    ListSigningKeys,
    PrepareSigningKey,
    PublishSigningKey,
    RetireSigningKey,
    RotateSigningKey,
    compromise_signing_key,
    list_signing_keys,
    prepare_signing_key,
    publish_signing_key,
    retire_signing_key,
    rotate_signing_key,
)
from watchword.operations.resources import CreateResource, UpdateResource, create_resource, update_resource
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.ports.agents import Role
from watchword.ports.keys import KeyState, SigningKey
from watchword.server.custody import Custodies
from watchword.server.key_schedule import Move
from watchword.server.signing_keys import SigningKeys
from watchword.testing.faulty_signer import FaultySigner
from watchword.testing.records import make_node
from watchword.testing.signer_contract import sign

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
NOTICE, LINGER = timedelta(minutes=7), timedelta(minutes=67)


@pytest.fixture
def context(scene) -> OperationContext:
    return replace(scene.context(Role.ADMIN), signer=FileSigner(MasterKey(bytes(range(32)))))


@pytest.fixture
async def key(scene, context) -> SigningKey:
    return await create_signing_key(context, CreateSigningKey())


async def refused(context: OperationContext, operation, command) -> tuple[str, str]:
    with pytest.raises((Conflict, Missing)) as caught:
        await operation(context, command)
    return caught.value.reason, caught.value.detail


def told(scene) -> tuple[str, str, str]:
    return scene.last.action, scene.last.reason, scene.last.kid


@rule("TRAP-22", "K1")
async def test_a_rotation_is_published_waits_and_takes_over(scene, context, key):
    following = await rotate_signing_key(context, RotateSigningKey())
    assert (following.state, told(scene)) == (KeyState.PUBLISHED, ("key.rotate", "published", following.kid))
    reason, sentence = await refused(context, rotate_signing_key, RotateSigningKey())
    assert (reason, scene.last.reason) == ("key.too_early", "key.too_early")
    assert sentence == "Verifiers may still hold the old set until 2026-11-24T12:07:00Z."
    scene.clock.advance(NOTICE)
    active = await rotate_signing_key(context, RotateSigningKey())
    assert (active.kid, active.state, told(scene)[1]) == (following.kid, KeyState.ACTIVE, "activated")
    keys = await list_signing_keys(context, ListSigningKeys())
    assert {one.kid: one.state for one in keys.keys} == {key.kid: KeyState.RETIRING, active.kid: KeyState.ACTIVE}
    assert {step.move for step in keys.plan} == {Move.PUBLISH, Move.RETIRE}


@rule("TRAP-22")
async def test_a_key_is_retired_when_no_token_of_it_can_be_alive(scene, context, key):
    await rotate_signing_key(context, RotateSigningKey())
    scene.clock.advance(NOTICE)
    await rotate_signing_key(context, RotateSigningKey())
    reason, sentence = await refused(context, retire_signing_key, RetireSigningKey(kid=key.kid))
    assert (reason, sentence) == ("key.too_early", "Tokens that it signed may be valid until 2026-11-24T13:14:00Z.")
    scene.clock.advance(LINGER)
    gone = await retire_signing_key(context, RetireSigningKey(kid=key.kid))
    assert (gone.state, gone.sealed, told(scene)) == (KeyState.RETIRED, b"", ("key.retire", "retired", key.kid))


@rule("K10", "TRAP-22")
@pytest.mark.parametrize("late", [timedelta(hours=1), timedelta(0)], ids=["asked ahead", "published behind"])
async def test_a_clock_that_is_an_hour_off_makes_no_step_early(scene, context, key, late):
    """The other node's is right. It is told in the store by its reports."""
    right = scene.clock()
    await scene.store.report(replace(make_node("right"), seen_at=right))
    if not late:
        scene.clock.advance(-HOUR)
    following = await rotate_signing_key(context, RotateSigningKey())
    assert following.published_at == right
    scene.clock.advance(HOUR)
    reason, sentence = await refused(context, rotate_signing_key, RotateSigningKey())
    assert reason == "key.too_early"
    assert sentence.startswith("Verifiers may still hold the old set until 2026-11-24T12:07:00Z.")
    assert ("showed 2026-11-24T12:00:00Z last" in sentence) is bool(late)
    await scene.store.report(replace(make_node("right"), seen_at=right + NOTICE))
    if not late:
        scene.clock.advance(NOTICE)
    active = await rotate_signing_key(context, RotateSigningKey())
    assert (active.kid, active.state) == (following.kid, KeyState.ACTIVE)


@rule("K10")
async def test_no_key_is_retired_by_a_clock_that_is_ahead(scene, context, key):
    await rotate_signing_key(context, RotateSigningKey())
    scene.clock.advance(NOTICE)
    await rotate_signing_key(context, RotateSigningKey())
    await scene.store.report(replace(make_node("right"), seen_at=scene.clock()))
    scene.clock.advance(LINGER)
    assert (await refused(context, retire_signing_key, RetireSigningKey(kid=key.kid)))[0] == "key.too_early"
    await scene.store.report(replace(make_node("right"), seen_at=scene.clock()))
    assert (await retire_signing_key(context, RetireSigningKey(kid=key.kid))).state is KeyState.RETIRED


async def test_a_published_key_that_is_wanted_goes_first(scene, context, key):
    following = await publish_signing_key(context, PublishSigningKey())
    assert (await refused(context, publish_signing_key, PublishSigningKey()))[0] == "key.published"
    wanted = await rotate_signing_key(context, RotateSigningKey())
    assert (wanted.kid, wanted.wanted_at, told(scene)[1]) == (following.kid, context.now, "wanted")
    plan = (await list_signing_keys(context, ListSigningKeys())).plan
    assert [(step.at, step.move) for step in plan] == [(context.now + NOTICE, Move.ACTIVATE)]


async def test_a_prepared_key_is_seen_by_nobody_until_it_is_published(scene, context, key):
    ready = await prepare_signing_key(context, PrepareSigningKey(algorithm="Ed25519"))
    assert ready.kid not in (await SigningKeys(scene.store).jwks()).body.decode()
    shown = await publish_signing_key(context, PublishSigningKey(kid=ready.kid[:8]))
    assert (shown.kid, shown.state) == (ready.kid, KeyState.PUBLISHED)
    assert ready.kid in (await SigningKeys(scene.store).jwks()).body.decode()
    assert (await refused(context, publish_signing_key, PublishSigningKey(kid=ready.kid)))[0] == "key.published"
    assert (await refused(context, publish_signing_key, PublishSigningKey(kid=key.kid)))[0] == "key.state"


@rule("K2", "K3")
async def test_a_compromised_key_is_replaced_at_once_by_one_that_nobody_had(scene, context, key):
    following = await publish_signing_key(context, PublishSigningKey())
    view = SigningKeys(scene.store)
    assert (await view.active("ES256")).kid == key.kid
    done = await compromise_signing_key(context, CompromiseSigningKey(kid=key.kid, reason="It was mailed."))
    assert done.replacement is not None
    assert done.replacement.kid not in {key.kid, following.kid}
    assert await view.active("ES256") == done.replacement
    assert key.kid not in (await view.jwks()).body.decode()
    assert told(scene) == ("key.compromise", "compromised", key.kid)
    assert scene.last.details == {"alg": "ES256", "replacement": done.replacement.kid, "reason": "It was mailed."}
    assert (await refused(context, compromise_signing_key, CompromiseSigningKey(kid=key.kid)))[0] == "key.state"


async def test_a_key_that_did_not_sign_is_given_up_without_another(scene, context, key):
    following = await publish_signing_key(context, PublishSigningKey())
    done = await compromise_signing_key(context, CompromiseSigningKey(kid=following.kid))
    assert done.replacement is None
    states = {one.kid: one.state for one in await scene.store.signing_keys()}
    assert states == {key.kid: KeyState.ACTIVE, following.kid: KeyState.COMPROMISED}


@rule("K11")
async def test_a_resource_changes_its_algorithm_when_every_verifier_has_the_key(scene, context, key):
    await create_resource(context, CreateResource(name="api", scopes=("r",)))
    change = UpdateResource(name="api", signing_algorithm="Ed25519")
    reason, sentence = await refused(context, update_resource, change)
    assert reason == "key.unpublished"
    assert "watchword key publish --alg Ed25519" in sentence
    await publish_signing_key(context, PublishSigningKey(algorithm="Ed25519"))
    assert (await refused(context, update_resource, change))[0] == "key.too_early"
    scene.clock.advance(NOTICE)
    await update_resource(context, change)
    states = {(one.algorithm, one.state) for one in await scene.store.signing_keys()}
    assert states == {("ES256", KeyState.ACTIVE), ("Ed25519", KeyState.ACTIVE)}


async def test_the_key_of_an_algorithm_that_nobody_uses_may_go(scene, context, key):
    await create_resource(context, CreateResource(name="api", scopes=("r",), signing_algorithm="PS256"))
    (other,) = (one for one in await scene.store.signing_keys() if one.algorithm == "PS256")
    for kid in (key.kid, other.kid):
        assert (await refused(context, retire_signing_key, RetireSigningKey(kid=kid)))[0] == "key.active"
    await update_resource(context, UpdateResource(name="api", scopes=("r", "s")))
    scene.clock.advance(NOTICE)
    await update_resource(context, UpdateResource(name="api", signing_algorithm="ES256"))
    leaving = await retire_signing_key(context, RetireSigningKey(kid=other.kid))
    assert (leaving.state, told(scene)) == (KeyState.RETIRING, ("key.retire", "retiring", other.kid))


async def test_where_nothing_signs_the_first_key_signs_at_once(scene, context, key):
    first = await rotate_signing_key(context, RotateSigningKey(algorithm="RS256"))
    assert (first.state, told(scene)) == (KeyState.ACTIVE, ("key.rotate", "created", first.kid))


@pytest.mark.parametrize("kid", ["", "nobody", "x" * 43])
async def test_a_key_that_is_not_there_is_missing(scene, context, key, kid):
    for operation, command in (
        (retire_signing_key, RetireSigningKey(kid=kid)),
        (compromise_signing_key, CompromiseSigningKey(kid=kid)),
        (retire_signing_key, RetireSigningKey(kid=key.kid[:7])),
    ):
        assert (await refused(context, operation, command))[0] == "key.missing"


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        (prepare_signing_key, PrepareSigningKey()),
        (publish_signing_key, PublishSigningKey()),
        (rotate_signing_key, RotateSigningKey()),
        (retire_signing_key, RetireSigningKey(kid="k")),
        (compromise_signing_key, CompromiseSigningKey(kid="k")),
    ],
)
async def test_only_an_admin_touches_keys(scene, operation, command):
    assert await scene.refusal(operation, command, Role.MANAGER) == "operator.role"


@rule("K1", "K8")
async def test_keys_move_to_another_custody_by_ordinary_rotation(scene, context):
    """The settings name another one for new keys; the old key signs where it is until the new one may."""
    here, there = FileSigner(MasterKey(bytes(range(32)))), FaultySigner(FileSigner(MasterKey(bytes(32))))
    before = Custodies({"local": here}, mark_key=bytes(32))
    after = Custodies({"local": here, "pkcs11": there}, mark_key=bytes(32), default="pkcs11")
    old = await create_signing_key(replace(context, signer=before), CreateSigningKey())
    context = replace(context, signer=after)
    keys = SigningKeys(context.store)
    following = await rotate_signing_key(context, RotateSigningKey())
    assert ((await keys.active("ES256")).custody, following.custody) == ("local", "pkcs11")
    await sign(after, await keys.active("ES256"))
    assert await refused(context, rotate_signing_key, RotateSigningKey()) != ("", "")
    scene.clock.advance(NOTICE)
    await rotate_signing_key(context, RotateSigningKey())
    active = await keys.active("ES256")
    assert (active.kid, active.custody) == (following.kid, "pkcs11")
    await sign(after, active)
    document = json.loads((await keys.jwks()).body)
    assert {one["kid"] for one in document["keys"]} == {old.kid, active.kid}
    asked, there.fault = there.asked, "down"
    with pytest.raises(CustodyUnavailable):
        await after.sign(active, b"message")
    assert there.asked == asked + 1

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import PEPPERS
from watchword.errors import Conflict, Forbidden, Problem, StoreUnavailable, Unauthenticated
from watchword.operations.context import Principal
from watchword.operations.operators import (
    CreateOperator,
    DisableOperator,
    ListOperators,
    LocalOperator,
    OperatorTokens,
    create_operator,
    disable_operator,
    list_operators,
)
from watchword.ports.agents import Operator, Role
from watchword.ports.store import Create
from watchword.protocol.client_secret import SecretKind, generate_secret, hash_secret, looks_like_secret

pytestmark = pytest.mark.anyio

ACCESS_TOKEN = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.eyJzY29wZSI6ImFkbWluIn0.c2lnbmF0dXJl"


@pytest.fixture
async def new(scene):
    return await create_operator(scene.context(Role.ADMIN), CreateOperator(name="alice", role=Role.MANAGER))


async def refusal(scene, *authorization):
    with pytest.raises(Problem) as caught:
        await OperatorTokens(scene.store, scene.clock, PEPPERS.operator_token)(authorization)
    return caught.value


async def accepted(scene, token):
    return await OperatorTokens(scene.store, scene.clock, PEPPERS.operator_token)([b"Bearer " + token.encode()])


async def test_an_operator_is_known_by_the_credential(scene, new):
    assert await accepted(scene, new.token) == Principal(f"operator:{new.operator.id}", Role.MANAGER)


@rule("P7", "P8", "U4")
async def test_the_credential_is_shown_once_and_stored_as_a_keyed_hash(scene, new):
    assert looks_like_secret(new.token)
    assert new.token.startswith("wwo_")
    assert new.operator.token_hash == hash_secret(new.token, pepper=PEPPERS.operator_token)
    assert new.token not in repr(new) + repr(await list_operators(scene.context(Role.ADMIN), ListOperators()))
    assert new.token not in scene.last.canonical_bytes().decode()


@rule("A4", "KF-90")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.MANAGER, None])
async def test_only_an_admin_makes_an_operator(scene, role):
    command = CreateOperator(name="mallory", role=Role.ADMIN)
    assert await scene.refusal(create_operator, command, role) == "operator.role"
    assert await scene.store.operators() == []


async def test_a_second_operator_of_the_same_name_is_refused(scene, new):
    command = CreateOperator(name="alice", role=Role.VIEWER)
    assert await scene.refusal(create_operator, command, Role.ADMIN) == "operator.exists"


@rule("P1")
async def test_every_alteration_of_the_credential_is_refused(scene, new):
    altered = {new.token[:-1], new.token + "x", new.token.swapcase(), new.token.replace("wwo_", "wwo_x")}
    altered |= {
        new.token[:n] + ("0" if new.token[n] != "0" else "1") + new.token[n + 1 :] for n in range(len(new.token))
    }
    for token in altered:
        assert isinstance(await refusal(scene, b"Bearer " + token.encode()), Unauthenticated)


async def test_another_credential_of_the_right_form_is_refused(scene, new):
    stranger = generate_secret(SecretKind.OPERATOR).encode()
    assert (await refusal(scene, b"Bearer " + stranger)).reason == "operator.credential"


@rule("C16")
@pytest.mark.parametrize("kind", [SecretKind.CLIENT, SecretKind.API_KEY])
async def test_an_agents_secret_is_no_operators_credential(scene, new, kind):
    assert (await refusal(scene, b"Bearer " + generate_secret(kind).encode())).reason == "operator.agent_secret"


@rule("A3", "KF-90")
async def test_an_agents_token_does_not_administer_whatever_its_scope(scene, new):
    error = await refusal(scene, b"Bearer " + ACCESS_TOKEN.encode())
    assert (type(error), error.reason) == (Forbidden, "operator.agent_token")


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ((), "operator.missing"),
        ((b"Basic YTpi",), "operator.scheme"),
        ((b"Bearer",), "authorization.syntax"),
        ((b"",), "authorization.syntax"),
        ((b"Bearer a b",), "authorization.syntax"),
        ((b"Bearer x", b"Bearer y"), "authorization.several"),
    ],
)
async def test_another_authorization_is_refused(scene, authorization, reason):
    error = await refusal(scene, *authorization)
    assert (type(error), error.reason) == (Unauthenticated, reason)


async def test_an_expired_operator_is_refused(scene):
    end = scene.clock() + timedelta(hours=1)
    command = CreateOperator(name="alice", role=Role.VIEWER, expires_at=end)
    new = await create_operator(scene.context(Role.ADMIN), command)
    await accepted(scene, new.token)
    scene.clock.advance(timedelta(hours=1))
    assert (await refusal(scene, b"Bearer " + new.token.encode())).reason == "operator.expired"


async def test_a_disabled_operator_is_refused(scene):
    token = generate_secret(SecretKind.OPERATOR)
    operator = Operator(
        id="op-1",
        name="bob",
        role=Role.ADMIN,
        created_at=scene.clock(),
        is_disabled=True,
        token_hash=hash_secret(token, pepper=PEPPERS.operator_token),
    )
    event = scene.context()._event("success", "created", {})
    await scene.store.commit(event, [Create(operator)])
    assert (await refusal(scene, b"Bearer " + token.encode())).reason == "operator.disabled"


async def test_nobody_is_let_in_while_the_store_cannot_be_read(scene, new):
    scene.store.is_down = True
    with pytest.raises(StoreUnavailable):
        await accepted(scene, new.token)


async def test_who_holds_the_files_is_an_admin(scene):
    assert await LocalOperator("alice")([]) == Principal("local:alice", Role.ADMIN)


async def disabled(scene, ref, role=Role.ADMIN, **members):
    return await disable_operator(scene.context(role), DisableOperator(ref=ref, **members))


@pytest.fixture
async def admins(scene):
    context = scene.context(Role.ADMIN)
    return [await create_operator(context, CreateOperator(name=name, role=Role.ADMIN)) for name in ("carol", "dave")]


@pytest.mark.parametrize("member", ["id", "name"])
async def test_a_disabled_operator_gets_in_no_more(scene, new, admins, member):
    gone = await disabled(scene, getattr(new.operator, member), note="left the company")
    assert (gone.is_disabled, gone.version) == (True, 2)
    assert (scene.last.action, scene.last.reason, scene.last.details["note"]) == (
        "operator.disable",
        "disabled",
        "left the company",
    )
    assert (await refusal(scene, b"Bearer " + new.token.encode())).reason == "operator.disabled"
    events = len(scene.store.trail)
    assert await disabled(scene, gone.name) == gone
    assert len(scene.store.trail) == events


@rule("A4")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.MANAGER, None])
async def test_only_an_admin_disables(scene, admins, role):
    assert await scene.refusal(disable_operator, DisableOperator(ref="carol"), role) == "operator.role"


@rule("A5")
async def test_the_last_admin_is_not_disabled(scene, new, admins):
    await disabled(scene, "carol")
    assert await scene.refusal(disable_operator, DisableOperator(ref="dave"), Role.ADMIN) == "operator.last_admin"
    await accepted(scene, admins[1].token)
    await create_operator(scene.context(Role.ADMIN), CreateOperator(name="erin", role=Role.ADMIN))
    await disabled(scene, "dave")


@rule("A5")
async def test_an_admin_whose_time_is_over_is_no_admin_left(scene):
    context, end = scene.context(Role.ADMIN), scene.clock() + timedelta(hours=1)
    await create_operator(context, CreateOperator(name="carol", role=Role.ADMIN))
    await create_operator(context, CreateOperator(name="guest", role=Role.ADMIN, expires_at=end))
    scene.clock.advance(timedelta(hours=1))
    assert await scene.refusal(disable_operator, DisableOperator(ref="carol"), Role.ADMIN) == "operator.last_admin"
    await disabled(scene, "guest")


@rule("A5")
async def test_two_admins_who_disable_each_other_do_not_both_go(scene, admins):
    outcomes = await asyncio.gather(disabled(scene, "carol"), disabled(scene, "dave"), return_exceptions=True)
    assert sorted(getattr(outcome, "reason", "") for outcome in outcomes) == ["", "operator.last_admin"]
    assert len([one for one in await scene.store.operators() if not one.is_disabled]) == 1


@rule("A5")
async def test_nobody_locks_himself_out(scene, admins):
    carol = admins[0].operator
    context = replace(scene.context(Role.ADMIN), principal=Principal(f"operator:{carol.id}", Role.ADMIN))
    with pytest.raises(Conflict) as caught:
        await disable_operator(context, DisableOperator(ref="carol"))
    assert caught.value.reason == "operator.self"
    await disable_operator(context, DisableOperator(ref="dave"))


async def test_an_operator_that_is_not_there_is_not_disabled(scene, admins):
    for ref in ("nobody", "", "CAROL"):
        assert await scene.refusal(disable_operator, DisableOperator(ref=ref), Role.ADMIN) == "operator.unknown"


@rule("A13")
async def test_of_two_who_create_the_same_operator_one_wins(scene):
    command = CreateOperator(name="first", role=Role.ADMIN)
    attempts = [create_operator(scene.context(Role.ADMIN), command) for _ in range(8)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    reasons = [getattr(outcome, "reason", "made") for outcome in outcomes]
    assert sorted(reasons) == ["made", *["operator.exists"] * 7]
    assert [one.name for one in await scene.store.operators()] == ["first"]

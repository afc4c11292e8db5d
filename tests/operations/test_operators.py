from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import PEPPERS
from watchword.errors import Forbidden, Problem, StoreUnavailable, Unauthenticated
from watchword.operations.context import Principal
from watchword.operations.operators import (
    CreateOperator,
    ListOperators,
    LocalOperator,
    OperatorTokens,
    create_operator,
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

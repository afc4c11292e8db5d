from dataclasses import replace
from datetime import timedelta

import pytest

from tests import rule
from tests.operations.scene import ISSUER
from watchword.errors import Invalid
from watchword.operations.agent_states import ChangeState, delete_agent
from watchword.operations.permissions import Grant
from watchword.operations.resources import (
    CreateResource,
    DeleteResource,
    ListResources,
    ShowResource,
    UpdateResource,
    create_resource,
    delete_resource,
    list_resources,
    show_resource,
    update_resource,
)
from watchword.ports.agents import Resource, Role
from watchword.ports.audit import Outcome
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.server.security_profile import FAPI2

pytestmark = pytest.mark.anyio


async def test_a_resource_is_what_was_asked_for(scene):
    command = CreateResource(
        name="my-api", scopes=("read:data",), identifier="https://api.example/v1", require_pop=True
    )
    created = await create_resource(scene.context(), command)
    assert created == Resource(
        name="my-api",
        identifier="https://api.example/v1",
        scopes=("read:data",),
        created_at=scene.clock(),
        require_pop=True,
    )
    assert await show_resource(scene.context(Role.VIEWER), ShowResource(name="my-api")) == created


async def test_the_identifier_is_the_name_unless_given(scene):
    assert (await scene.with_resource("my-api")).identifier == "my-api"


async def test_the_event_tells_who_made_what(scene):
    await scene.with_resource("my-api", ("read:data",))
    event = scene.last
    assert (event.action, event.outcome, event.reason) == ("resource.create", Outcome.SUCCESS, "created")
    assert (event.actor, event.request_id, event.peer) == ("operator:manager", "req-1", "192.0.2.7")
    assert event.resource == "my-api"
    assert event.details["scopes"] == "read:data"


@rule("S8")
@pytest.mark.parametrize("seconds", [-1, 0, 0.5, 3601, 10**9])
async def test_a_lifetime_out_of_bounds_is_refused(scene, seconds):
    command = CreateResource(name="my-api", scopes=("r",), token_lifetime=timedelta(seconds=seconds))
    assert await scene.refusal(create_resource, command) == "resource.token_lifetime"


@pytest.mark.parametrize("seconds", [1, 3600])
async def test_a_lifetime_at_a_bound_is_accepted(scene, seconds):
    command = CreateResource(name="my-api", scopes=("r",), token_lifetime=timedelta(seconds=seconds))
    assert (await create_resource(scene.context(), command)).token_lifetime == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "name", ["", "My-api", "-api", ".api", "a" * 64, "my api", "my/api", "api\n", "äpi", "a\x00", "../x", "%2e"]
)
async def test_a_name_of_other_characters_is_refused(scene, name):
    assert await scene.refusal(create_resource, CreateResource(name=name, scopes=("r",))) == "resource.name"


@pytest.mark.parametrize(
    ("scopes", "reason"),
    [
        ((), "scope.none"),
        (("a b",), "scope.syntax"),
        (('a"',), "scope.syntax"),
        (("a\\",), "scope.syntax"),
        (("",), "scope.syntax"),
        (("lésen",), "scope.syntax"),
        (("a", "a"), "scope.duplicate"),
        (tuple(f"s{n}" for n in range(501)), "scope.too_many"),
    ],
)
@rule("S2")
async def test_scopes_that_could_not_be_asked_for_are_refused(scene, scopes, reason):
    assert await scene.refusal(create_resource, CreateResource(name="my-api", scopes=scopes)) == reason


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("http://api.example", "target.insecure"),
        ("https://api.example#x", "target.fragment"),
        ("two words", "target.syntax"),
        ("", "target.syntax"),
        (ISSUER, "resource.identifier_reserved"),
        (ISSUER + "/", "resource.identifier_reserved"),
        (ISSUER + "/oauth/token", "resource.identifier_reserved"),
        (ISSUER + "/admin/v1", "resource.identifier_reserved"),
        pytest.param(generate_secret(SecretKind.CLIENT), "text.secret", id="a secret"),
        pytest.param("https://api.example/" + generate_secret(SecretKind.OPERATOR), "text.secret", id="one in a URL"),
    ],
)
@rule("S5", "TRAP-24")
async def test_an_identifier_that_cannot_be_an_audience_is_refused(scene, identifier, reason):
    command = CreateResource(name="my-api", scopes=("r",), identifier=identifier)
    assert await scene.refusal(create_resource, command) == reason


@rule("C13", "TRAP-24", "U4")
async def test_a_secret_that_was_taken_for_a_scope_is_refused_and_not_recorded(scene):
    secret = generate_secret(SecretKind.CLIENT)
    command = CreateResource(name="my-api", scopes=("read:data", secret))
    assert await scene.refusal(create_resource, command) == "text.secret"
    assert secret not in (await scene.store.events())[-1].payload.decode()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "es256", "", "RS512"])
async def test_an_algorithm_we_do_not_sign_with_is_refused(scene, algorithm):
    command = CreateResource(name="my-api", scopes=("r",), signing_algorithm=algorithm)
    assert await scene.refusal(create_resource, command) == "resource.signing_algorithm"


async def test_what_the_security_profile_excludes_is_refused_while_the_server_runs(scene):
    strict = replace(scene.context(), signing_algorithms=FAPI2.signing_algorithms)
    for algorithm in ("RS256", "ES384"):
        with pytest.raises(Invalid) as caught:
            await create_resource(strict, CreateResource(name="my-api", scopes=("r",), signing_algorithm=algorithm))
        assert caught.value.reason == "resource.signing_algorithm"
    await create_resource(strict, CreateResource(name="my-api", scopes=("r",), signing_algorithm="PS256"))
    with pytest.raises(Invalid) as caught:
        await update_resource(strict, UpdateResource(name="my-api", signing_algorithm="RS256"))
    assert "one of ES256, Ed25519, PS256" in caught.value.detail
    await update_resource(strict, UpdateResource(name="my-api", token_lifetime=timedelta(minutes=5)))


async def test_a_second_resource_of_the_same_name_is_refused(scene):
    await scene.with_resource("my-api")
    assert await scene.refusal(create_resource, CreateResource(name="my-api", scopes=("r",))) == "resource.exists"


@rule("S6")
async def test_a_second_resource_with_the_same_identifier_is_refused(scene):
    await scene.with_resource("my-api")
    command = CreateResource(name="other", scopes=("r",), identifier="my-api")
    assert await scene.refusal(create_resource, command) == "resource.identifier"


async def test_only_what_is_named_is_changed(scene):
    created = await scene.with_resource()
    updated = await update_resource(
        scene.context(), UpdateResource(name="my-api", token_lifetime=timedelta(seconds=60))
    )
    assert (updated.scopes, updated.token_lifetime, updated.version) == (created.scopes, timedelta(seconds=60), 2)
    assert scene.last.reason == "updated"


@rule("A15")
async def test_a_change_to_another_version_than_was_read_is_refused(scene):
    await scene.with_resource()
    seen = frozenset({1})
    await update_resource(scene.context(), UpdateResource(name="my-api", require_pop=True, expected=seen))
    command = UpdateResource(name="my-api", require_pop=False, expected=seen)
    assert await scene.refusal(update_resource, command) == "version.changed"
    assert await scene.refusal(delete_resource, DeleteResource(name="my-api", expected=seen)) == "version.changed"
    assert (await scene.store.resource("my-api")).require_pop


async def test_a_scope_that_a_permission_uses_stays(scene):
    await scene.with_resource()
    await scene.with_agent(grants=(Grant(resource="my-api", scopes=("read:data",)),))
    command = UpdateResource(name="my-api", scopes=("write:data",))
    assert await scene.refusal(update_resource, command) == "resource.scopes_in_use"
    unused = await update_resource(scene.context(), UpdateResource(name="my-api", scopes=("read:data",)))
    assert unused.scopes == ("read:data",)


async def test_the_refusal_names_the_scopes_in_use(scene):
    await scene.with_resource()
    await scene.with_agent(grants=(Grant(resource="my-api", scopes=("read:data",)),))
    with pytest.raises(Exception, match="read:data"):
        await update_resource(scene.context(), UpdateResource(name="my-api", scopes=("other",)))


async def test_a_resource_that_a_permission_names_is_not_deleted(scene):
    await scene.with_resource()
    new = await scene.with_agent(grants=(Grant(resource="my-api", scopes=("read:data",)),))
    assert await scene.refusal(delete_resource, DeleteResource(name="my-api")) == "resource.in_use"
    await delete_agent(scene.context(), ChangeState(ref=new.agent.client_id))
    await delete_resource(scene.context(), DeleteResource(name="my-api"))
    assert await scene.refusal(show_resource, ShowResource(name="my-api")) == "resource.missing"


async def test_resources_are_listed_by_name_a_page_at_a_time(scene):
    for name in ("c", "a", "b"):
        await scene.with_resource(name)
    first = await list_resources(scene.context(), ListResources(limit=2))
    rest = await list_resources(scene.context(), ListResources(after="b", limit=2))
    assert ([one.name for one in first.items], first.has_more) == (["a", "b"], True)
    assert ([one.name for one in rest.items], rest.has_more) == (["c"], False)


@rule("A7")
@pytest.mark.parametrize("limit", [-1, 0, 501, 10**9])
async def test_a_page_of_an_absurd_size_is_refused(scene, limit):
    assert await scene.refusal(list_resources, ListResources(limit=limit)) == "page.limit"

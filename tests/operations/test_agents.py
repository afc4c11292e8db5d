import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from tests.operations.scene import PEPPERS
from watchword.errors import Conflict, PreconditionFailed, StoreUnavailable
from watchword.operations.agent_states import ChangeState, delete_agent, resume_agent, suspend_agent
from watchword.operations.agents import (
    CreateAgent,
    ListAgents,
    ShowAgent,
    UpdateAgent,
    create_agent,
    list_agents,
    show_agent,
    update_agent,
)
from watchword.operations.checks import RESERVED_LABELS
from watchword.operations.permissions import Grant
from watchword.ports.agents import AgentState, CredentialState
from watchword.ports.audit import Outcome
from watchword.protocol.client_secret import SecretKind, generate_secret, hash_secret, looks_like_secret
from watchword.testing.records import make_node

pytestmark = pytest.mark.anyio

READ = Grant(resource="my-api", scopes=("read:data",))


async def test_an_agent_comes_with_a_secret_and_its_permissions(scene):
    await scene.with_resource()
    new = await scene.with_agent(owner="team-a", labels={"env": "prod"}, grants=(READ,))
    stored = await scene.store.registration(new.agent.client_id)
    assert stored.agent == new.agent
    assert stored.credentials == (new.credential,)
    assert stored.permissions == new.permissions
    assert new.agent.default_resource == "my-api"
    assert new.agent.auth_methods == ("client_secret_basic", "client_secret_post")


@rule("P7")
async def test_only_the_keyed_hash_of_the_secret_is_stored(scene):
    new = await scene.with_agent()
    assert looks_like_secret(new.client_secret)
    assert new.credential.secret_hash == hash_secret(new.client_secret, pepper=PEPPERS.client_secret)
    assert new.client_secret not in repr(await scene.store.registration(new.agent.client_id))


@rule("P8", "U4")
async def test_the_secret_shows_in_no_repr_and_no_event(scene):
    new = await scene.with_agent()
    assert new.client_secret not in repr(new)
    assert new.client_secret not in "".join(event.canonical_bytes().decode() for event in scene.store.trail)


async def test_one_event_tells_of_all_that_was_made(scene):
    await scene.with_resource()
    new = await scene.with_agent(grants=(READ,))
    event = scene.last
    assert (event.action, event.outcome, event.reason) == ("agent.create", Outcome.SUCCESS, "created")
    assert (event.client_id, event.credential_id) == (new.agent.client_id, new.credential.id)
    assert event.details["permissions"] == "my-api: read:data"
    assert len(scene.store.trail) == 2


@pytest.mark.parametrize(
    ("name", "slug"), [("reader", "reader"), ("a.b_c-d", "a-b-c-d"), ("a..b--", "a-b"), ("7", "7")]
)
async def test_a_client_id_is_the_slug_of_the_name_and_a_random_end(scene, name, slug):
    new = await scene.with_agent(name)
    assert re.fullmatch(f"{slug}-[a-z0-9]{{8}}", new.agent.client_id)


async def test_an_agent_may_be_pinned_to_one_method(scene):
    new = await scene.with_agent(auth_method="client_secret_post", pin_auth_method=True)
    assert new.agent.auth_methods == ("client_secret_post",)


@pytest.mark.parametrize("method", ["none", "client_secret_jwt", "", "Client_Secret_Basic"])
async def test_a_method_that_needs_no_secret_is_refused(scene, method):
    assert await scene.refusal(create_agent, CreateAgent(name="reader", auth_method=method)) == "agent.auth_method"


async def test_a_name_in_use_is_refused_and_free_again_after_deletion(scene):
    first = await scene.with_agent("reader")
    assert await scene.refusal(create_agent, CreateAgent(name="reader")) == "agent.name"
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    second = await scene.with_agent("reader")
    assert second.agent.client_id != first.agent.client_id


async def test_a_name_that_is_anothers_client_id_is_refused(scene):
    first = await scene.with_agent("reader")
    assert await scene.refusal(create_agent, CreateAgent(name=first.agent.client_id)) == "agent.name"
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    assert await scene.refusal(create_agent, CreateAgent(name=first.agent.client_id)) == "agent.name"


@rule("S9")
@pytest.mark.parametrize("name", sorted(RESERVED_LABELS))
async def test_a_label_that_could_be_taken_for_a_claim_is_refused(scene, name):
    command = CreateAgent(name="reader", labels={name: "x"})
    assert await scene.refusal(create_agent, command) == "label.reserved"


@rule("S9")
def test_the_claims_of_the_checklist_are_reserved():
    assert {"iss", "sub", "scope", "cnf", "act", "aud", "exp", "client_id"} <= RESERVED_LABELS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb", "text.character"),
        ("a\x00", "text.character"),
        ("a\x1b[31m", "text.character"),
        ("abc\u202etxt", "text.character"),
        ("\u2066x\u2069", "text.character"),
        ("zero\u200bwidth", "text.character"),
        ("\u2028", "text.character"),
        ("\ud800", "text.character"),
        ("x" * 501, "text.length"),
        pytest.param(generate_secret(SecretKind.OPERATOR), "text.secret", id="a secret"),
        ("see eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "text.secret"),
    ],
)
@rule("U3", "U4")
async def test_text_that_would_not_show_as_what_it_is_is_refused(scene, text, reason):
    assert await scene.refusal(create_agent, CreateAgent(name="reader", purpose=text)) == reason
    assert await scene.refusal(create_agent, CreateAgent(name="reader", owner=text)) == reason
    assert await scene.refusal(create_agent, CreateAgent(name="reader", labels={"a": text})) == reason


async def test_text_of_any_language_is_accepted(scene):
    new = await scene.with_agent(purpose="Liest Bücher; 本を読む; قراءة", owner="<b>Zoë</b>")
    assert new.agent.purpose == "Liest Bücher; 本を読む; قراءة"


@pytest.mark.parametrize("expires_at", [datetime(2026, 11, 24, 12, 0, tzinfo=UTC), datetime(2027, 1, 1)])  # noqa: DTZ001 -- meant
async def test_an_end_that_is_past_or_without_zone_is_refused(scene, expires_at):
    assert await scene.refusal(create_agent, CreateAgent(name="reader", expires_at=expires_at)) == "agent.expires_at"


@rule("S1")
@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        (Grant(resource="other", scopes=("read:data",)), "resource.missing"),
        (Grant(resource="my-api", scopes=("delete:data",)), "permission.unknown_scope"),
        (Grant(resource="my-api", scopes=("READ:data",)), "permission.unknown_scope"),
        (Grant(resource="my-api", scopes=()), "scope.none"),
        (Grant(resource="my-api", scopes=("read:data",), default_scopes=("write:data",)), "permission.default_scopes"),
    ],
)
async def test_nothing_is_made_when_a_permission_cannot_be_given(scene, grant, reason):
    await scene.with_resource()
    assert await scene.refusal(create_agent, CreateAgent(name="reader", grants=(READ, grant))) == reason
    assert await scene.store.find_agent("reader") is None


async def test_nothing_is_made_when_the_store_fails(scene):
    scene.store.fail_next(commits=1)
    with pytest.raises(StoreUnavailable):
        await scene.with_agent("reader")
    assert await scene.store.find_agent("reader") is None
    assert scene.store.trail == []


async def test_an_agent_is_found_by_name_and_by_client_id(scene):
    new = await scene.with_agent("reader")
    assert await show_agent(scene.context(), ShowAgent(ref="reader")) == new.agent
    assert await show_agent(scene.context(), ShowAgent(ref=new.agent.client_id)) == new.agent


@rule("A18", "A2", "KF-96")
@pytest.mark.parametrize(
    "ref", ["", "nobody", "' OR 1=1 --", "reader%", "../reader", "READER", "reader\x00", "*", "a" * 200]
)
async def test_a_reference_to_nobody_is_missing(scene, ref):
    await scene.with_agent("reader")
    assert await scene.refusal(show_agent, ShowAgent(ref=ref)) == "agent.missing"


@rule("A18")
async def test_the_store_is_not_asked_for_what_no_agent_can_be_called(scene):
    scene.store.fail_next(reads=1)
    assert await scene.refusal(show_agent, ShowAgent(ref="' OR 1=1 --")) == "agent.missing"


async def test_only_what_is_named_is_changed(scene):
    new = await scene.with_agent(owner="team-a", purpose="reads")
    updated = await update_agent(scene.context(), UpdateAgent(ref="reader", purpose="reads more"))
    assert (updated.owner, updated.purpose, updated.version) == ("team-a", "reads more", new.agent.version + 1)


async def test_what_may_be_empty_can_be_emptied(scene):
    await scene.with_resource()
    await scene.with_agent(grants=(READ,), expires_at=scene.clock() + timedelta(days=1))
    updated = await update_agent(scene.context(), UpdateAgent(ref="reader", expires_at=None, default_resource=None))
    assert (updated.expires_at, updated.default_resource) == (None, None)


async def test_a_default_resource_must_exist(scene):
    await scene.with_agent()
    command = UpdateAgent(ref="reader", default_resource="nowhere")
    assert await scene.refusal(update_agent, command) == "resource.missing"


@rule("A15")
async def test_a_change_to_another_version_than_was_read_is_refused(scene):
    await scene.with_agent()
    seen = frozenset({1})
    await update_agent(scene.context(), UpdateAgent(ref="reader", owner="first", expected=seen))
    command = UpdateAgent(ref="reader", owner="second", expected=seen)
    assert await scene.refusal(update_agent, command) == "version.changed"
    assert (await scene.store.find_agent("reader")).owner == "first"


class Interfering:
    """A store on which somebody else changes the agent between our read and our commit, so many times."""

    def __init__(self, scene, times):
        self._scene = scene
        self._times = times

    def __getattr__(self, name):
        return getattr(self._scene.store, name)

    async def commit(self, event, changes=(), **rest):
        if changes and self._times:
            self._times -= 1
            await update_agent(self._scene.context(), UpdateAgent(ref="reader", owner=f"other-{self._times}"))
        await self._scene.store.commit(event, changes)


def interfered(scene, times):
    return replace(scene.context(), store=Interfering(scene, times))


@rule("A15")
async def test_a_change_that_came_between_is_not_lost(scene):
    await scene.with_agent()
    await update_agent(interfered(scene, 1), UpdateAgent(ref="reader", purpose="mine"))
    stored = await scene.store.find_agent("reader")
    assert (stored.owner, stored.purpose, stored.version) == ("other-0", "mine", 3)


@rule("A15")
async def test_a_change_that_came_between_refuses_who_named_a_version(scene):
    await scene.with_agent()
    with pytest.raises(PreconditionFailed):
        await update_agent(interfered(scene, 1), UpdateAgent(ref="reader", purpose="mine", expected=frozenset({1})))
    assert (await scene.store.find_agent("reader")).purpose == ""


async def test_endless_interference_ends_in_a_conflict(scene):
    await scene.with_agent()
    with pytest.raises(Exception, match="same moment") as caught:
        await update_agent(interfered(scene, 99), UpdateAgent(ref="reader", purpose="mine"))
    assert caught.value.status == 409
    assert scene.last.outcome is Outcome.DENIED


async def test_the_kill_switch_works_and_works_twice(scene):
    await scene.with_agent()
    suspended = await suspend_agent(scene.context(), ChangeState(ref="reader", note="it talks to strangers"))
    assert suspended.state is AgentState.SUSPENDED
    assert (scene.last.action, scene.last.reason) == ("agent.suspend", "suspended")
    assert scene.last.details["note"] == "it talks to strangers"
    again = await suspend_agent(scene.context(), ChangeState(ref="reader"))
    assert again == suspended
    assert scene.last.reason == "suspended"


async def test_the_kill_switch_works_under_interference(scene):
    await scene.with_agent()
    await suspend_agent(interfered(scene, 2), ChangeState(ref="reader"))
    assert (await scene.store.find_agent("reader")).state is AgentState.SUSPENDED


async def test_a_suspended_agent_is_resumed(scene):
    await scene.with_agent()
    await suspend_agent(scene.context(), ChangeState(ref="reader"))
    assert (await resume_agent(scene.context(), ChangeState(ref="reader"))).state is AgentState.ACTIVE


async def test_deleting_takes_every_credential_and_permission_away(scene):
    await scene.with_resource()
    new = await scene.with_agent(grants=(READ,))
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    registration = await scene.store.registration(new.agent.client_id)
    assert registration.agent.state is AgentState.DELETED
    assert [one.state for one in registration.credentials] == [CredentialState.REVOKED]
    assert registration.permissions == ()
    assert scene.last.details["revoked_credentials"] == "1"


@pytest.mark.parametrize("operation", [suspend_agent, resume_agent, delete_agent])
async def test_deleted_is_final(scene, operation):
    new = await scene.with_agent()
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    assert await scene.refusal(operation, ChangeState(ref=new.agent.client_id)) == "agent.deleted"
    assert await scene.refusal(update_agent, UpdateAgent(ref=new.agent.client_id, owner="x")) == "agent.deleted"
    assert await scene.refusal(operation, ChangeState(ref="reader")) == "agent.missing"


async def test_deleted_agents_are_listed_only_when_asked_for(scene):
    await scene.with_agent("reader")
    await scene.with_agent("writer")
    await delete_agent(scene.context(), ChangeState(ref="reader"))
    listed = await list_agents(scene.context(), ListAgents())
    deleted = await list_agents(scene.context(), ListAgents(state=AgentState.DELETED))
    assert [one.name for one in listed.items] == ["writer"]
    assert [one.name for one in deleted.items] == ["reader"]


@rule("U4")
async def test_a_refusal_records_what_was_claimed_without_secrets(scene):
    canary = generate_secret(SecretKind.CLIENT)
    await scene.refusal(show_agent, ShowAgent(ref=canary))
    assert canary not in scene.last.canonical_bytes().decode()
    await scene.refusal(show_agent, ShowAgent(ref="x" * 5000))
    assert len(scene.last.client_id) < 300


@rule("N5", "N9")
@pytest.mark.parametrize("bound", ["dpop_bound", "mtls_bound"])
async def test_no_agent_is_bound_while_a_node_would_give_its_tokens_to_anybody(scene, bound):
    await scene.store.report(replace(make_node(), schema=0, seen_at=scene.clock()))
    agent = (await create_agent(scene.context(), CreateAgent(name="free"))).agent
    for attempt in (
        create_agent(scene.context(), CreateAgent(name="bound", **{bound: True})),
        update_agent(scene.context(), UpdateAgent(ref="free", **{bound: True})),
    ):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.reason == "node.older"
        assert "Bring all of them forward" in caught.value.detail
    assert await scene.store.find_agent("bound") is None
    assert await update_agent(scene.context(), UpdateAgent(ref="free", owner="team")) != agent
    await scene.store.leave("node-1")
    assert getattr(await update_agent(scene.context(), UpdateAgent(ref="free", **{bound: True})), bound) is True

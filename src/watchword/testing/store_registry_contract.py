"""The part of the store's contract that is about agents, credentials, permissions, resources, operators and keys."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.errors import Conflict
from watchword.ports.agents import Agent, AgentState, Conditions, Registration, Role
from watchword.ports.keys import KeyState
from watchword.ports.store import (
    Change,
    Create,
    DeletePermission,
    DeleteResource,
    Replace,
    RevokeCredential,
    Store,
)
from watchword.testing.records import (
    NOON,
    make_agent,
    make_credential,
    make_event,
    make_operator,
    make_permission,
    make_resource,
    make_signing_key,
)

HOSTILE = (
    "' OR '1'='1",
    "'; DROP TABLE agents; --",
    '" OR ""="',
    "%",
    "_",
    "agent-_",
    "*",
    "agent-1\x00",
    "agent-1 ",
    " agent-1",
    "AGENT-1",
    "agent-\u2460",  # compatibility form of 1
    "",
)
"""None of these names anything, whatever a query language makes of them."""


async def change(store: Store, *changes: Change) -> None:
    """Commit some changes under an event nobody asks about."""
    await store.commit(make_event(), changes)


async def refusal(store: Store, *changes: Change) -> str:
    """Return the reason for which some changes are refused."""
    with pytest.raises(Conflict) as caught:
        await change(store, *changes)
    return caught.value.reason


async def registered(store: Store, client_id: str = "agent-1") -> Registration:
    """Return the registration, which must exist."""
    found = await store.registration(client_id)
    assert found is not None
    return found


class RegistryContract:
    """Records come back as they were given, are found by their very names, and what must be unique is."""

    @pytest.fixture
    async def scene(self, store: Store) -> Store:
        """One agent with a credential, and a permission on a resource."""
        await change(store, Create(make_agent()), Create(make_credential()))
        await change(store, Create(make_resource()), Create(make_permission()))
        return store

    async def test_every_member_comes_back(self, store: Store) -> None:
        later, end = NOON + timedelta(microseconds=1), NOON + timedelta(days=400)
        agent = replace(
            make_agent(name="Größe \u2603 \U0001f916 ' \" \\"),
            state=AgentState.SUSPENDED,
            auth_methods=("client_secret_basic", "client_secret_post"),
            grant_types=("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"),
            expires_at=end,
            owner="ops@example.com",
            purpose="reads\nreports",
            labels={"team": "blue", "": "empty", "é": "\x7f"},
            parent="agent-0",
            default_resource="my-api",
        )
        credential = replace(
            make_credential(),
            label="first",
            not_before=later,
            expires_at=end,
            last_used_at=later,
            last_used_network="2001:db8::/48",
            secret_hash=bytes(range(256)),
        )
        resource = replace(
            make_resource(),
            token_lifetime=timedelta(seconds=90),
            signing_algorithm="Ed25519",
            require_pop=True,
        )
        conditions = Conditions(
            not_before=NOON,
            not_after=end,
            source_networks=("192.0.2.0/24", "2001:db8::/32"),
            hours="22:00-06:00",
            maximum_lifetime=timedelta(seconds=30),
            require_sender_constraint=True,
        )
        permission = replace(
            make_permission(), scopes=("write:data", "read:data"), default_scopes=("read:data",), conditions=conditions
        )
        await change(store, Create(agent), Create(resource), Create(credential), Create(permission))
        assert await registered(store) == Registration(agent, (credential,), (permission,), {"my-api": resource})
        assert await store.find_agent(agent.name) == agent
        assert await store.resource("my-api") == resource
        operator = replace(make_operator(), role=Role.AUDITOR, expires_at=end, is_disabled=True)
        await change(store, Create(operator))
        assert list(await store.operators()) == [operator]

    async def test_every_member_of_a_signing_key_comes_back(self, store: Store) -> None:
        hour = timedelta(hours=1)
        key = replace(
            make_signing_key(),
            state=KeyState.ACTIVE,
            published_at=NOON + hour,
            activated_at=NOON + 2 * hour,
            retiring_at=NOON + 3 * hour,
            retired_at=NOON + 4 * hour,
            compromised_at=NOON + 5 * hour,
            wanted_at=NOON + 6 * hour,
            sealed=bytes(range(256)),
        )
        await change(store, Create(key))
        assert list(await store.signing_keys()) == [key]

    async def test_absent_members_come_back_absent(self, scene: Store) -> None:
        expected = Registration(make_agent(), (make_credential(),), (make_permission(),), {"my-api": make_resource()})
        assert await registered(scene) == expected

    async def test_a_registration_holds_what_is_its_own(self, scene: Store) -> None:
        await change(scene, Create(make_agent("agent-2")), Create(make_resource("other")))
        await change(scene, Create(make_credential("credential-2", client_id="agent-2")))
        await change(scene, Create(make_permission("permission-2", client_id="agent-2", resource="other")))
        await change(scene, Create(make_permission("permission-3", client_id="agent-2")))
        found = await registered(scene, "agent-2")
        assert [row.id for row in found.credentials] == ["credential-2"]
        assert sorted(row.id for row in found.permissions) == ["permission-2", "permission-3"]
        assert sorted(found.resources) == ["my-api", "other"]
        assert [row.id for row in (await registered(scene)).credentials] == ["credential-1"]
        for client_id in ("agent-1", "agent-2"):
            assert await scene.credentials(client_id) == (await registered(scene, client_id)).credentials

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_only_the_very_name_finds(self, scene: Store, name: str) -> None:
        await change(scene, Create(make_operator(token_hash=b"hash")))
        assert await scene.registration(name) is None
        assert await scene.credentials(name) is None
        assert await scene.find_agent(name) is None
        assert await scene.resource(name.replace("agent-1", "my-api").upper()) is None
        assert await scene.operator(name.encode()) is None
        assert await refusal(scene, RevokeCredential("agent-1", name)) == "credential.missing"
        assert await refusal(scene, RevokeCredential(name, "credential-1")) == "credential.missing"
        assert await refusal(scene, DeletePermission(name, "permission-1")) == "permission.missing"
        assert await refusal(scene, DeleteResource(name, 1)) == "resource.missing"

    @pytest.mark.parametrize("name", [name for name in HOSTILE if name])
    async def test_a_hostile_name_is_a_name(self, scene: Store, name: str) -> None:
        agent = make_agent(name, name=name)
        await change(scene, Create(agent), Create(make_resource(name, identifier=name)))
        assert await scene.registration(name) == Registration(agent, (), (), {})
        assert await scene.credentials(name) == ()
        assert await scene.find_agent(name) == agent
        assert await scene.resource(name) == make_resource(name, identifier=name)

    async def test_a_client_id_goes_before_a_name(self, store: Store) -> None:
        first, second = make_agent("one", name="two"), make_agent("two", name="three")
        await change(store, Create(first), Create(second))
        assert await store.find_agent("two") == second

    async def test_names_are_unique_among_the_not_deleted(self, store: Store) -> None:
        agent = make_agent("one", name="same", state=AgentState.SUSPENDED)
        await change(store, Create(agent))
        assert await refusal(store, Create(make_agent("two", name="same"))) == "agent.name"
        await change(store, Replace(replace(agent, state=AgentState.DELETED, version=2)))
        assert await store.find_agent("same") is None
        await change(store, Create(make_agent("two", name="same")))
        assert await store.find_agent("same") == make_agent("two", name="same")

    async def test_a_taken_name_cannot_be_moved_to(self, store: Store) -> None:
        agent = make_agent("one", name="first")
        await change(store, Create(agent), Create(make_agent("two", name="second")))
        assert await refusal(store, Replace(replace(agent, name="second", version=2))) == "agent.name"
        await change(store, Replace(replace(agent, name="first", owner="ops", version=2)))

    async def test_a_deleted_client_id_is_reserved_for_ever(self, scene: Store) -> None:
        deleted = replace(make_agent(), state=AgentState.DELETED, version=2)
        await change(scene, Replace(deleted))
        assert (await registered(scene)).agent == deleted
        assert await scene.find_agent("agent-1") == deleted
        assert await refusal(scene, Create(make_agent(name="another name"))) == "agent.exists"
        assert await refusal(scene, Replace(replace(make_agent(), version=3))) == "agent.deleted"
        assert await refusal(scene, Create(make_credential("credential-2"))) == "agent.missing"
        assert await refusal(scene, Create(make_permission("permission-2"))) == "agent.missing"

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (make_agent(name="another"), "agent.exists"),
            (make_credential(), "credential.exists"),
            (make_credential(client_id="agent-9"), "agent.missing"),
            (make_permission(), "permission.exists"),
            (make_permission("permission-2", client_id="agent-9"), "agent.missing"),
            (make_permission("permission-2", resource="other"), "resource.missing"),
            (make_resource(), "resource.exists"),
            (make_resource(identifier="https://another.example"), "resource.exists"),
            (make_resource("another", identifier="https://my-api.example"), "resource.identifier"),
        ],
    )
    async def test_what_exists_or_lacks_an_owner_is_not_created(self, scene: Store, record: Agent, reason: str) -> None:
        assert await refusal(scene, Create(record)) == reason

    async def test_operators_and_keys_are_created_once(self, store: Store) -> None:
        await change(store, Create(make_operator()), Create(make_signing_key()))
        assert await refusal(store, Create(make_operator(token_hash=b"other"))) == "operator.exists"
        assert await refusal(store, Create(make_operator("operator-2"))) == "operator.token"
        namesake = make_operator("operator-2", name="operator-1", token_hash=b"other")
        assert await refusal(store, Create(namesake)) == "operator.exists"
        assert await refusal(store, Create(make_signing_key())) == "signing_key.exists"

    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    async def test_pages_hold_everyone_once(self, store: Store, size: int) -> None:
        names = sorted(f"{first}{second}" for first in "aZ-_é" for second in "019~")
        await change(store, *(Create(make_agent(name)) for name in names))
        await change(store, *(Create(make_resource(name)) for name in names))
        for read in (store.agents, store.resources):
            found: list[str] = []
            while page := [
                getattr(row, "client_id", row.name) for row in await read(after=found[-1] if found else "", limit=size)
            ]:
                found += page
                assert len(page) <= size
                assert len(found) <= len(names)
            assert found == names

    async def test_deleted_agents_are_listed_only_when_asked_for(self, store: Store) -> None:
        await change(store, *(Create(make_agent(state.value, state=state)) for state in AgentState))
        assert [row.client_id for row in await store.agents(after="", limit=9)] == ["active", "suspended"]
        for state in AgentState:
            found = await store.agents(after="", limit=9, state=state)
            assert [row.client_id for row in found] == [state.value]

    @pytest.mark.parametrize("limit", [0, -1])
    async def test_no_limit_means_nothing(self, scene: Store, limit: int) -> None:
        assert list(await scene.agents(after="", limit=limit)) == []
        assert list(await scene.resources(after="", limit=limit)) == []

    async def test_an_operator_is_found_by_the_hash_alone(self, store: Store) -> None:
        first, second = make_operator("b", token_hash=b"\x00\x01"), make_operator("a", token_hash=b"\x00\x02")
        nobody = make_operator("c", token_hash=b"")
        await change(store, Create(first), Create(second), Create(nobody), Create(make_operator("d", token_hash=b"")))
        assert await store.operator(b"\x00\x01") == first
        assert await store.operator(b"\x00") is None
        assert await store.operator(b"") is None
        assert [row.name for row in await store.operators()] == ["a", "b", "c", "d"]

    async def test_keys_come_oldest_first(self, store: Store) -> None:
        keys = [make_signing_key(kid, created_at=NOON - timedelta(hours=n)) for n, kid in enumerate("bca")]
        await change(store, *map(Create, keys))
        assert [key.kid for key in await store.signing_keys()] == ["a", "c", "b"]

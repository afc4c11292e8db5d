"""The part of the store's contract that is about replacing, revoking and deleting."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.errors import Conflict
from watchword.ports.agents import CredentialState, Role
from watchword.ports.keys import KeyState
from watchword.ports.store import (
    Create,
    DeletePermission,
    DeleteResource,
    Replace,
    RevokeCredential,
    Store,
    StoreIdentity,
    TouchCredential,
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
from watchword.testing.store_registry_contract import change, refusal, registered


class ChangeContract:
    """Only the next version replaces; identities stay; what is revoked or deleted stays so."""

    @pytest.mark.parametrize("version", [-1, 0, 1, 3, 99])
    async def test_only_the_next_version_replaces(self, scene: Store, version: int) -> None:
        await change(scene, Create(make_signing_key()), Create(make_operator()))
        records = (make_agent(), make_permission(), make_resource(), make_signing_key(), make_operator())
        reasons = [await refusal(scene, Replace(replace(record, version=version))) for record in records]
        assert reasons == [f"{noun}.version" for noun in ("agent", "permission", "resource", "signing_key", "operator")]
        assert await refusal(scene, Replace(StoreIdentity(version=version))) == "identity.version"
        await change(scene, *(Replace(replace(record, version=2)) for record in records))
        await change(scene, Replace(StoreIdentity(version=2)))

    async def test_what_is_missing_is_not_replaced(self, store: Store) -> None:
        records = (make_agent(), make_permission(), make_resource(), make_signing_key(), make_operator())
        reasons = [await refusal(store, Replace(replace(record, version=2))) for record in records]
        assert reasons == [f"{noun}.missing" for noun in ("agent", "permission", "resource", "signing_key", "operator")]

    async def test_a_replaced_record_is_wholly_the_new_one(self, scene: Store) -> None:
        await change(scene, Create(make_signing_key()), Create(make_resource("other")))
        agent = replace(make_agent(name="new"), owner="ops", labels={"a": "b"}, expires_at=NOON, version=2)
        permission = replace(make_permission(resource="other"), scopes=("write:data",), version=2)
        resource = replace(make_resource(), scopes=("read:data",), require_pop=True, version=2)
        key = replace(make_signing_key(), state=KeyState.RETIRED, sealed=b"", version=2)
        await change(scene, Replace(agent), Replace(permission), Replace(resource), Replace(key))
        found = await registered(scene)
        assert (found.agent, found.permissions) == (agent, (permission,))
        assert await scene.resource("my-api") == resource
        assert list(await scene.signing_keys()) == [key]

    @pytest.mark.parametrize("state", [KeyState.PUBLISHED, KeyState.ACTIVE])
    async def test_one_key_of_an_algorithm_signs_and_one_is_next(self, store: Store, state: KeyState) -> None:
        key, other = (replace(make_signing_key(kid), state=state) for kid in "ab")
        await change(store, Create(key), Create(replace(other, algorithm="Ed25519")), Create(make_signing_key("c")))
        assert await refusal(store, Create(replace(other, kid="d"))) == "signing_key.taken"
        assert await refusal(store, Replace(replace(other, kid="c", version=2))) == "signing_key.taken"
        over = replace(key, state=KeyState.RETIRING, version=2)
        await change(store, Replace(over), Replace(replace(other, kid="c", version=2)))
        states = {row.kid: row.state for row in await store.signing_keys()}
        assert states == {"a": KeyState.RETIRING, "b": state, "c": state}

    async def test_of_many_who_make_the_next_key_one_does(self, store: Store) -> None:
        keys = [replace(make_signing_key(f"key-{n}"), state=KeyState.PUBLISHED) for n in range(16)]
        commits = [store.commit(make_event(), [Create(key)]) for key in keys]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert outcomes.count(None) == 1
        assert {one.reason for one in outcomes if isinstance(one, Conflict)} == {"signing_key.taken"}
        assert list(await store.signing_keys()) == [keys[outcomes.index(None)]]

    async def test_identities_do_not_change(self, scene: Store) -> None:
        await change(scene, Create(make_agent("agent-2")))
        moved = replace(make_resource(identifier="https://evil.example"), version=2)
        stolen = replace(make_permission(client_id="agent-2"), version=2)
        lost = replace(make_permission(resource="nowhere"), version=2)
        assert await refusal(scene, Replace(moved)) == "resource.identifier"
        assert await refusal(scene, Replace(stolen)) == "permission.missing"
        assert await refusal(scene, Replace(lost)) == "resource.missing"

    async def test_an_operator_is_replaced_but_for_its_name(self, store: Store) -> None:
        operator = make_operator()
        await change(store, Create(operator), Create(make_operator("operator-2", token_hash=b"other")))
        assert await refusal(store, Replace(replace(operator, name="operator-3", version=2))) == "operator.name"
        stolen = replace(operator, token_hash=b"other", version=2)
        assert await refusal(store, Replace(stolen)) == "operator.token"
        changed = replace(operator, role=Role.VIEWER, is_disabled=True, expires_at=NOON, version=2)
        await change(store, Replace(changed))
        assert await store.operator(b"hash") == changed

    async def test_one_admin_is_always_left(self, store: Store) -> None:
        admins = [make_operator(f"operator-{n}", token_hash=b"%d" % n) for n in range(3)]
        viewer = replace(make_operator("viewer", token_hash=b"v"), role=Role.VIEWER)
        await change(store, *map(Create, [*admins, viewer]))
        await change(store, Replace(replace(viewer, is_disabled=True, version=2)))
        commits = [store.commit(make_event(), [Replace(replace(one, is_disabled=True, version=2))]) for one in admins]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert [getattr(outcome, "reason", None) for outcome in outcomes] == [None, None, "operator.last_admin"]
        assert [one.is_disabled for one in await store.operators()] == [True, True, False, True]
        demoted = replace(admins[2], role=Role.MANAGER, version=2)
        assert await refusal(store, Replace(demoted)) == "operator.last_admin"

    async def test_a_new_store_is_nobodys_yet(self, store: Store) -> None:
        assert await store.identity() == StoreIdentity()

    async def test_a_store_remembers_whose_it_is(self, store: Store) -> None:
        identity = StoreIdentity(issuer="https://auth.example.com", generation=3, restored_at=NOON, version=2)
        await change(store, Replace(identity))
        assert await store.identity() == identity
        assert await store.epoch() == 1

    async def test_a_generation_never_comes_again(self, store: Store) -> None:
        await change(store, Replace(StoreIdentity(generation=3, version=2)))
        assert await refusal(store, Replace(StoreIdentity(generation=2, version=3))) == "identity.generation"
        assert (await store.identity()).generation == 3

    async def test_revocation_is_for_ever(self, scene: Store) -> None:
        await change(scene, RevokeCredential("agent-1", "credential-1"))
        await change(scene, RevokeCredential("agent-1", "credential-1"))
        await change(scene, TouchCredential("credential-1", NOON, ""))
        (credential,) = (await registered(scene)).credentials
        assert credential.state is CredentialState.REVOKED
        assert await refusal(scene, Create(make_credential())) == "credential.exists"

    async def test_another_agents_things_are_not_touched(self, scene: Store) -> None:
        await change(scene, Create(make_agent("agent-2")))
        assert await refusal(scene, RevokeCredential("agent-2", "credential-1")) == "credential.missing"
        assert await refusal(scene, DeletePermission("agent-2", "permission-1")) == "permission.missing"
        found = await registered(scene)
        assert (found.credentials, found.permissions) == ((make_credential(),), (make_permission(),))

    async def test_a_last_use_is_remembered_and_changes_nothing_else(self, scene: Store) -> None:
        at = NOON + timedelta(hours=1)
        await change(scene, TouchCredential("credential-1", at, "192.0.2.0/24"))
        await change(scene, TouchCredential("credential-1", NOON, "198.51.100.0/24"))
        await change(scene, TouchCredential("no such", at, "192.0.2.0/24"))
        expected = replace(make_credential(), last_used_at=at, last_used_network="192.0.2.0/24", uses=2)
        assert (await registered(scene)).credentials == (expected,)

    async def test_a_deleted_permission_is_gone(self, scene: Store) -> None:
        await change(scene, DeletePermission("agent-1", "permission-1"))
        found = await registered(scene)
        assert (found.permissions, dict(found.resources)) == ((), {})
        assert await refusal(scene, DeletePermission("agent-1", "permission-1")) == "permission.missing"

    async def test_a_resource_in_use_is_not_deleted(self, scene: Store) -> None:
        assert await refusal(scene, DeleteResource("my-api", 1)) == "resource.in_use"
        assert await refusal(scene, DeleteResource("my-api", 2)) == "resource.version"
        await change(scene, DeletePermission("agent-1", "permission-1"), DeleteResource("my-api", 1))
        assert await scene.resource("my-api") is None
        assert await refusal(scene, DeleteResource("my-api", 1)) == "resource.missing"

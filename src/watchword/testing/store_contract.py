"""What every store must do. Subclass ``StoreContract`` in a test module and give it your store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self, tmp_path):
            store = MyStore(tmp_path)
            yield store
            await store.close()

The tests run on asyncio by the pytest plugin of anyio.
"""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from watchword.errors import Conflict, StoreUnavailable
from watchword.ports.agents import AgentState
from watchword.ports.store import Change, Create, DeletePermission, Replace, RevokeCredential, Store, TouchCredential
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
from watchword.testing.store_basis_contract import BasisContract
from watchword.testing.store_change_contract import ChangeContract
from watchword.testing.store_cluster_contract import ClusterContract
from watchword.testing.store_issuers_contract import IssuersContract
from watchword.testing.store_registry_contract import RegistryContract
from watchword.testing.store_revocations_contract import RevocationsContract
from watchword.testing.store_trail_contract import TrailContract


class CommitContract:
    """Transactions: all or nothing, each alone, durable and visible when the call returns."""

    async def test_a_conflict_leaves_nothing_of_its_commit(self, store: Store) -> None:
        await store.commit(make_event(), [Create(make_agent("taken"))])
        before = await store.epoch()
        changes = [Create(make_agent("new")), Create(make_credential(client_id="new")), Create(make_agent("taken"))]
        with pytest.raises(Conflict) as caught:
            await store.commit(make_event(), changes)
        assert caught.value.reason == "agent.exists"
        assert await store.registration("new") is None
        assert await store.epoch() == before
        assert len(await store.events()) == 1

    async def test_changes_of_one_commit_apply_in_their_order(self, store: Store) -> None:
        agent = make_agent()
        changes: list[Change] = [
            Create(agent),
            Create(make_credential()),
            Create(make_resource()),
            Create(make_permission()),
            Replace(replace(agent, owner="ops", version=2)),
        ]
        await store.commit(make_event(), changes)
        found = await store.registration(agent.client_id)
        assert found is not None
        assert (found.agent.owner, found.credentials, found.permissions, dict(found.resources)) == (
            "ops",
            (make_credential(),),
            (make_permission(),),
            {"my-api": make_resource()},
        )

    async def test_one_failing_commit_among_many_fails_alone(self, store: Store) -> None:
        await store.commit(make_event(), [Create(make_agent("taken"))])

        def attempt(number: int) -> asyncio.Task[None]:
            if number % 3 == 0:
                return asyncio.create_task(store.commit(make_event(reason=f"plain {number}")))
            changes: list[Change] = [
                Create(make_agent(f"new-{number}")),
                Create(make_credential(f"c-{number}", client_id="new-1")),
            ]
            if number % 3 == 2:
                changes.append(Create(make_agent("taken")))
            return asyncio.create_task(store.commit(make_event(reason=f"change {number}"), changes))

        outcomes = await asyncio.gather(*map(attempt, range(90)), return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, Conflict) is (number % 3 == 2)
            assert (await store.registration(f"new-{number}") is not None) is (number % 3 == 1)
        assert len(await store.events(limit=1000)) == 1 + 60

    async def test_of_two_who_create_the_same_one_wins(self, store: Store) -> None:
        creations = [store.commit(make_event(), [Create(make_agent("same", name=f"name {n}"))]) for n in range(16)]
        outcomes = await asyncio.gather(*creations, return_exceptions=True)
        assert outcomes.count(None) == 1
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, Conflict)} == {"agent.exists"}
        assert len(await store.events()) == 1

    async def test_of_two_who_change_the_same_version_one_wins(self, store: Store) -> None:
        agent = make_agent()
        await store.commit(make_event(), [Create(agent)])
        changes = [replace(agent, owner=f"owner {n}", version=2) for n in range(16)]
        commits = [store.commit(make_event(), [Replace(change)]) for change in changes]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert outcomes.count(None) == 1
        assert await store.find_agent(agent.client_id) == changes[outcomes.index(None)]

    async def test_a_cancelled_commit_disturbs_no_other(self, store: Store) -> None:
        tasks = [asyncio.create_task(store.commit(make_event(reason=f"{n}"))) for n in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::4]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        reasons = [outcome for outcome in outcomes if outcome is not None]
        assert all(isinstance(reason, asyncio.CancelledError) for reason in reasons)
        assert all(outcome is None for n, outcome in enumerate(outcomes) if n % 4)
        await store.commit(make_event(reason="after"))
        for n in range(40):
            assert n % 4 == 0 or len(await store.events(filters={"reason": f"{n}"})) == 1
        assert len(await store.events(filters={"reason": "after"})) == 1

    async def test_the_epoch_counts_commits_that_change_something(self, store: Store) -> None:
        assert await store.epoch() == 0
        await store.commit(make_event())
        assert await store.epoch() == 0
        await store.commit(make_event(), [Create(make_agent()), Create(make_credential())])
        assert await store.epoch() == 1
        await store.commit(make_event(), [TouchCredential("credential-1", NOON, "192.0.2.0/24")])
        assert await store.epoch() == 1
        touch = TouchCredential("credential-1", NOON, "198.51.100.0/24")
        await store.commit(make_event(), [touch, RevokeCredential("agent-1", "credential-1")])
        assert await store.epoch() == 2

    async def test_concurrent_changes_are_each_counted(self, store: Store) -> None:
        await asyncio.gather(*(store.commit(make_event(), [Create(make_agent(f"a{n}"))]) for n in range(32)))
        assert await store.epoch() == 32

    async def test_what_was_committed_is_read(self, store: Store) -> None:
        agent = make_agent()
        await store.commit(make_event(), [Create(agent)])
        for version in range(2, 30):
            agent = replace(agent, owner=f"owner {version}", version=version)
            await store.commit(make_event(), [Replace(agent)])
            assert await store.find_agent(agent.client_id) == agent
            assert await store.epoch() == version
            assert len(await store.events()) == version

    async def test_a_suspension_is_seen_by_the_next_read(self, store: Store) -> None:
        agent = make_agent()
        await store.commit(make_event(), [Create(agent)])
        await store.commit(make_event(), [Replace(replace(agent, state=AgentState.SUSPENDED, version=2))])
        found = await store.registration(agent.client_id)
        assert found is not None
        assert found.agent.is_usable(NOON) is False

    async def test_every_kind_of_record_is_part_of_the_transaction(self, store: Store) -> None:
        changes: list[Change] = [
            Create(make_agent()),
            Create(make_credential()),
            Create(make_resource()),
            Create(make_permission()),
            Create(make_operator()),
            Create(make_signing_key()),
            DeletePermission("agent-1", "no such"),
        ]
        with pytest.raises(Conflict):
            await store.commit(make_event(), changes)
        assert await store.registration("agent-1") is None
        assert await store.resource("my-api") is None
        assert list(await store.operators()) == []
        assert list(await store.signing_keys()) == []
        assert list(await store.events()) == []
        await store.commit(make_event(), changes[:-1])
        assert await store.registration("agent-1") is not None

    async def test_a_sound_store_says_so(self, store: Store) -> None:
        await store.check()
        assert list(await store.events()) == []
        assert await store.epoch() == 0

    async def test_a_closed_store_refuses(self, store: Store) -> None:
        await store.commit(make_event())
        await store.close()
        await store.close()
        for refused in (store.commit(make_event()), store.registration("agent-1"), store.events(), store.check()):
            with pytest.raises(StoreUnavailable):
                await refused

    async def test_closing_finishes_what_is_under_way(self, store: Store) -> None:
        tasks = [asyncio.create_task(store.commit(make_event())) for _ in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*tasks) == [None] * 20


@pytest.mark.anyio
class StoreContract(
    CommitContract,
    RegistryContract,
    ChangeContract,
    BasisContract,
    TrailContract,
    ClusterContract,
    IssuersContract,
    RevocationsContract,
):
    """All promises of ``ports.store.Store``."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run on asyncio."""
        return "asyncio"

    @pytest.fixture
    def store(self) -> Store:
        """Give a new, empty, open store. To be replaced by the subclass."""
        raise NotImplementedError

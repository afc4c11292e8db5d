"""The part of the store's contract that is about decisions overtaken by a change."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.errors import Superseded
from watchword.ports.agents import AgentState
from watchword.ports.store import (
    Basis,
    Change,
    Create,
    DeletePermission,
    Replace,
    RevokeCredential,
    Store,
    TouchCredential,
)
from watchword.testing.records import (
    NOON,
    make_agent,
    make_credential,
    make_event,
    make_resource,
)
from watchword.testing.store_registry_contract import change, registered

SUSPENSION = Replace(replace(make_agent(), state=AgentState.SUSPENDED, version=2))


async def read_basis(store: Store) -> Basis:
    """Return what a decision about agent-1 would be made on now."""
    return Basis(await store.epoch(), await registered(store))


class BasisContract:
    """An event that tells of a decision is written only while what it was decided on is still so."""

    @pytest.mark.parametrize(
        "overtaking",
        [
            (SUSPENSION,),
            (RevokeCredential("agent-1", "credential-1"),),
            (DeletePermission("agent-1", "permission-1"),),
            (Create(make_credential("credential-2")),),
            (Replace(replace(make_resource(), token_lifetime=timedelta(seconds=60), version=2)),),
        ],
        ids=lambda changes: type(changes[0]).__name__,
    )
    async def test_a_decision_that_was_overtaken_is_not_written(
        self, scene: Store, overtaking: tuple[Change, ...]
    ) -> None:
        basis = await read_basis(scene)
        await change(scene, *overtaking)
        before = len(await scene.events())
        with pytest.raises(Superseded) as caught:
            await scene.commit(make_event(), [Create(make_agent("agent-2"))], basis=basis)
        assert caught.value.reason == "store.superseded"
        with pytest.raises(Superseded):
            await scene.commit(make_event(), basis=basis)
        assert (len(await scene.events()), await scene.registration("agent-2")) == (before, None)
        await scene.commit(make_event(), basis=await read_basis(scene))
        assert len(await scene.events()) == before + 1

    @pytest.mark.parametrize(
        "beside",
        [
            (),
            (Create(make_agent("agent-2")), Create(make_credential("credential-2", client_id="agent-2"))),
            (TouchCredential("credential-1", NOON, "192.0.2.0/24"),),
        ],
        ids=("nothing", "another", "last use"),
    )
    async def test_what_changes_nothing_of_it_overtakes_no_decision(
        self, scene: Store, beside: tuple[Change, ...]
    ) -> None:
        basis = await read_basis(scene)
        await change(scene, *beside)
        await scene.commit(make_event(), basis=basis)
        await scene.commit(make_event(), [TouchCredential("credential-1", NOON, "198.51.100.0/24")], basis=basis)

    async def test_no_decision_of_before_stands_behind_the_change(self, scene: Store) -> None:
        basis = await read_basis(scene)
        commits = [scene.commit(make_event(reason="issued"), basis=basis) for _ in range(20)]
        commits.insert(10, scene.commit(make_event(reason="suspended"), [SUSPENSION]))
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        reasons = [json.loads(event.payload)["reason"] for event in await scene.events()]
        written = reasons[reasons.index("suspended") - reasons.count("issued") :]
        assert written == ["issued"] * reasons.count("issued") + ["suspended"]
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert [type(outcome) for outcome in refused] == [Superseded] * (20 - reasons.count("issued"))

    async def test_decisions_made_at_different_times_share_a_flush(self, scene: Store) -> None:
        old = await read_basis(scene)
        await change(scene, Create(make_agent("agent-2")))
        new = await read_basis(scene)
        await asyncio.gather(*(scene.commit(make_event(), basis=basis) for basis in (old, new) * 8))
        await change(scene, SUSPENSION)
        commits = [scene.commit(make_event(), basis=basis) for basis in (old, new) * 8]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Superseded}

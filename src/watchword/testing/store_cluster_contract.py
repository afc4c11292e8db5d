"""The part of the store's contract that is about several nodes: who is there, and who holds an office."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from watchword.errors import Conflict
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep, Office
from watchword.ports.store import Create, Store
from watchword.testing.records import NOON, make_agent, make_event, make_node
from watchword.testing.store_registry_contract import HOSTILE, change, refusal

LEASE = timedelta(seconds=15)
HOUR = timedelta(hours=1)


async def hold(store: Store, holder: str, now: datetime = NOON, *, office: str = "upkeep") -> int | None:
    """Let a node whose clock says ``now`` ask for an office."""
    return await store.hold(office, holder, now=now, until=now + LEASE)


class ClusterContract:
    """Nodes are listed as they report; an office has one holder, and each of its terms is over for ever when it is over."""

    async def test_a_node_is_there_as_it_last_reported(self, store: Store) -> None:
        assert list(await store.nodes()) == []
        first, second = make_node("node-1", name="b"), make_node("node-2", name="a")
        await store.report(first)
        await store.report(second)
        later = replace(first, version="2.0", seen_at=NOON + LEASE)
        await store.report(later)
        assert list(await store.nodes()) == [second, later]

    async def test_a_node_that_leaves_is_forgotten_with_what_it_held(self, store: Store) -> None:
        await store.report(make_node("node-1"))
        await store.report(make_node("node-2"))
        assert [await hold(store, "node-1"), await hold(store, "node-2", office="other")] == [1, 1]
        await store.leave("node-1")
        await store.leave("nobody")
        assert list(await store.nodes()) == [make_node("node-2")]
        assert await hold(store, "node-2") == 2
        assert await hold(store, "node-1", office="other") is None

    async def test_a_silent_node_is_forgotten_and_no_other(self, store: Store) -> None:
        await store.report(make_node("node-1"))
        await store.report(replace(make_node("node-2"), seen_at=NOON + LEASE))
        assert await refusal(store, ForgetNode("node-1", NOON)) == "node.missing"
        await change(store, ForgetNode("node-1", NOON + LEASE))
        assert [node.id for node in await store.nodes()] == ["node-2"]
        for node_id in ("node-1", "node-2", "nobody"):
            assert await refusal(store, ForgetNode(node_id, NOON + LEASE)) == "node.missing"

    async def test_what_an_older_node_would_not_honour_waits_until_it_has_gone(self, store: Store) -> None:
        known = (await store.schema()).known
        await store.report(replace(make_node("node-1"), schema=known))
        await store.report(replace(make_node("node-2"), schema=0, seen_at=NOON + LEASE))
        assert await refusal(store, NeedsStep("keys", NOON)) == "node.older"
        assert await refusal(store, NeedsStep("keys", NOON + LEASE / 2), Create(make_agent())) == "node.older"
        assert await store.find_agent(make_agent().client_id) is None
        epoch = await store.epoch()
        await change(store, NeedsStep("keys", NOON + LEASE))
        assert await store.epoch() == epoch
        await change(store, NeedsStep("keys", NOON + LEASE), Create(make_agent()))
        await change(store, NeedsStep("keys", NOON + LEASE))

    @pytest.mark.parametrize("text", [text for text in HOSTILE if "\x00" not in text])
    async def test_a_name_is_only_a_name(self, store: Store, text: str) -> None:
        node = make_node(f"id {text}", name=text)
        await store.report(node)
        assert await store.hold(f"office {text}", node.id, now=NOON, until=NOON + LEASE) == 1
        await change(store, InTerm(f"office {text}", 1))
        assert list(await store.nodes()) == [node]
        assert list(await store.offices()) == [Office(f"office {text}", node.id, 1, NOON + LEASE)]

    async def test_an_office_has_one_holder(self, store: Store) -> None:
        assert await hold(store, "node-1") == 1
        assert await hold(store, "node-2") is None
        assert await hold(store, "node-2", office="other") == 1
        assert [office.holder for office in await store.offices()] == ["node-2", "node-1"]

    async def test_of_many_who_ask_at_once_one_gets_it(self, store: Store) -> None:
        for round_ in range(1, 4):
            now = NOON + round_ * HOUR
            terms = await asyncio.gather(*(hold(store, f"node-{number}", now) for number in range(64)))
            assert sorted(term for term in terms if term is not None) == [round_]
            (office,) = await store.offices()
            assert office == Office("upkeep", f"node-{terms.index(round_)}", round_, now + LEASE)

    async def test_renewing_keeps_the_term(self, store: Store) -> None:
        assert [await hold(store, "node-1", NOON + number * LEASE / 3) for number in range(9)] == [1] * 9
        assert list(await store.offices()) == [Office("upkeep", "node-1", 1, NOON + 8 * LEASE / 3 + LEASE)]

    async def test_a_term_ends_when_it_was_not_renewed(self, store: Store) -> None:
        assert await hold(store, "node-1") == 1
        just_before = NOON + LEASE - timedelta(microseconds=1)
        assert await hold(store, "node-2", just_before) is None
        assert await hold(store, "node-2", NOON + LEASE) == 2
        assert await hold(store, "node-1", NOON + LEASE) is None

    async def test_who_comes_back_after_the_end_begins_a_new_term(self, store: Store) -> None:
        assert [await hold(store, "node-1"), await hold(store, "node-1", NOON + LEASE)] == [1, 2]

    async def test_a_resigned_office_is_free_and_its_term_over(self, store: Store) -> None:
        assert await hold(store, "node-1") == 1
        await store.resign("upkeep", "node-2")
        await store.resign("other", "node-1")
        assert await hold(store, "node-2") is None
        await store.resign("upkeep", "node-1")
        assert await refusal(store, InTerm("upkeep", 1)) == "office.term"
        assert await hold(store, "node-2") == 2

    async def test_work_is_done_in_its_term_alone(self, store: Store) -> None:
        assert await refusal(store, InTerm("upkeep", 1)) == "office.term"
        assert await hold(store, "node-1") == 1
        await change(store, InTerm("upkeep", 1), Create(make_agent("in-term")))
        assert await hold(store, "node-2", NOON + HOUR) == 2
        for term in (0, 1, 3):
            assert await refusal(store, InTerm("upkeep", term), Create(make_agent("late"))) == "office.term"
        assert await store.registration("late") is None
        assert len(await store.events()) == 1
        await change(store, Create(make_agent("new")), InTerm("upkeep", 2))
        assert await store.registration("new") is not None

    async def test_nothing_of_an_old_term_comes_behind_the_new_one(self, store: Store) -> None:
        assert await hold(store, "node-1") == 1
        old = [store.commit(make_event(), [InTerm("upkeep", 1)]) for _ in range(20)]
        outcomes = await asyncio.gather(
            *old[:10], hold(store, "node-2", NOON + HOUR), *old[10:], return_exceptions=True
        )
        terms = [outcome for outcome in outcomes if isinstance(outcome, int)]
        refused = [outcome.reason for outcome in outcomes if isinstance(outcome, Conflict)]
        assert (terms, set(refused)) == ([2], {"office.term"} if refused else set())
        assert len(await store.events()) == 20 - len(refused)
        assert await refusal(store, InTerm("upkeep", 1)) == "office.term"

    async def test_clocks_that_disagree_do_no_harm(self, store: Store) -> None:
        assert await hold(store, "node-1") == 1
        assert await hold(store, "ahead", NOON + HOUR) == 2
        assert await hold(store, "node-1", NOON + LEASE / 2) is None
        assert await hold(store, "behind", NOON - HOUR) is None
        assert await refusal(store, InTerm("upkeep", 1)) == "office.term"
        await change(store, InTerm("upkeep", 2))
        assert await hold(store, "ahead", NOON + HOUR + LEASE / 2) == 2

    async def test_nothing_of_it_changes_the_epoch_or_leaves_an_event(self, store: Store) -> None:
        before = await store.epoch()
        await store.report(make_node("node-1"))
        await hold(store, "node-1")
        await store.resign("upkeep", "node-1")
        await store.leave("node-1")
        assert (await store.epoch(), len(await store.events())) == (before, 0)
        await store.report(make_node("node-1"))
        await hold(store, "node-1")
        await change(store, InTerm("upkeep", 2), ForgetNode("node-1", NOON + LEASE))
        assert (await store.epoch(), len(await store.events())) == (before, 1)

    async def test_a_beat_goes_along_with_commits(self, store: Store) -> None:
        agents = [f"agent-{number}" for number in range(32)]
        commits = [store.commit(make_event(), [Create(make_agent(name))]) for name in agents]
        beats = [store.report(make_node(f"node-{number}")) for number in range(32)]
        asked = [hold(store, f"node-{number}") for number in range(32)]
        await asyncio.gather(*(one for three in zip(commits, beats, asked, strict=True) for one in three))
        assert len(await store.nodes()) == len(await store.events()) == 32
        assert len(await store.agents(after="", limit=100)) == 32

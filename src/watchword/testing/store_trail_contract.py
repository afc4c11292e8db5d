"""The part of the store's contract that is about the audit trail."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.ports.audit import GENESIS, ChainHead, Outcome, link
from watchword.ports.store import Create, Store
from watchword.testing.records import make_agent, make_event

HOSTILE_TEXT = (
    "a\r\nHTTP/1.1 200 OK",
    '","outcome":"success","x":"',
    "\x1b[2J\x00\x7f",
    "\u2028\u202e\U0001f916",
    "'; DELETE FROM audit; --",
    "$.action",
    "\\u0000",
)


class TrailContract:
    """Events are chained in the order of their commits, come back as they were hashed, and are found by exact values."""

    async def test_the_trail_is_one_unbroken_chain(self, store: Store) -> None:
        events = [make_event(reason=f"reason {n}") for n in range(10)]
        for event in events:
            await store.commit(event)
        stored = await store.events()
        assert [row.payload for row in stored] == [event.canonical_bytes() for event in events]
        assert [row.position for row in stored] == list(range(1, 11))
        assert len({row.chain for row in stored}) == 1
        previous = GENESIS
        for row in stored:
            assert row.hash == link(previous, row.payload)
            previous = row.hash
        assert list(await store.heads()) == [ChainHead(stored[0].chain, 10, previous)]

    async def test_a_clock_that_jumps_moves_no_event(self, store: Store) -> None:
        hours = (0, -30_000, 5, 200_000, -1)
        for hour in hours:
            event = make_event(reason=str(hour))
            await store.commit(replace(event, time=event.time + timedelta(hours=hour)))
        stored = await store.events()
        assert [json.loads(row.payload)["reason"] for row in stored] == [str(hour) for hour in hours]
        assert [row.position for row in stored] == list(range(1, 6))
        newest = await store.events(limit=2, newest_first=True)
        assert [row.position for row in newest] == [5, 4]

    async def test_concurrent_commits_make_no_fork(self, store: Store) -> None:
        commits = [store.commit(make_event(), [Create(make_agent(f"a{n}"))] if n % 2 else []) for n in range(64)]
        await asyncio.gather(*commits)
        stored = await store.events()
        previous = GENESIS
        for position, row in enumerate(stored, 1):
            assert (row.position, row.hash) == (position, link(previous, row.payload))
            previous = row.hash
        assert [row.cursor for row in stored] == sorted({row.cursor for row in stored})
        assert len(stored) == 64

    async def test_a_refused_commit_leaves_no_gap(self, store: Store) -> None:
        commits = [store.commit(make_event(reason=f"{n}"), [Create(make_agent("same"))]) for n in range(8)]
        await asyncio.gather(*commits, store.commit(make_event(reason="last")), return_exceptions=True)
        stored = await store.events()
        assert [row.position for row in stored] == [1, 2]
        assert stored[1].hash == link(stored[0].hash, stored[1].payload)

    async def test_an_empty_trail_has_no_head(self, store: Store) -> None:
        assert list(await store.events()) == []
        assert list(await store.heads()) == []

    @pytest.mark.parametrize("text", HOSTILE_TEXT)
    async def test_hostile_text_is_one_event_and_found_by_itself(self, store: Store, text: str) -> None:
        event = make_event(client_id=text, reason=text, outcome=Outcome.DENIED)
        await store.commit(event)
        await store.commit(make_event())
        (stored,) = await store.events(filters={"outcome": "denied"})
        assert stored.payload == event.canonical_bytes()
        assert json.loads(stored.payload)["client_id"] == text
        assert b"\n" not in stored.payload
        if "\x00" not in text:
            assert list(await store.events(filters={"client_id": text, "reason": text})) == [stored]

    @pytest.mark.parametrize("name", ["action", "reason", "actor", "client_id", "request_id", "jti"])
    async def test_a_filter_finds_the_exact_value(self, store: Store, name: str) -> None:
        for value in ("one", "One", "one ", "two"):
            await store.commit(replace(make_event(), **{name: value}))  # type: ignore[arg-type]  # text members only
        assert [row.position for row in await store.events(filters={name: "one"})] == [1]
        assert [row.position for row in await store.events(filters={name: "two", "outcome": "success"})] == [4]
        assert list(await store.events(filters={name: "two", "outcome": "denied"})) == []
        for value in ("on", "%", "one' OR '1'='1", "one%", "*"):
            assert list(await store.events(filters={name: value})) == []

    async def test_an_empty_filter_finds_what_has_no_such_member(self, store: Store) -> None:
        await store.commit(make_event(jti="some"))
        await store.commit(make_event())
        assert [row.position for row in await store.events(filters={"jti": ""})] == [2]

    @pytest.mark.parametrize("name", ["payload", "details", "kid", "1=1 OR action", "", "cursor"])
    async def test_an_unknown_filter_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(ValueError, match="no such filter"):
            await store.events(filters={name: "x"})

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("size", [1, 4, 100])
    async def test_pages_hold_every_event_once(self, store: Store, size: int, newest_first: bool) -> None:
        for n in range(10):
            await store.commit(make_event(reason="even" if n % 2 == 0 else "odd"))
        for filters, positions in (({}, range(1, 11)), ({"reason": "odd"}, range(2, 11, 2))):
            found: list[int] = []
            after = 0
            while page := await store.events(after=after, limit=size, filters=filters, newest_first=newest_first):
                after = page[-1].cursor
                found += [row.position for row in page]
                assert len(found) <= 10
            assert found == sorted(positions, reverse=newest_first)

    async def test_no_limit_means_no_events(self, store: Store) -> None:
        await store.commit(make_event())
        assert list(await store.events(limit=0)) == []
        assert list(await store.events(limit=-1)) == []

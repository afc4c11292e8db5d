"""The part of the store's contract that is about revocations, and about credentials that come to an end."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from watchword.ports.keys import SigningKey
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.ports.store import Create, Replace, RetireCredential, RevokeCredential, Store, TouchCredential
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.testing.records import NOON, make_agent, make_credential, make_event, make_revocation, make_signing_key
from watchword.testing.store_registry_contract import HOSTILE, change, refusal, registered

HOUR = timedelta(hours=1)
_ENDS = {"c": 3, "a": 1, "b": 2, "silent": 9, "revoked": 2, "late": 4, "ended": 0}


async def all_of(store: Store, *, after: int = 0) -> list[Revocation]:
    """Return every revocation after a sequence."""
    return list(await store.revocations(after=after, limit=1000))


class RevocationsContract:
    """There is one of a kind and target, the later cut-off wins, and sequences rise in the order of commits."""

    async def test_credentials_are_found_by_their_end(self, store: Store) -> None:
        made = [replace(make_credential(name), expires_at=NOON + hours * HOUR) for name, hours in _ENDS.items()]
        await change(store, Create(make_agent()), *map(Create, made), Create(make_credential("endless")))
        await change(store, RevokeCredential("agent-1", "revoked"))
        await change(store, RetireCredential("agent-1", "silent", NOON + 2 * HOUR, "b", timedelta(minutes=5)))

        async def ids(after: tuple[datetime, str] = (NOON, "ended"), **how: bool) -> list[str]:
            found = await store.ending_credentials(after=after, before=NOON + 3 * HOUR, limit=3, **how)
            return [one.id for one in found]

        assert await ids() == ["a", "b", "silent"]
        assert await ids((NOON + 1 * HOUR, "a")) == ["b", "silent", "c"]
        assert await ids((NOON + 2 * HOUR, "b")) == ["silent", "c"]
        assert await ids(silence=True) == ["silent"]
        assert await ids((NOON + 3 * HOUR, "c")) == []
        assert [one.id for one in await store.ending_credentials(after=(NOON, ""), before=NOON, limit=9)] == ["ended"]
        assert list(await store.ending_credentials(after=(NOON, ""), before=NOON + 9 * HOUR, limit=0)) == []

    async def test_revocations_come_in_the_order_of_their_commits(self, store: Store) -> None:
        assert await store.revocation_sequence() == 0
        first, second = make_revocation("agent-1"), replace(make_revocation("a"), kind=RevocationKind.TOKEN, status=7)
        third = make_revocation("agent-2")
        await change(store, Revoke(first), Revoke(second))
        await change(store, Revoke(third))
        stored = [replace(one, sequence=place) for place, one in enumerate((first, second, third), 1)]
        assert await all_of(store) == stored
        assert await all_of(store, after=1) == stored[1:]
        assert list(await store.revocations(after=0, limit=2)) == stored[:2]
        assert list(await store.revocations(after=3, limit=2)) == list(await store.revocations(after=0, limit=0)) == []
        assert await store.revocation_sequence() == 3

    @pytest.mark.parametrize("kind", list(RevocationKind))
    async def test_a_later_cut_off_takes_the_place_of_an_earlier_one(self, store: Store, kind: RevocationKind) -> None:
        old = replace(make_revocation(), kind=kind)
        await change(store, Revoke(old), Revoke(make_revocation("other")))
        late = replace(old, cutoff=NOON + HOUR, created_at=NOON + HOUR, expires_at=NOON)
        await change(store, Revoke(late))
        newest = [one for one in await all_of(store) if (one.kind, one.target) == (kind, old.target)]
        assert newest == [replace(late, expires_at=old.expires_at, sequence=3)]

    async def test_an_earlier_or_equal_cut_off_changes_nothing(self, store: Store) -> None:
        one = make_revocation()
        await change(store, Revoke(one))
        again = [one, replace(one, cutoff=NOON - HOUR), replace(one, expires_at=NOON + 9 * HOUR)]
        await asyncio.gather(*(store.commit(make_event(), [Revoke(row)]) for row in again * 5))
        assert await all_of(store) == [replace(one, sequence=1)]
        assert await store.revocation_sequence() == 1

    async def test_a_refused_commit_has_no_sequence(self, store: Store) -> None:
        assert await refusal(store, Revoke(make_revocation()), Replace(replace(make_agent(), version=2)))
        assert await all_of(store) == []
        await change(store, Revoke(make_revocation()))
        assert await store.revocation_sequence() == 1

    async def test_what_is_over_is_removed_and_its_sequence_is_not_given_again(self, store: Store) -> None:
        ends = [NOON - HOUR, NOON, NOON + HOUR]
        await change(store, *(Revoke(replace(make_revocation(str(end)), expires_at=end)) for end in ends))
        before = await store.epoch()
        await change(store, PruneRevocations(NOON))
        assert await store.epoch() == before
        assert [one.expires_at for one in await all_of(store)] == [NOON + HOUR]
        await change(store, PruneRevocations(NOON + HOUR), Revoke(make_revocation("new")))
        assert [(one.target, one.sequence) for one in await all_of(store)] == [("new", 4)]

    async def test_of_many_at_once_each_has_its_own_place(self, store: Store) -> None:
        await asyncio.gather(*(store.commit(make_event(), [Revoke(make_revocation(str(n)))]) for n in range(40)))
        found = await all_of(store)
        assert [one.sequence for one in found] == list(range(1, 41))
        assert {one.target for one in found} == {str(n) for n in range(40)}

    @pytest.mark.parametrize("target", HOSTILE)
    async def test_a_target_is_what_it_is(self, store: Store, target: str) -> None:
        await change(store, Revoke(make_revocation(target)))
        assert [one.target for one in await all_of(store)] == [target]

    async def test_nobody_is_given_a_block_of_places_that_another_has(self, store: Store) -> None:
        taken = [await store.take_status_block(), *await asyncio.gather(*(store.take_status_block() for _ in range(8)))]
        assert sorted(taken) == list(range(9))
        assert await store.status_blocks() == 9

    async def test_a_credential_is_told_when_it_ends(self, scene: Store) -> None:
        before = await scene.epoch()
        await change(scene, RetireCredential("agent-1", "credential-1", NOON + HOUR, "next", timedelta(minutes=5)))
        (found,) = (await registered(scene)).credentials
        assert (found.expires_at, found.replaced_by, found.silence) == (NOON + HOUR, "next", timedelta(minutes=5))
        assert await scene.epoch() == before + 1
        await change(scene, RetireCredential("agent-1", "credential-1", NOON))
        (found,) = (await registered(scene)).credentials
        assert (found.expires_at, found.replaced_by, found.silence) == (NOON, None, None)
        assert await refusal(scene, RetireCredential("agent-2", "credential-1", NOON)) == "credential.missing"
        assert await refusal(scene, RetireCredential("agent-1", "no such", NOON)) == "credential.missing"
        await change(scene, RevokeCredential("agent-1", "credential-1"))
        assert await refusal(scene, RetireCredential("agent-1", "credential-1", NOON)) == "credential.missing"

    async def test_uses_add_up_in_whichever_order_they_are_told(self, scene: Store) -> None:
        await change(scene, TouchCredential("credential-1", NOON, "192.0.2.0/24", 5))
        await change(
            scene, TouchCredential("credential-1", NOON - HOUR, "198.51.100.0/24", 2), TouchCredential("x", NOON, "")
        )
        (found,) = (await registered(scene)).credentials
        assert (found.uses, found.last_used_at, found.last_used_network) == (7, NOON, "192.0.2.0/24")

    async def test_an_agent_keeps_what_it_serves_and_a_key_where_it_is_kept(self, store: Store) -> None:
        agent = replace(make_agent(), serves=("my-api", "*"))
        key: SigningKey = replace(make_signing_key(), custody="hsm")
        await change(store, Create(agent), Create(key))
        assert await store.find_agent("agent-1") == agent
        assert list(await store.signing_keys()) == [key]

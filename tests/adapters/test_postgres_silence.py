"""A database that says nothing, and one that is only slow: who asks has an answer soon, and only the first is given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import asyncpg
import pytest

from tests import rule
from tests.adapters.test_postgres import database_of, until
from tests.postgres import new_database, require_postgres, shared_server
from watchword.adapters.postgres import PostgresStore
from watchword.adapters.postgres_pulse import Pulse
from watchword.adapters.postgres_replay import PostgresReplay
from watchword.adapters.postgres_url import per_host
from watchword.clock import system_clock
from watchword.errors import ReplayUnavailable, StoreUnavailable
from watchword.ports.replay import Verdict
from watchword.ports.store import Create
from watchword.server.audit_chain import verify_chain
from watchword.testing.clock import FrozenClock
from watchword.testing.records import make_agent, make_credential, make_event
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def road() -> Iterator[FaultProxy]:
    require_postgres()
    with FaultProxy("127.0.0.1", shared_server().port) as proxy:
        yield proxy


@pytest.fixture
def url(road: FaultProxy) -> str:
    return new_database().replace(f":{shared_server().port}/", f":{road.port}/")


@pytest.fixture
async def store(url: str) -> AsyncGenerator[PostgresStore]:
    store = await PostgresStore.create(url, clock=FrozenClock())
    await store.commit(make_event(reason="first"), [Create(make_agent()), Create(make_credential())])
    await store.credentials("agent-1")
    await store.find_agent("agent-1")
    yield store
    await store.close()


@asynccontextmanager
async def locked(url: str, command: str) -> AsyncGenerator[None]:
    """Hold a lock in the database, past the proxy."""
    db = await asyncpg.connect(shared_server().url(database_of(url)))
    try:
        async with db.transaction():
            await db.execute(command)
            yield
    finally:
        await db.close()


async def refused(asked) -> str:
    with pytest.raises((StoreUnavailable, ReplayUnavailable)) as caught:
        await asked
    return caught.value.reason


async def reasons(store: PostgresStore) -> list[str]:
    return [event.payload.decode().split('"reason":"')[1].split('"')[0] for event in await store.events(limit=1000)]


def test_silence_is_counted_in_beats_and_ends_with_a_word() -> None:
    async def run() -> None:
        pulse, lost = Pulse(), []
        pulse.on_silence(lambda: lost.append(True))
        for _ in range(9):
            pulse._beat()
        pulse.check()
        pulse.heard()
        for _ in range(9):
            pulse._beat()
        assert not pulse.is_silent
        pulse._beat()
        pulse._beat()
        assert lost == [True]
        with pytest.raises(StoreUnavailable) as caught:
            pulse.check()
        assert caught.value.reason == "store.unreachable"
        pulse.failed(StoreUnavailable("store.credentials"))
        with pytest.raises(StoreUnavailable) as caught:
            pulse.check()
        assert caught.value.reason == "store.credentials"
        pulse.heard()
        pulse.check()
        pulse.close()

    asyncio.run(run())


@rule("O5", "N6", "DR-10")
async def test_while_nothing_is_heard_nobody_waits_and_nobody_tries(store: PostgresStore, road: FaultProxy) -> None:
    road.impose(Fault(breaks=Break.BLACKHOLE))
    first = [store.credentials("agent-1"), store.registration("agent-1"), store.find_agent("agent-1"), store.events()]
    outcomes = {await refused(asked) for asked in [*first, store.commit(make_event(reason="lost"))]}
    assert outcomes <= {"store.busy", "store.unreachable", "store.uncertain"}

    async def is_silent() -> bool:
        return store.pulse.is_silent

    await until(is_silent)
    before = road.accepted
    later = [store.credentials("agent-1"), store.find_agent("agent-1"), store.events(), store.check()]
    later += [store.commit(make_event(reason="never"), [Create(make_agent(f"a-{n}"))]) for n in range(100)]
    assert {await refused(asked) for asked in later} == {"store.unreachable"}
    assert road.accepted - before <= 1  # the one that listens for it
    road.heal()

    async def is_back() -> bool:
        return not store.pulse.is_silent

    await until(is_back)
    await store.check()
    await store.commit(make_event(reason="last"))
    assert await store.find_agent("agent-1") == make_agent()
    assert set(await reasons(store)) - {"lost"} == {"first", "last"}
    assert verify_chain(await store.events(), await store.heads()).is_sound


@rule("O5")
async def test_a_database_that_is_slow_to_write_is_not_given_up(
    store: PostgresStore, url: str, road: FaultProxy
) -> None:
    """Whoever waits too long is told so; what had not been sent by then is not written afterwards."""
    before = road.accepted
    async with locked(url, "SELECT 1 FROM watchword.counters FOR UPDATE"):
        sent = asyncio.create_task(refused(store.commit(make_event(reason="sent"))))
        await asyncio.sleep(0.05)
        unsent = asyncio.create_task(refused(store.commit(make_event(reason="unsent"))))
        assert (await sent, await unsent) == ("store.uncertain", "store.busy")
        assert await store.credentials("agent-1") == (make_credential(),)
    await store.commit(make_event(reason="last"))
    assert road.accepted == before
    assert set(await reasons(store)) - {"sent"} == {"first", "last"}
    assert verify_chain(await store.events(), await store.heads()).is_sound


@rule("O5")
async def test_a_database_that_is_slow_to_read_is_not_given_up(
    store: PostgresStore, url: str, road: FaultProxy
) -> None:
    before = road.accepted
    async with locked(url, "LOCK TABLE watchword.agents IN ACCESS EXCLUSIVE MODE"):
        asked = [store.credentials("agent-1"), store.registration("agent-1"), store.find_agent("agent-1")]
        assert [await refused(one) for one in asked] == ["store.busy"] * 3
        await store.commit(make_event())
    assert await store.credentials("agent-1") == (make_credential(),)
    assert road.accepted == before


@rule("O5")
async def test_a_claim_does_not_wait_for_a_slow_database(store: PostgresStore, url: str) -> None:
    replay = await PostgresReplay.open(url, pulse=store.pulse)
    shared_server().sql("UPDATE watchword.replay_state SET horizon = 1", database_of(url))
    now = system_clock()
    claim = partial(replay.claim, "test", "one", since=now, until=now + timedelta(minutes=5))
    async with locked(url, "LOCK TABLE watchword.replay_claims IN ACCESS EXCLUSIVE MODE"):
        assert await refused(claim()) == "replay.unavailable"
    assert await claim() in (Verdict.FIRST, Verdict.REPEATED)
    assert await claim() is Verdict.REPEATED
    await replay.close()


@rule("O6")
async def test_of_several_hosts_one_that_says_nothing_holds_up_none(url: str) -> None:
    await (await PostgresStore.create(url, clock=FrozenClock())).close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        several = url.replace("@127.0.0.1:", f"@127.0.0.1:{silent.getsockname()[1]},127.0.0.1:")
        store = await PostgresStore.open(several)
        await store.check()
        await store.close()


async def test_of_several_hosts_none_of_which_answers_it_is_said_why() -> None:
    assert await refused(PostgresStore.open("postgresql://a@127.0.0.1:1,127.0.0.1:2/x")) == "store.unreachable"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a:b@one/x?sslmode=disable", ["postgresql://a:b@one/x?sslmode=disable"]),
        ("postgresql://a:b@one,two:5/x?c=d", ["postgresql://a:b@one/x?c=d", "postgresql://a:b@two:5/x?c=d"]),
        (
            "postgresql:///x?host=one,two&port=5,6",
            ["postgresql:///x?host=one&port=5", "postgresql:///x?host=two&port=6"],
        ),
        ("postgresql:///x?host=one,two&port=5", ["postgresql:///x?host=one&port=5", "postgresql:///x?host=two&port=5"]),
        ("postgresql:///x?host=one,two", ["postgresql:///x?host=one", "postgresql:///x?host=two"]),
        ("postgresql:///x", ["postgresql:///x"]),
    ],
)
def test_one_url_for_each_host(url: str, expected: list[str]) -> None:
    assert per_host(url) == expected

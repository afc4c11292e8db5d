"""A memory in a PostgreSQL that is restarted, killed, put back, taken over, filled: nothing is accepted twice."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from tests import rule
from tests.contracts.replay_node import begin, node, race, read_verdicts
from tests.postgres import new_database, require_postgres
from watchword.adapters import postgres_replay
from watchword.adapters.postgres import PostgresStore
from watchword.adapters.postgres_replay import PostgresReplay
from watchword.clock import system_clock
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Verdict
from watchword.testing.clock import FrozenClock
from watchword.testing.postgres import PostgresServer
from watchword.testing.replay_contract import MINUTE, is_accepted

PAIRS = 10_000
MANY = 1000
NODES = 4
SECONDS = 30

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def run(url: str, *commands: str) -> None:
    db = await asyncpg.connect(url)
    for command in commands:
        await db.execute(command)
    await db.close()


async def database_of_old(server: PostgresServer | None = None) -> str:
    """Return a database whose memory has been whole for long."""
    url = new_database(server)
    store = await PostgresStore.create(url, clock=system_clock)
    await (await PostgresReplay.open(url)).close()
    await store.close()
    await run(url, "UPDATE watchword.replay_state SET horizon = 1")
    return url


@pytest.fixture
async def url() -> str:
    return await database_of_old()


@pytest.fixture
async def replay(url: str) -> AsyncGenerator[PostgresReplay]:
    replay = await PostgresReplay.open(url)
    yield replay
    await replay.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    require_postgres()
    with PostgresServer(shared_buffers="32MB") as server:
        yield server


async def is_first(replay: PostgresReplay, name: str, since=None) -> bool:
    since = since or system_clock()
    return await is_accepted(replay.claim("jti", name, since=since, until=since + MINUTE))


async def is_new_accepted(replay: PostgresReplay) -> None:
    """Return once something new is accepted."""
    deadline = time.monotonic() + SECONDS
    while not await is_first(replay, f"new-{time.monotonic_ns()}"):
        assert time.monotonic() < deadline, "nothing is accepted any more"
        await asyncio.sleep(0.02)


@rule("N1", "KF-45", "FI-5")
async def test_of_ten_thousand_ids_on_four_nodes_each_has_one_winner(url: str) -> None:
    told = race("postgres", [url] * NODES, PAIRS)
    winners = [[one[number] for one in told].count("first") for number in range(PAIRS)]
    assert winners == [1] * PAIRS
    assert {verdict for one in told for verdict in one.values()} == {"first", "repeated"}
    assert sum("first" in one.values() for one in told) > 1, "they did not race"


@rule("KF-44", "FI-8", "TRAP-04")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_what_was_claimed_before_a_restart_is_not_accepted_after_it_and_what_is_new_is(
    server: PostgresServer, how: signal.Signals
) -> None:
    url = await database_of_old(server)
    replay = await PostgresReplay.open(url)
    since = system_clock()
    claimed = [f"id-{number}" for number in range(MANY)]
    assert all(await asyncio.gather(*(is_first(replay, name, since) for name in claimed)))
    await asyncio.to_thread(server.restart, how)
    await is_new_accepted(replay)
    assert not any(await asyncio.gather(*(is_first(replay, name, since) for name in claimed)))
    assert await is_first(replay, "claimed by nobody", since)
    await replay.close()


@rule("KF-44", "N8", "FI-8")
async def test_a_standby_that_takes_over_and_knows_less_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_postgres()
    monkeypatch.setattr(postgres_replay, "MAX_SKEW", 1000)
    with PostgresServer(shared_buffers="32MB") as server:
        url = await database_of_old(server)
        before = server._data.with_name("before")
        await asyncio.to_thread(server.stop)
        subprocess.run(["cp", "-a", server._data, before], check=True)
        await asyncio.to_thread(server.start)
        replay = await PostgresReplay.open(url)
        since = system_clock()
        claimed = [f"id-{number}" for number in range(MANY)]
        assert all(await asyncio.gather(*(is_first(replay, name, since) for name in claimed)))
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        shutil.rmtree(server._data)
        before.rename(server._data)
        signal_file = server._data / "standby.signal"
        signal_file.touch()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.sql, "SELECT pg_promote()")
        for _ in range(3):
            assert not any(await asyncio.gather(*(is_first(replay, name, since) for name in claimed)))
        await is_new_accepted(replay)
        assert not any(await asyncio.gather(*(is_first(replay, name, since) for name in claimed)))
        await replay.close()


@rule("KF-44", "O1", "FI-8")
async def test_what_a_killed_node_was_told_is_not_accepted_by_another(url: str) -> None:
    with node("postgres", url, 100_000) as killed:
        since = system_clock()
        begin(killed, since)
        assert killed.stdout is not None
        seen = [killed.stdout.readline() for _ in range(500)]
        killed.send_signal(signal.SIGKILL)
        seen += [f"{number} {verdict}" for number, verdict in read_verdicts(killed).items()]
    winners = {int(line.split()[0]) for line in seen if line.split()[1] == "first"}
    with node("postgres", url, max(winners) + 1) as later:
        begin(later, since)
        assert {number for number, told in read_verdicts(later).items() if told == "first"} & winners == set()


@rule("KF-44", "N8", "O13", "FI-8")
@pytest.mark.parametrize(
    "commands",
    [
        ["UPDATE watchword.replay_state SET life = 'of the server before'", "DELETE FROM watchword.replay_claims"],
        [
            "ALTER TABLE watchword.replay_claims RENAME TO before",
            "CREATE TABLE watchword.replay_claims (LIKE watchword.before INCLUDING ALL)",
        ],
    ],
    ids=["another server", "another table"],
)
async def test_a_database_that_knows_less_is_not_believed(
    url: str, replay: PostgresReplay, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_replay, "MAX_SKEW", 1000)
    since = system_clock()
    assert await is_first(replay, "id", since)
    await run(url, *commands)
    later = await PostgresReplay.open(url)
    for _ in range(20):
        assert not await is_first(replay, "id", since)
        assert not await is_first(later, "id", since)
    await is_new_accepted(replay)
    await is_new_accepted(later)
    assert not await is_first(later, "id", since)
    await later.close()


@rule("KF-43")
async def test_a_full_memory_accepts_nothing_new(url: str) -> None:
    replay = await PostgresReplay.open(url, capacity=100)
    since = system_clock()
    deadline = time.monotonic() + SECONDS
    while await is_first(replay, f"id-{time.monotonic_ns()}", since):
        assert time.monotonic() < deadline, "the database says how many there are, a moment later"
    with pytest.raises(ReplayUnavailable, match=r"replay\.full"):
        await replay.claim("jti", "one more", since=since, until=since + MINUTE)
    await replay.close()


async def test_what_has_been_over_for_a_minute_is_forgotten_and_never_accepted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_replay, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(postgres_replay, "_KEPT_LONGER", 0)
    clock = FrozenClock(system_clock())
    replay = await PostgresReplay.open(url, clock=clock)
    since, until = clock(), clock() + timedelta(seconds=1)
    assert await replay.claim("jti", "id", since=since, until=until) is Verdict.FIRST
    clock.advance(timedelta(seconds=2))
    db = await asyncpg.connect(url)
    deadline = time.monotonic() + SECONDS
    while await db.fetchval("SELECT count(*) FROM watchword.replay_claims"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await db.close()
    clock.advance(timedelta(seconds=-2))
    assert await replay.claim("jti", "id", since=since, until=until) is Verdict.UNSURE
    await replay.close()


@rule("W2")
@pytest.mark.parametrize("minutes", [-60, 60])
async def test_a_node_whose_clock_is_wrong_accepts_nothing(url: str, minutes: int) -> None:
    with pytest.raises(ReplayUnavailable, match=r"replay\.clock"):
        await PostgresReplay.open(url, clock=FrozenClock(system_clock() + minutes * MINUTE))


@rule("O6", "N6")
async def test_without_its_database_nothing_is_accepted(server: PostgresServer) -> None:
    url = await database_of_old(server)
    replay = await PostgresReplay.open(url)
    await asyncio.to_thread(server.stop)
    try:
        with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
            await replay.check()
        assert not await is_first(replay, "id")
        with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
            await PostgresReplay.open(url)
    finally:
        await asyncio.to_thread(server.start)
    await is_new_accepted(replay)
    await replay.close()

"""A memory in a Redis that is emptied, killed, started again, filled, replaced, cut off: nothing is accepted twice."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests import rule
from tests.contracts.replay_node import race
from tests.redis import SECONDS, RedisServer, with_old_marker
from watchword.adapters import redis_replay
from watchword.adapters.redis_link import RedisLink
from watchword.adapters.redis_replay import RedisReplay
from watchword.adapters.redis_url import parse_redis_url
from watchword.clock import system_clock
from watchword.errors import BadSettings, CacheUnavailable, ReplayUnavailable
from watchword.ports.replay import Verdict
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import MINUTE, is_accepted
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy

PAIRS = 10_000
MANY = 1000
NODES = 4

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def small_skew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a loss, nobody has to wait for long."""
    monkeypatch.setattr(redis_replay, "MAX_SKEW", 500)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


class Node:
    """One node and its way to the server."""

    def __init__(self, url: str) -> None:
        self.link = RedisLink(parse_redis_url(url))

    async def open(self) -> "Node":
        await self.link.open()
        self.replay = await RedisReplay.open(self.link, name="issuer")
        return self

    async def is_first(self, name: str, since=None) -> bool:
        since = since or system_clock()
        return await is_accepted(self.replay.claim("jti", name, since=since, until=since + MINUTE))

    async def is_new_accepted(self) -> None:
        """Return once something new is accepted."""
        deadline = time.monotonic() + SECONDS
        while not await self.is_first(f"new-{time.monotonic_ns()}"):
            assert time.monotonic() < deadline, "nothing is accepted any more"
            await asyncio.sleep(0.02)


@pytest.fixture
async def node(server: RedisServer) -> AsyncGenerator[Node]:
    await with_old_marker(server.url, "issuer")
    node = await Node(server.url).open()
    yield node
    await node.link.close()


@rule("N1", "KF-45", "FI-5")
async def test_of_ten_thousand_ids_on_four_nodes_each_has_one_winner(server: RedisServer) -> None:
    have_raced = False
    for attempt in range(3):  # on a busy machine one of them may be through before the others have begun
        await with_old_marker(server.url, f"race{attempt}")
        told = race("redis", [f"{server.url}#race{attempt}"] * NODES, PAIRS)
        winners = [[node[number] for node in told].count("first") for number in range(PAIRS)]
        assert winners == [1] * PAIRS
        assert {verdict for node in told for verdict in node.values()} == {"first", "repeated"}
        have_raced = sum("first" in node.values() for node in told) > 1
        if have_raced:
            break
    assert have_raced, "they did not race"


def flush(server: RedisServer) -> None:
    server.ask("FLUSHALL")


def kill(server: RedisServer) -> None:
    server.kill()
    server.start()


def stop(server: RedisServer) -> None:
    server.stop()
    server.start()


@rule("KF-44", "N7", "O7", "FI-8", "TRAP-04")
@pytest.mark.parametrize("lose", [flush, kill, stop])
async def test_what_was_claimed_before_a_loss_is_never_accepted_again(node: Node, server: RedisServer, lose) -> None:
    since = system_clock()
    claimed = [f"id-{number}" for number in range(MANY)]
    assert all(await asyncio.gather(*(node.is_first(name, since) for name in claimed)))
    lose(server)
    for _ in range(100):
        assert not await node.is_first("id-0", since)
        await asyncio.sleep(0.01)
    await node.is_new_accepted()
    assert not any(await asyncio.gather(*(node.is_first(name, since) for name in claimed)))


@rule("KF-44", "N7", "O7", "FI-8")
async def test_a_server_that_comes_back_knowing_less_is_not_believed(node: Node, server: RedisServer) -> None:
    """Its last copy has the marker and lacks the claim, as a replica that takes over may."""
    server.ask("SAVE")
    since = system_clock()
    assert await node.is_first("id", since)
    kill(server)
    assert server.ask("EXISTS", node.replay.prefix.decode()) == b":1\r\n"
    late = await Node(server.url).open()
    for _ in range(100):
        assert not await node.is_first("id", since)
        assert not await late.is_first("id", since)
        await asyncio.sleep(0.01)
    await node.is_new_accepted()
    assert not await late.is_first("id", since)
    await late.link.close()


@rule("KF-44")
async def test_a_node_that_comes_after_a_loss_refuses_what_the_others_have_accepted(
    node: Node, server: RedisServer
) -> None:
    since = system_clock()
    assert await node.is_first("id", since)
    await node.link.close()
    server.ask("FLUSHALL")
    later = await Node(server.url).open()
    assert not await later.is_first("id", since)
    await later.is_new_accepted()
    assert not await later.is_first("id", since)
    await later.link.close()


@rule("O7")
async def test_a_policy_that_forgets_stops_everything_until_it_is_changed(node: Node, server: RedisServer) -> None:
    server.config("maxmemory-policy", "allkeys-lru")
    node.link.look_again()
    deadline = time.monotonic() + SECONDS
    while node.link.connection is not None and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not await node.is_first("id")
    with pytest.raises(ReplayUnavailable):
        await node.replay.check()
    server.config("maxmemory-policy", "noeviction")
    await node.is_new_accepted()


@rule("O7")
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"])
async def test_a_policy_that_forgets_is_refused_at_the_start(server: RedisServer, policy: str) -> None:
    server.config("maxmemory-policy", policy)
    with pytest.raises(BadSettings, match=r"cache\.evicting"):
        await Node(server.url).open()


@rule("KF-43", "O7")
async def test_a_full_server_accepts_nothing_and_forgets_nothing(node: Node, server: RedisServer) -> None:
    since = system_clock()
    assert await node.is_first("id", since)
    server.config("maxmemory", "1mb")
    with pytest.raises(ReplayUnavailable, match=r"replay\.full"):
        await node.replay.claim("jti", "another", since=since, until=since + MINUTE)
    assert not await node.is_first("id", since)
    server.config("maxmemory", "0")
    assert await node.is_first("another", since)
    assert not await node.is_first("id", since)


@rule("O7")
async def test_a_server_that_only_follows_another_is_refused(server: RedisServer) -> None:
    server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(BadSettings, match=r"cache\.replica"):
        await Node(server.url).open()


@rule("O7")
async def test_a_server_that_does_not_answer_stops_everything_and_is_taken_up_again(
    node: Node, server: RedisServer
) -> None:
    since = system_clock()
    assert await node.is_first("id", since)
    server.pause()
    try:
        with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
            await asyncio.wait_for(node.replay.claim("jti", "slow", since=since, until=since + MINUTE), SECONDS)
        with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
            await node.replay.check()
    finally:
        server.go_on()
    await node.is_new_accepted()
    assert not await node.is_first("id", since)


@rule("N6", "O7")
@pytest.mark.parametrize("breaks", [Break.RESET, Break.CLOSE, Break.HALF_CLOSE, Break.BLACKHOLE])
async def test_a_node_that_is_cut_off_accepts_nothing_while_the_others_go_on(
    node: Node, server: RedisServer, breaks: Break
) -> None:
    with FaultProxy("127.0.0.1", server.port) as proxy:
        far = await Node(f"redis://127.0.0.1:{proxy.port}/0").open()
        assert await far.is_first("before")
        proxy.impose(Fault(breaks=breaks))
        for number in range(5):
            assert not await far.is_first(f"id-{number}")
        assert await node.is_first("near")
        assert not await far.is_first("near")
        proxy.heal()
        await far.is_new_accepted()
        assert not await far.is_first("near")
        await far.link.close()


@rule("W2")
@pytest.mark.parametrize("seconds", [-3600, -2, 2, 3600])
async def test_a_node_whose_clock_is_wrong_accepts_nothing(server: RedisServer, seconds: int) -> None:
    link = RedisLink(parse_redis_url(server.url))
    await link.open()
    clock = FrozenClock(system_clock() + timedelta(seconds=seconds))
    with pytest.raises(ReplayUnavailable, match=r"replay\.clock"):
        await RedisReplay.open(link, name="issuer", clock=clock)
    await link.close()


@rule("W3")
async def test_a_node_whose_clock_goes_wrong_accepts_nothing_until_it_is_right(server: RedisServer) -> None:
    await with_old_marker(server.url, "issuer")
    clock = FrozenClock(system_clock())
    link = RedisLink(parse_redis_url(server.url))
    await link.open()
    replay = await RedisReplay.open(link, name="issuer", clock=clock)
    clock.advance(-10 * MINUTE)
    with pytest.raises(ReplayUnavailable, match=r"replay\.clock"):
        await replay.claim("jti", "id", since=clock(), until=clock() + MINUTE)
    with pytest.raises(ReplayUnavailable, match=r"replay\.clock"):
        await replay.check()
    await link.close()


async def test_the_marker_goes_before_any_id_that_still_counts(node: Node, server: RedisServer) -> None:
    since = system_clock()
    assert await node.replay.claim("jti", "id", since=since, until=since + timedelta(milliseconds=500)) is Verdict.FIRST
    connection = node.link.connection
    assert connection is not None
    keys = await connection.ask("KEYS", "watchword:*")
    assert isinstance(keys, list)
    lives = {key == node.replay.prefix: await connection.ask("PTTL", key) for key in keys}
    assert lives[True] <= redis_replay.MARKER_LIFE < lives[False]


async def test_no_server_is_no_memory(tmp_path: Path) -> None:
    with pytest.raises(CacheUnavailable, match=r"cache\.unreachable"):
        await Node("redis://127.0.0.1:1/0").open()
    with pytest.raises(CacheUnavailable, match=r"cache\.unreachable"):
        await Node(f"unix://{tmp_path}/nothing").open()


async def test_a_password_is_needed_and_never_told(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "open sesame") as server:
        for url in (server.url, server.url.replace("//", "//:wrong@")):
            with pytest.raises(BadSettings, match=r"cache\.refused") as caught:
                await Node(url).open()
            assert "wrong@" not in str(caught.value)
        node = await Node(server.url.replace("//", "//:open%20sesame@")).open()
        await node.is_new_accepted()
        await node.link.close()


async def test_a_socket_of_this_machine_and_another_database(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--unixsocket", str(tmp_path / "redis.sock")):
        node = await Node(f"unix://{tmp_path}/redis.sock?db=3").open()
        await node.is_new_accepted()
        await node.link.close()

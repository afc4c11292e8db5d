"""A whole server with a cache: ready with it, not ready without, and its workers count together."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, create_agent, environment
from tests.redis import RedisServer
from tests.whole.server_process import PROGRAM, Serving, serving_here, until

PASSWORD = "open-sesame-4711"

pytestmark = pytest.mark.places("sqlite", "postgres", why="each has the same Redis besides, which is stopped")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD) as server:
        yield server


def url_of(redis: RedisServer) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{redis.port}/0"


@pytest.fixture(scope="module")
def two(place: str, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("two")
    (folder / "cache").write_text(url_of(redis) + "\n")
    (folder / "cache").chmod(0o600)
    with serving_here(folder, workers=2, cache_file=folder / "cache") as server:
        yield server


def ask(server: Serving, client_id: str, secret: str) -> int:
    credentials = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    form = {"grant_type": "client_credentials", "audience": "my-api", "scope": "read:data"}
    headers = {"authorization": f"Basic {credentials}", "connection": "close"}
    return httpx2.post(server.server.token_endpoint, data=form, headers=headers, verify=PLAIN).status_code


@rule("B1")
def test_failures_are_counted_by_all_workers_together(two: Serving) -> None:
    agent = create_agent(two.server, "reader", "--scope", "read:data")
    assert ask(two, agent.client_id, agent.client_secret) == 200
    statuses = [ask(two, agent.client_id, "wrong") for _ in range(30)]
    assert statuses.count(401) in {20, 21}  # one more is free after 3 s
    assert statuses.count(429) == 30 - statuses.count(401)


@rule("O7")
def test_without_it_the_server_is_not_ready_and_answers_and_is_ready_again(two: Serving, redis: RedisServer) -> None:
    agent = create_agent(two.server, "another", "--scope", "read:data")
    assert two.probe("/readyz").status_code == 200
    assert two.metric("watchword_cache_connected") == 2
    redis.kill()
    until(lambda: two.probe("/readyz").status_code == 503, "not ready")
    assert "replay: replay.unavailable" in two.probe("/readyz?verbose").text
    assert (
        ask(two, agent.client_id, agent.client_secret) == 200
    )  # a secret is not used once: the counters are each worker's own
    until(lambda: two.metric("watchword_cache_connected") == 0, "shown")
    redis.start()
    until(lambda: two.probe("/readyz").status_code == 200, "ready again")
    until(lambda: len(two.events("cache_back")) == 2, "told")
    assert {event["reason"] for event in two.events("cache_lost")} == {"cache.unreachable"}
    assert two.events("replay_lost")
    assert PASSWORD not in two.log.read_text() + two.probe("/metrics").text


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *arguments]
    env = environment(folder, **variables)
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def refused_start(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    places = ("--listen", "127.0.0.1:0", "--management", "127.0.0.1:0")
    return run(folder, "serve", "--data", str(folder / "data"), *places, "--cache", url)


def test_a_server_does_not_start_without_the_cache_it_was_told_to_use(two: Serving, redis: RedisServer) -> None:
    redis.config("maxmemory-policy", "allkeys-lru", password=PASSWORD)
    try:
        refused = refused_start(two.folder, url_of(redis))
    finally:
        redis.config("maxmemory-policy", "noeviction", password=PASSWORD)
    assert (refused.returncode, "noeviction" in refused.stderr) == (2, True)
    away = refused_start(two.folder, f"redis://:{PASSWORD}@127.0.0.1:1")
    assert (away.returncode, "cannot be reached" in away.stderr) == (7, True)
    assert PASSWORD not in refused.stderr + refused.stdout + away.stderr + away.stdout


def test_the_settings_are_shown_without_the_password(two: Serving, redis: RedisServer) -> None:
    shown = run(two.folder, "config", "show", "--data", str(two.folder / "data"), WATCHWORD_SERVER__CACHE=url_of(redis))
    assert f"redis://:***@127.0.0.1:{redis.port}/0" in shown.stdout
    assert PASSWORD not in shown.stdout + shown.stderr

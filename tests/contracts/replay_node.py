"""A process of its own that claims ids: run by the tests that race processes, or kill them.

``replay_node.py KIND PLACE COUNT IN_FLIGHT``: says ``ready``, waits for a line, then claims ``id-0`` to ``id-COUNT`` in this
order, for a minute around the moment of the line, and says one line for each: its number and the verdict.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from watchword.adapters.postgres_replay import PostgresReplay
from watchword.adapters.redis_link import RedisLink
from watchword.adapters.redis_replay import RedisReplay
from watchword.adapters.redis_url import parse_redis_url
from watchword.adapters.sqlite_replay import SqliteReplay
from watchword.clock import system_clock
from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Replay

AHEAD = timedelta(minutes=1)
TOGETHER = timedelta(milliseconds=200)


async def open_replay(kind: str, place: str) -> Replay:
    if kind == "sqlite":
        return SqliteReplay.open(Path(place))
    if kind == "postgres":
        return await PostgresReplay.open(place)
    url, _, name = place.rpartition("#")
    link = RedisLink(parse_redis_url(url))
    await link.open()
    return await RedisReplay.open(link, name=name)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def claim_one(replay: Replay, number: int, since: datetime) -> str:
    try:
        return await replay.claim("race", f"id-{number}", since=since, until=since + AHEAD)
    except ReplayUnavailable as error:
        return error.reason


async def main(kind: str, place: str, count: int, in_flight: int) -> None:
    replay = await open_replay(kind, place)
    say("ready")
    since = datetime.fromisoformat((await asyncio.to_thread(sys.stdin.readline)).strip())
    await asyncio.sleep(
        (since + TOGETHER - system_clock()).total_seconds()
    )  # nobody runs ahead of who has not heard yet
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            say(f"{number} {await claim_one(replay, number, since)}")

    await asyncio.gather(*(work() for _ in range(in_flight)))
    await replay.close()


@contextmanager
def node(kind: str, place: str | Path, count: int, in_flight: int = 64) -> Iterator[subprocess.Popen[str]]:
    """Give a process that is ready; tell it when with ``begin``."""
    command = [sys.executable, __file__, kind, str(place), str(count), str(in_flight)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def begin(process: subprocess.Popen[str], since: datetime) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{since.isoformat()}\n")
    process.stdin.flush()


def read_verdicts(process: subprocess.Popen[str]) -> dict[int, str]:
    """Return what a process says until it ends, one way or the other."""
    assert process.stdout is not None
    lines = [line.split() for line in process.stdout if line.endswith("\n")]
    return {int(number): verdict for number, verdict in lines}


def race(kind: str, places: list[str], count: int) -> list[dict[int, str]]:
    """Return what the processes say, one for each place, that claim the same ids at the same time."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(kind, place, count)) for place in places]
        since = system_clock()
        for each in nodes:
            begin(each, since)
        with ThreadPoolExecutor(len(nodes)) as readers:
            return list(readers.map(read_verdicts, nodes))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

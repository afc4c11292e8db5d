"""The long run of ``watchword.testing.kill``: prints its seed, each round that went wrong, and how long restarts took."""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from watchword.testing.kill import Killer, Round
from watchword.testing.postgres import PostgresServer
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

ROUNDS_PER_STORE = 20
"""A store is read whole after every kill: a new one now and then keeps that short."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database", action="store_true", help="the store in a PostgreSQL of its own")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds of load before a kill, at most")
    chosen = parser.parse_args()
    where = "PostgreSQL" if chosen.database else "a file"
    print(f"seed {chosen.seed}, {chosen.times} kills, {chosen.workers} workers, the store in {where}")
    rounds: list[Round] = []
    while len(rounds) < chosen.times:
        rounds += run(min(ROUNDS_PER_STORE, chosen.times - len(rounds)), chosen.seed + len(rounds), chosen)
        print(
            f"{len(rounds)} kills, {sum(one.tokens for one in rounds)} tokens, {wrong(rounds)} rounds with problems",
            flush=True,
        )
    restarts = sorted(one.restart for one in rounds)
    high = restarts[int(0.99 * (len(restarts) - 1))]
    print(f"acknowledged: {sum(one.tokens for one in rounds)} tokens, {sum(one.changes for one in rounds)} changes")
    print(f"start to ready: median {statistics.median(restarts):.2f} s, p99 {high:.2f} s, longest {restarts[-1]:.2f} s")
    print(f"{wrong(rounds)} of {len(rounds)} rounds with problems")
    return 1 if wrong(rounds) else 0


def run(times: int, seed: int, chosen: argparse.Namespace) -> list[Round]:
    options = () if chosen.workers == 1 else ("--workers", str(chosen.workers))
    rounds = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = _new_database(stack) if chosen.database else None
        environment = FAIL_AT_WILL | ({"WATCHWORD_SERVER__DATABASE": url} if url else {})
        server = stack.enter_context(ServerProcess(Path(folder), options=options, environment=environment))
        killer = Killer(server, seed=seed, database=url)
        for number in range(times):
            rounds.append(killer.round(chosen.longest))
            for problem in rounds[-1].problems:
                print(
                    f"PROBLEM in round {number} of seed {seed}, killed after {rounds[-1].after:.3f} s: {problem}",
                    flush=True,
                )
    return rounds


def _new_database(stack: ExitStack) -> str:
    server = stack.enter_context(PostgresServer())
    server.sql("CREATE DATABASE killed")
    return server.url("killed")


def wrong(rounds: list[Round]) -> int:
    return sum(bool(one.problems) for one in rounds)


if __name__ == "__main__":
    sys.exit(main())

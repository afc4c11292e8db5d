"""Load, from a core of its own: wrk, one thread, connections that stay open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Measured, Sample
from bench.processes import LOAD_CORE, Child, pinned

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server and the request it gets. ``authorizations`` are headers, one of which each request takes in turn.

    Behind a tab stands a proof of possession, if ``renew`` is there: each works once, so ``renew`` makes them for every load.
    """

    name: str
    child: Child
    url: str
    body: str = ""
    authorizations: Sequence[str] = field(default=(), repr=False)
    renew: Callable[[], Sequence[str]] | None = field(default=None, repr=False)
    connections: int = 32
    rss_ready: float = 0.0


def press(target: Target, *, seconds: float, scratch: Path) -> Sample:
    """Load a server for some seconds."""
    headers = scratch / "authorizations"
    lines = target.renew() if target.renew is not None else target.authorizations
    headers.write_text("\n".join(lines) + "\n", encoding="ascii")
    before = target.child.cpu_seconds()
    command = [
        "wrk",
        "-t1",
        f"-c{target.connections}",
        f"-d{seconds:g}s",
        "--timeout",
        "20s",
        "-s",
        str(SCRIPT),
        target.url,
    ]
    done = subprocess.run(
        pinned(LOAD_CORE, command),
        env={**os.environ, "BENCH_BODY": target.body, "BENCH_AUTHORIZATIONS": str(headers)},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    target.child.settle()
    spent = target.child.cpu_seconds() - before
    rate, p50, p99, requests, refused, broken = map(float, done.stdout.rpartition("RESULT ")[2].split())
    return Sample(
        rate=rate,
        p50=p50 / 1000,
        p99=p99 / 1000,
        cpu_us=spent / max(requests, 1) * 1e6,
        requests=int(requests),
        refused=int(refused),
        broken=int(broken),
    )


def take_turns(
    targets: Sequence[Target], *, rounds: int, seconds: float, scratch: Path, warm: float = 2
) -> list[Measured]:
    """Load the servers one after the other, round by round, after a warm-up of each."""
    samples: list[list[Sample]] = [[] for _ in targets]
    for number in range(rounds + 1):
        for target, kept in zip(targets, samples, strict=True):
            sample = press(target, seconds=seconds if number else warm, scratch=scratch)
            if number:
                kept.append(sample)
    return [
        Measured(
            target.name,
            target.connections,
            kept,
            target.rss_ready,
            target.child.rss(),
            target.child.worker_rss(),
            target.child.pss(),
        )
        for target, kept in zip(targets, samples, strict=True)
    ]

"""More requests than can be answered, and more workers than one."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench import servers
from bench.figures import Measured, Report, Row, Sample, paired
from bench.load import Target, press, take_turns
from bench.open_loop import Order, Result
from bench.processes import LOAD_CORE, SERVER_CORE, pinned
from bench.servers import Bench, Server, running
from bench.stores import prepare

TIMES: Final = 10
CALM: Final = 0.1
"""The part of the capacity at which the unloaded latency is measured."""

CONNECTIONS: Final = 1500
SETTLING: Final = 1.0
FULL: Final = 0.9
_LONGEST_RECOVERY: Final = 10
_AGENTS: Final = 10
_MANY_PEERS: Final = {"WATCHWORD_LIMITS__PEER": "99999999/1s", "WATCHWORD_LIMITS__AGENT": "99999999/1s"}
"""All the load comes from one address, and stands for that of many."""

ONE_WORKER: Final = "one worker"
TWO_WORKERS: Final = "two workers"


@dataclass(frozen=True, slots=True)
class Round:
    """One round: what the server can do, how soon it answers when there is little to do, and what an overload makes of it."""

    capacity: Sample
    calm: Result
    flood: Result
    recovery: float


def overload(bench: Bench) -> Report:
    """Ten times as many requests as one worker can answer, in an open loop."""
    report = Report(f"overload: {TIMES} times the capacity of one worker, {CONNECTIONS} connections, open loop")
    prepared = prepare(bench.scratch / "few", agents=_AGENTS)
    server = replace(servers.ours(prepared), env=lambda _port: _MANY_PEERS)
    with running(bench, server) as target:
        press(target, seconds=2, scratch=bench.scratch)
        rounds = [_round(bench, target) for _ in range(bench.rounds)]
        memory = (target.rss_ready, target.child.rss(), target.child.worker_rss(), target.child.pss())
    report.measured.append(Measured(target.name, target.connections, [one.capacity for one in rounds], *memory))
    report.add(_rows(rounds, bench.seconds))
    return report


def _round(bench: Bench, target: Target) -> Round:
    capacity = press(target, seconds=bench.seconds, scratch=bench.scratch)
    seconds = SETTLING + bench.seconds
    calm = _send(target, rate=CALM * capacity.rate, seconds=seconds)
    flood = _send(target, rate=TIMES * capacity.rate, seconds=seconds)
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST_RECOVERY:
        now = press(target, seconds=1, scratch=bench.scratch)
        if now.rate * (1 - now.refused / max(1, now.requests)) >= FULL * capacity.rate:
            break
    return Round(capacity, calm, flood, time.monotonic() - began)


def _send(target: Target, *, rate: float, seconds: float) -> Result:
    port = urlsplit(target.url).port or 0
    order = Order(
        port=port,
        requests=[_request(target, port, one) for one in target.authorizations],
        rate=rate,
        seconds=seconds,
        connections=CONNECTIONS,
        settling=SETTLING,
    )
    done = subprocess.run(
        pinned(LOAD_CORE, [sys.executable, "-m", "bench.open_loop"]),
        cwd=Path(__file__).parents[1],
        input=order.to_json(),
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    target.child.settle()
    return Result(**json.loads(done.stdout))


def _request(target: Target, port: int, authorization: str) -> str:
    lines = [
        f"POST {urlsplit(target.url).path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: {authorization}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(target.body)}",
    ]
    return "\r\n".join([*lines, "", target.body])


def _rows(rounds: Sequence[Round], seconds: float) -> list[Row]:
    calm = [_late(one.calm.accepted) for one in rounds]
    busy = [_late(one.flood.accepted) for one in rounds]
    refused = [statistics.median(one.flood.refused) for one in rounds if one.flood.refused]
    ratio = statistics.median(mine / other for mine, other in zip(busy, calm, strict=True))
    sides = f"({statistics.median(busy):.1f} ms beside {statistics.median(calm):.1f} at a tenth of the capacity)"
    offered = statistics.median(one.flood.offered / one.capacity.rate for one in rounds)
    accepted = statistics.median(len(one.flood.accepted) / seconds / one.capacity.rate for one in rounds)
    at_first = statistics.median(_late(one.flood.accepted_at_first) for one in rounds)
    silent = sum(len(one.flood.refused) - one.flood.told_when for one in rounds)
    lost = sum(one.flood.unanswered + sum(one.flood.other.values()) for one in rounds)
    return [
        Row(name="offered / capacity", value=offered, unit="x", at_least=0.95 * TIMES),
        Row(name="p99 of the accepted / unloaded p99", value=ratio, unit="x", at_most=3, note=sides),
        Row(name="  p99 of those accepted in the first second", value=at_first, unit="ms"),
        Row(name="refused within, median", value=statistics.median(refused or [0.0]), unit="ms", at_most=50),
        Row(name="refused without Retry-After", value=silent, at_most=0),
        Row(name="neither accepted nor refused", value=lost, at_most=0),
        Row(name="accepted / capacity", value=accepted, unit="x"),
        Row(
            name=f"until {FULL:.0%} of the capacity again, longest of the rounds",
            value=max(one.recovery for one in rounds),
            unit="s",
            at_most=5,
            note="(in steps of a second)",
        ),
    ]


def _late(latencies: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(latencies, n=100, method="inclusive")[-1] if len(latencies) > 1 else 0.0


def workers(bench: Bench) -> Report:
    """Two workers beside one: each on a core of its own where there are cores for them beside the load's, else by CPU time."""
    is_free = (os.cpu_count() or 1) >= 4
    cores = f"{SERVER_CORE},{LOAD_CORE + 1}" if is_free else f"{SERVER_CORE},{LOAD_CORE}"
    report = Report(f"workers: one on core {SERVER_CORE}, two on cores {cores}, load on core {LOAD_CORE}")
    prepared = prepare(bench.scratch / "few", agents=_AGENTS)
    ours = servers.ours(prepared, connections=64)
    one, two = (replace(ours, name=name) for name in (ONE_WORKER, TWO_WORKERS))
    two = replace(two, cores=cores, env=lambda _port: {"WATCHWORD_SERVER__WORKERS": "2"})
    report.measured += _take_turns(bench, one, two)
    found, alone = report.find(TWO_WORKERS), report.find(ONE_WORKER)
    if found is not None and alone is not None:
        rate, cpu = paired(found, alone, lambda each: each.rate), paired(alone, found, lambda each: each.cpu_us)
        if is_free:
            report.add([Row(name="tokens/s, two workers / one", value=rate, unit="x", at_least=1.7)])
        else:
            note = "(two share their second core with the load: no measure of two cores)"
            report.add([Row(name="tokens/s, two workers / one", value=rate, unit="x", note=note)])
        note = "(a bound: what two cores of their own give if nothing but the processor counts)"
        report.add([Row(name="2 x CPU per token of one / of two", value=2 * cpu, unit="x", note=note)])
    return report


def _take_turns(bench: Bench, one: Server, two: Server) -> list[Measured]:
    with running(bench, one) as first, running(bench, two) as second:
        return take_turns([first, second], rounds=bench.rounds, seconds=bench.seconds, scratch=bench.scratch)

"""Tokens while the key that signs them changes every second, beside tokens of one key."""

from __future__ import annotations

import asyncio
from typing import Final

from bench import servers
from bench.figures import Report, Row, paired
from bench.load import take_turns
from bench.servers import Bench, running
from bench.stores import Prepared, prepare
from watchword.adapters.sqlite import SqliteStore
from watchword.stores import STORE_FILE

AGENTS: Final = 10


def rotation(bench: Bench) -> Report:
    """Issuance while keys rotate far more often than anybody's do: a key a second, where 30 days are usual."""
    report = Report(f"rotation: ES256, 32 connections, {AGENTS} agents, another key every second")
    still = prepare(bench.scratch / "few", agents=AGENTS)
    moving = prepare(bench.scratch / "rotating", agents=AGENTS)
    chosen = (servers.ours(still), servers.ours_altered(moving, "rotating", servers.ROTATING))
    with running(bench, chosen[0]) as one, running(bench, chosen[1]) as other:
        report.measured += take_turns([one, other], rounds=bench.rounds, seconds=bench.seconds, scratch=bench.scratch)
    mine, normal = report.find(servers.ROTATING), report.find(servers.OURS)
    if mine is not None and normal is not None:
        ratio = paired(mine, normal, lambda each: each.rate)
        report.add([Row(name="while keys rotate / with one key, rate", value=ratio, unit="x", at_least=0.9)])
        cpu = paired(mine, normal, lambda each: each.cpu_us)
        report.add([Row(name="  the same, CPU per token", value=cpu, unit="x")])
        report.add([Row(name="failures while keys rotate", value=mine.failures, at_most=0)])
    signed = asyncio.run(_count_signed(moving))
    report.add([Row(name="keys that have signed", value=signed, at_least=bench.rounds * bench.seconds / 2)])
    return report


async def _count_signed(prepared: Prepared) -> int:
    store = SqliteStore.open(prepared.data / STORE_FILE)
    try:
        return sum(key.activated_at is not None for key in await store.signing_keys())
    finally:
        await store.close()

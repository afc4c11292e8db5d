"""The revocation feed of real servers: nothing is missed, whatever becomes of the node that is read from."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest

from tests import rule
from tests.processes import RunningServer
from tests.whole.following import SECONDS, Follower
from tests.whole.server_process import PROGRAM, Serving
from tests.whole.test_nodes import Nodes, signalled
from watchword.config import load_settings
from watchword.ports.audit import AuditEvent, Outcome
from watchword.protocol.revocation import RevocationKind
from watchword.server.revocations import revoke
from watchword.stores import open_store
from watchword.testing.process import AgentSecret

PROMISED = 2.0
"""Seconds from the acknowledgement of a revocation to the last verifier on the feed: ``T_kill``."""


@pytest.fixture
def nodes(place: str, tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack, place, program=PROGRAM)


def command_of(nodes: Nodes) -> RunningServer:
    return RunningServer(issuer=nodes.issuer, data=nodes.data, home=nodes.folder, program=PROGRAM)


def add_api(nodes: Nodes) -> AgentSecret:
    made = command_of(nodes).watchword("agent", "create", "api", "--serves", "*")
    return AgentSecret(str(made["client_id"]), str(made["client_secret"]))


def follower(nodes: Nodes, node: Serving, api: AgentSecret) -> Follower:
    return Follower(nodes.issuer, lambda: HTTPConnection(*node.address, timeout=SECONDS), api)


async def _revoke(data: Path, targets: Sequence[str], pause: float) -> dict[str, float]:
    store = await open_store(load_settings({"data": data}).settings)
    acknowledged: dict[str, float] = {}
    try:
        for target in targets:
            now = datetime.now(UTC)
            event = AuditEvent(
                id=secrets.token_hex(8),
                time=now,
                action="test.kill",
                outcome=Outcome.SUCCESS,
                reason="killed",
                actor="local:test",
            )
            await store.commit(event, [revoke(RevocationKind.AGENT, target, cutoff=now, now=now)])
            acknowledged[target] = time.monotonic()
            await asyncio.sleep(pause)
    finally:
        await store.close()
    return acknowledged


def kill(nodes: Nodes, prefix: str, number: int = 20, pause: float = 0.02) -> dict[str, float]:
    """Revoke so many agents, one after the other, from another process; return when each was acknowledged."""
    return asyncio.run(_revoke(nodes.data, [f"{prefix}-{place}" for place in range(number)], pause))


@rule("FI-11", "R7")
def test_no_event_is_missed_whatever_becomes_of_the_node(nodes: Nodes) -> None:
    nodes.start("first")
    second = nodes.start("second", "--workers", "2")
    api = add_api(nodes)
    where = second.address
    with follower(nodes, second, api) as following:
        calm = kill(nodes, "calm")
        following.await_all([*calm])
        assert max(following.seen[one] - calm[one] for one in calm) < PROMISED
        signalled(second, signal.SIGKILL)
        second.process.wait(SECONDS)
        away = kill(nodes, "away")
        again = nodes.start("again", at=where)
        after = kill(nodes, "after")
        following.await_all([*away, *after])
        assert again.process.poll() is None
        assert (following.connections, following.snapshots) == (2, 1)


def test_a_node_that_stops_sends_its_readers_away_and_does_not_wait_for_them(nodes: Nodes) -> None:
    first = nodes.start("first")
    api = add_api(nodes)
    with follower(nodes, first, api) as following:
        assert first.metric("watchword_feed_readers") == 1
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < 10
    assert following.connections == 1


@pytest.mark.places("sqlite", why="of time, not of the store")
def test_a_sign_of_life_comes_each_second_and_a_suspended_api_is_cut_off(nodes: Nodes) -> None:
    first = nodes.start("first")
    api = add_api(nodes)
    with follower(nodes, first, api) as following:
        deadline = time.monotonic() + SECONDS
        while len(following.beats) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        steps = [later - earlier for earlier, later in pairwise(following.beats)]
        assert max(steps) < 2.5, steps
        command_of(nodes).watchword("agent", "suspend", api.client_id)
        while not following.wrong:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "invalid_token" in following.wrong.pop()

"""Keys that rotate under steady issuance and verification, on two nodes: nobody notices."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, Agent, RunningServer, create_agent, environment, run
from tests.whole.rotating import Tally, admin_api, traffic_at
from tests.whole.server_process import PROGRAM, until
from tests.whole.swift_node import SWIFT
from tests.whole.test_nodes import Nodes, signalled
from watchword.protocol import kept_keys
from watchword.protocol.jose import parse_compact

NODE = str(Path(__file__).with_name("swift_node.py"))
ROTATIONS = int(os.environ.get("WATCHWORD_TEST_ROTATIONS", "3"))
CHANGES = int(os.environ.get("WATCHWORD_TEST_ALGORITHM_CHANGES", "2"))
RATE = float(os.environ.get("WATCHWORD_TEST_VERIFICATIONS", "400"))
"""Verifications per second."""
SECONDS_EACH = 15
"""How long one rotation may take, at the very most, on a machine with much to do."""
ALGORITHMS = ("Ed25519", "PS256", "ES384", "RS256", "ES256")


@pytest.fixture
def swift(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setattr(kept_keys, "MIN_FRESHNESS", SWIFT.max_age)
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack, place, program=(sys.executable, NODE, str(tmp_path)))


@pytest.fixture
def told(place: str, capsys: pytest.CaptureFixture[str]) -> Callable[[Tally], None]:
    """Tell what came of it, where somebody has asked for more than the share of the suite."""

    def tell(tally: Tally) -> None:
        if "WATCHWORD_TEST_VERIFICATIONS" in os.environ:
            with capsys.disabled():
                sys.stdout.write(f"\n{place}: {tally}\n")

    return tell


def events(nodes: Nodes, action: str) -> list[dict[str, str]]:
    command = [*PROGRAM, "--data", str(nodes.data), "-o", "json", "audit", "tail", "-n", "500", "--action", action]
    found: list[dict[str, str]] = json.loads(run(command, env=environment(nodes.folder), cwd=nodes.folder))
    return found


class Ground:
    """Two nodes on one store, of which one has two workers, a resource, and an agent."""

    def __init__(self, nodes: Nodes) -> None:
        first = nodes.start("first", "--workers", "2")
        server = RunningServer(issuer=nodes.issuer, data=nodes.data, home=nodes.folder, program=PROGRAM)
        server.watchword("resource", "create", "my-api", "--scope", "read:data", "--lifetime", "1")
        self.agent = create_agent(server, "reader", "--scope", "read:data")
        self.nodes = [first, nodes.start("second")]
        self.issuer = nodes.issuer


def nobody_noticed(tally: Tally) -> None:
    assert tally.wrong == Counter()
    assert tally.rate > 0.8 * RATE
    verifiers = [each for one in tally.traffic for each in (one.remembering, one.forgetful)]
    assert [one._keys._kept.asked_at for one in verifiers] == [None] * 4, "no key came as a surprise"


@rule("K1", "K6", "K7", "N4", "TRAP-22")
def test_rotations_under_load_fail_nobody(swift: Nodes, told: Callable[[Tally], None]) -> None:
    ground = Ground(swift)
    with traffic_at(ground.nodes, ground.agent, ground.issuer, rate=RATE) as tally:
        deadline = time.monotonic() + ROTATIONS * SECONDS_EACH
        while any(one.changes < ROTATIONS for one in tally().traffic):
            assert time.monotonic() < deadline, [len(one.kids) for one in tally().traffic]
            assert tally().wrong == Counter()
            time.sleep(0.1)
        done = tally()
    told(done)
    nobody_noticed(done)
    first, second = (one.kids for one in done.traffic)
    shorter = min(len(first), len(second))
    assert first[:shorter] == second[:shorter], "both nodes have signed with the same keys in turn"
    assert all(len(set(one.kids)) == len(one.kids) for one in done.traffic), "no key signs again"
    published = [event["kid"] for event in events(swift, "key.publish")]
    assert len(set(published)) == len(published), "each key was published once"
    assert {event["actor"].partition(":")[0] for event in events(swift, "key.rotate")} == {"node"}


@rule("K1", "K11", "TRAP-22")
def test_another_algorithm_under_load_fails_nobody(swift: Nodes, told: Callable[[Tally], None]) -> None:
    """Each is published, taken into use when every verifier can have it, and withdrawn when the next one is there."""
    ground, used = Ground(swift), ["ES256"]
    with (
        admin_api(swift) as http,
        traffic_at(ground.nodes, ground.agent, ground.issuer, rate=RATE) as tally,
    ):
        operator = Operator(http)
        for algorithm in itertools.islice(itertools.cycle(ALGORITHMS), CHANGES):
            operator.change(used[-1], algorithm)
            used.append(algorithm)
            until(lambda: all(one.kids[-1][1] == used[-1] for one in tally().traffic), f"a token of {used[-1]}")
            assert tally().wrong == Counter()
        done = tally()
    told(done)
    nobody_noticed(done)
    for one in done.traffic:
        assert [name for name, _ in itertools.groupby(algorithm for _, algorithm in one.kids)] == used


@rule("K7", "W5")
@pytest.mark.places("sqlite", "postgres", why="a cache knows no keys")
def test_a_node_that_slept_through_rotations_signs_with_none_of_the_keys_that_it_knew(swift: Nodes) -> None:
    ground = Ground(swift)
    awake, asleep = ("http://{}:{}".format(*node.address) for node in ground.nodes)
    with httpx2.Client(verify=PLAIN, timeout=60) as http, ThreadPoolExecutor() as pool:
        old = kid_of(ask(http, asleep, ground.agent))
        assert old in published(http, awake)
        signalled(ground.nodes[1], signal.SIGSTOP)
        try:
            until(lambda: old not in published(http, awake), "retired")
            waiting = pool.submit(httpx2.get, f"{asleep}/.well-known/jwks.json", verify=PLAIN, timeout=60)
            first = pool.submit(ask, http, asleep, ground.agent)
            time.sleep(0.3)
        finally:
            signalled(ground.nodes[1], signal.SIGCONT)
        answers = [first.result(), *(ask(http, asleep, ground.agent) for _ in range(20))]
        until(lambda: ask(http, asleep, ground.agent).status_code == 200, "awake")
        known = published(http, awake)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert {kid_of(answer) for answer in answers if answer.status_code == 200} <= known
    shown = waiting.result()
    assert shown.status_code == 503 or old not in {key["kid"] for key in shown.json()["keys"]}


def ask(http: httpx2.Client, place: str, agent: Agent) -> httpx2.Response:
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    return http.post(f"{place}/oauth/token", data=form, auth=(agent.client_id, agent.client_secret))


def kid_of(answer: httpx2.Response) -> str:
    return str(parse_compact(answer.json()["access_token"], typ="at+jwt").header["kid"])


def published(http: httpx2.Client, place: str) -> set[str]:
    return {key["kid"] for key in http.get(f"{place}/.well-known/jwks.json").json()["keys"]}


class Operator:
    """Steers the running servers, over the admin API of the first."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def keys(self) -> dict[tuple[str, str], str]:
        """The kids by algorithm and state."""
        found = self._http.get("/keys").raise_for_status().json()["items"]
        return {(key["algorithm"], key["state"]): key["kid"] for key in found}

    def change(self, before: str, algorithm: str) -> None:
        """Do what the documentation says."""
        known = self.keys()
        if (algorithm, "active") not in known and (algorithm, "published") not in known:
            self._http.post("/keys/publish", json={"algorithm": algorithm}).raise_for_status()
        deadline = time.monotonic() + SECONDS_EACH
        while (answer := self._update(algorithm)).status_code != 200:
            assert answer.json()["reason"] == "key.too_early"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        if before != "ES256":  # the server's own, which it keeps
            until(lambda: self._withdraw(before), f"{before} withdrawn")

    def _withdraw(self, algorithm: str) -> bool:
        """The schedule may have put another key in its place a moment ago."""
        answer = self._http.post(f"/keys/{self.keys()[algorithm, 'active']}/retire")
        assert answer.status_code == 200 or answer.json()["reason"] in {"key.too_early", "signing_key.version"}
        return answer.status_code == 200

    def _update(self, algorithm: str) -> httpx2.Response:
        return self._http.patch("/resources/my-api", json={"signing_algorithm": algorithm})

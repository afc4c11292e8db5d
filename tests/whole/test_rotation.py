"""Keys that rotate under steady issuance and verification, on two nodes: nobody notices."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, Agent, RunningServer, create_agent, environment, run
from tests.whole.server_process import PROGRAM, Serving
from tests.whole.test_nodes import Nodes
from watchword.errors import WatchwordError
from watchword.protocol import kept_keys
from watchword.protocol.jose import parse_compact
from watchword.resource import Verifier

SWIFT = str(Path(__file__).with_name("swift_node.py"))
ROTATIONS = int(os.environ.get("WATCHWORD_TEST_ROTATIONS", "8"))
SECONDS_EACH = 15
"""How long one rotation may take, at the very most, on a machine with much to do."""


class Traffic:
    """A client of one node and an API behind it: each token is used when it comes, and once more before it ends."""

    def __init__(self, node: Serving, agent: Agent, issuer: str) -> None:
        host, port = node.address
        self.place = f"http://{host}:{port}"
        self.verifier = Verifier(issuer=issuer, audience="my-api", jwks_uri=f"{self.place}/.well-known/jwks.json")
        self._agent = agent
        self.kids: list[str] = []
        self.wrong: Counter[str] = Counter()
        self.verified = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        held: list[tuple[float, str]] = []
        form = {"grant_type": "client_credentials", "scope": "read:data"}
        with httpx2.Client(verify=PLAIN, auth=(self._agent.client_id, self._agent.client_secret)) as http:
            while not self._stop.is_set():
                answer = http.post(f"{self.place}/oauth/token", data=form)
                if answer.status_code != 200:
                    self.wrong[f"{answer.status_code} {answer.text}"] += 1
                    continue
                token = answer.json()["access_token"]
                kid = str(parse_compact(token, typ="at+jwt").header["kid"])
                if kid not in self.kids:
                    self.kids.append(kid)
                self._verify(token)
                held.append((time.monotonic(), token))
                while held and time.monotonic() - held[0][0] > 0.6:
                    self._verify(held.pop(0)[1])
                time.sleep(0.02)

    def _verify(self, token: str) -> None:
        try:
            self.verifier.verify_token_sync(token, "read:data")
            self.verified += 1
        except WatchwordError as error:
            self.wrong[error.reason] += 1


@pytest.fixture
def swift(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setattr(kept_keys, "MIN_FRESHNESS", timedelta(seconds=1))
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack, place, program=(sys.executable, SWIFT, str(tmp_path)))


def events(nodes: Nodes, action: str) -> list[dict[str, str]]:
    command = [*PROGRAM, "--data", str(nodes.data), "-o", "json", "audit", "tail", "-n", "500", "--action", action]
    found: list[dict[str, str]] = json.loads(run(command, env=environment(nodes.folder), cwd=nodes.folder))
    return found


@rule("K1", "K6", "K7", "N4", "TRAP-22")
def test_rotations_under_load_fail_nobody(swift: Nodes) -> None:
    first = swift.start("first", "--workers", "2")
    server = RunningServer(issuer=swift.issuer, data=swift.data, home=swift.folder, program=PROGRAM)
    server.watchword("resource", "create", "my-api", "--scope", "read:data", "--lifetime", "1")
    agent = create_agent(server, "reader", "--scope", "read:data")
    second = swift.start("second")
    with ExitStack() as stack:
        traffic = [stack.enter_context(Traffic(node, agent, swift.issuer)) for node in (first, second)]
        deadline = time.monotonic() + ROTATIONS * SECONDS_EACH
        while any(len(one.kids) <= ROTATIONS for one in traffic):
            assert time.monotonic() < deadline, [len(one.kids) for one in traffic]
            assert all(not one.wrong for one in traffic), [one.wrong for one in traffic]
            time.sleep(0.1)
    assert [one.wrong for one in traffic] == [Counter(), Counter()]
    assert all(one.verified > 20 * ROTATIONS for one in traffic)
    shorter = min(len(one.kids) for one in traffic)
    assert traffic[0].kids[:shorter] == traffic[1].kids[:shorter], "both nodes have signed with the same keys in turn"
    assert [one.verifier._keys._kept.asked_at for one in traffic] == [None, None], "no key came as a surprise"
    published = [event["kid"] for event in events(swift, "key.publish")]
    assert len(set(published)) == len(published), "each key was published once"
    assert {event["actor"].partition(":")[0] for event in events(swift, "key.rotate")} == {"node"}

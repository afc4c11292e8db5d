"""A key that is given up while both nodes serve: how long after the acknowledgement anybody still meets it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN, Agent, RunningServer, create_agent
from tests.whole.rotating import admin_api
from tests.whole.server_process import PROGRAM, Serving, until
from tests.whole.test_nodes import Nodes
from watchword.protocol.jose import parse_compact

PROMISED = 0.1
"""Seconds after the acknowledgement in which nothing of the key is left, at any node."""
AT_WORST = 1.5
"""The same where a notice was missed, or the machine has other things to do."""
ATTEMPTS = 3


class Watch:
    """Asks one node again and again, on a new connection each time, so that each of its workers has its turn."""

    def __init__(self, ask: Callable[[httpx2.Client], set[str]]) -> None:
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go)
        self.seen: list[tuple[float, set[str]]] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            with httpx2.Client(verify=PLAIN, timeout=10) as http:
                kids = self._ask(http)
            self.seen.append((began, kids))
            time.sleep(0.005)

    def last_seen(self, kid: str) -> float:
        """When the last request began that was answered with this key."""
        return max(began for began, kids in self.seen if kid in kids)


def key_set_at(place: str) -> Callable[[httpx2.Client], set[str]]:
    return lambda http: {key["kid"] for key in http.get(f"{place}/.well-known/jwks.json").json()["keys"]}


def token_at(place: str, agent: Agent) -> Callable[[httpx2.Client], set[str]]:
    form = {"grant_type": "client_credentials", "scope": "read:data"}

    def ask(http: httpx2.Client) -> set[str]:
        auth = (agent.client_id, agent.client_secret)
        token = http.post(f"{place}/oauth/token", data=form, auth=auth).raise_for_status().json()["access_token"]
        return {str(parse_compact(token, typ="at+jwt").header["kid"])}

    return ask


@pytest.fixture
def nodes(place: str, tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack, place, program=PROGRAM)


@rule("K2")
@pytest.mark.places("sqlite", "postgres", why="a cache knows no keys")
def test_a_key_that_is_given_up_is_gone_from_every_node_at_once(nodes: Nodes) -> None:
    started = [nodes.start("first", "--workers", "2")]
    server = RunningServer(issuer=nodes.issuer, data=nodes.data, home=nodes.folder, program=PROGRAM)
    server.watchword("resource", "create", "my-api", "--scope", "read:data")
    agent = create_agent(server, "reader", "--scope", "read:data")
    started.append(nodes.start("second"))
    late: list[float] = []
    with admin_api(nodes) as operator:
        while len(late) < ATTEMPTS and min(late, default=AT_WORST) > PROMISED:
            late.append(give_up(operator, started, agent))
    until(lambda: started[0].metric("watchword_signing_keys", state="compromised") == len(late), "told in the metrics")
    assert started[0].metric("watchword_signing_keys", state="active") == 1, "once, for all workers"
    assert max(late) < AT_WORST, late
    assert min(late) < PROMISED, late


def give_up(operator: httpx2.Client, nodes: list[Serving], agent: Agent) -> float:
    """Give up the key that signs; return how long after the acknowledgement it was met for the last time, or so long before."""
    (kid,) = (one["kid"] for one in operator.get("/keys").json()["items"] if one["state"] == "active")
    places = ["http://{}:{}".format(*node.address) for node in nodes]
    asked = [ask for place in places for ask in (key_set_at(place), token_at(place, agent))]
    with ExitStack() as stack:
        watches = [stack.enter_context(Watch(ask)) for ask in asked]
        until(lambda: all(len(one.seen) > 5 for one in watches), "an answer of each")
        done = operator.post(f"/keys/{kid}/compromise", json={"reason": "a drill"})
        acknowledged = time.monotonic()
        new = done.raise_for_status().json()["replacement"]["kid"]
        time.sleep(AT_WORST)
    assert all(one.seen[-1][1] == {new} for one in watches)
    return max(one.last_seen(kid) for one in watches) - acknowledged

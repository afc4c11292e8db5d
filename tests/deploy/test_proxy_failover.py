"""Nodes on one database that die, nodes that are restarted and proxies that are reloaded, each under load through the proxy.

Only what a killed node was working on can fail: the answer is cut short, or 503 with Retry-After; no POST is sent twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from tests import rule
from tests.deploy.conftest import PROXIES, Cluster, cluster_of
from tests.deploy.proxies import Front, front
from tests.postgres import new_database
from tests.whole.server_process import until

CLIENTS = 3
SECONDS = 40


@pytest.fixture(params=PROXIES)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Front, Cluster]]:
    with (
        cluster_of(tmp_path / "cluster", new_database()) as cluster,
        front(str(request.param), cluster.port, cluster.addresses, tmp_path / str(request.param)) as proxy,
    ):
        yield proxy, cluster


class Load:
    """Clients that ask for tokens and for the keys until the block ends, each request on a connection of its own."""

    def __init__(self, proxy: Front, cluster: Cluster) -> None:
        self._proxy, self._cluster = proxy, cluster
        self.got: Counter[int] = Counter()
        self.tokens: Counter[int] = Counter()
        self.broken: list[str] = []
        self.bare: list[object] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self.got[self._proxy.ask("GET", "/.well-known/jwks.json").status] += 1
                answer = self._proxy.token(self._cluster.reader)
            except (OSError, HTTPException) as error:
                self.broken.append(repr(error))
                continue
            self.tokens[answer.status] += 1
            if answer.status != 200 and "retry-after" not in answer.headers:
                self.bare.append(answer)

    def goes_on(self, count: int = 20) -> None:
        """Return after so many more tokens."""
        wanted = self.tokens[200] + count
        until(lambda: self.tokens[200] >= wanted or not any(thread.is_alive() for thread in self._threads))


def kill(cluster: Cluster, number: int) -> None:
    """Kill a node with all its workers, at once."""
    node = cluster.nodes[number]
    pids = [node.process.pid, *node.workers()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.process.wait()


@rule("O12")
def test_a_node_that_is_killed_costs_no_other_request_and_gives_no_token_twice(running: tuple[Front, Cluster]) -> None:
    proxy, cluster = running
    address = cluster.nodes[0].address
    with Load(proxy, cluster) as load:
        kill(cluster, 1)
        load.goes_on()
        time.sleep(3)  # the proxy tries the dead one again
        load.goes_on()
    assert load.bare == []
    assert set(load.got) == {200}
    assert set(load.tokens) <= {200, 503}
    lost = load.tokens[503] + len(load.broken)
    assert lost <= CLIENTS  # what the dead one was working on
    assert load.tokens[200] <= issued(cluster) <= load.tokens[200] + lost

    kill(cluster, 0)
    answer = proxy.token(cluster.reader)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert b'"temporarily_unavailable"' in answer.body
    with cluster.again(0, address):
        until(lambda: proxy.token(cluster.reader).status == 200)


@rule("O10", "O11")
def test_reloads_and_restarts_of_both_cost_nothing(running: tuple[Front, Cluster]) -> None:
    proxy, cluster = running
    with contextlib.ExitStack() as again, Load(proxy, cluster) as load:
        for _ in range(3):
            proxy.reload()
            for node in cluster.nodes:
                node.process.send_signal(signal.SIGHUP)
            load.goes_on()
        for number, node in enumerate(cluster.nodes):
            address = node.address
            assert node.stop() == 0
            load.goes_on()
            back = again.enter_context(cluster.again(number, address))
            until(lambda: back.metric("watchword_token_requests_total") > 0, "the proxy has found it again")  # noqa: B023
    assert load.broken == load.bare == [], proxy.oddities()
    assert (set(load.got), set(load.tokens)) == ({200}, {200}), proxy.oddities()


def issued(cluster: Cluster) -> int:
    """How many tokens the audit tells of."""
    return cluster.export().count('"action":"token.issue"')

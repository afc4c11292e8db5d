"""Requests that can be read in two ways, sent through a proxy: no node ever answers one that the proxy did not know of.

Between the proxy and its node a tap counts the answers of the node; the proxy's access log tells how many requests it has passed
on. A victim, whose requests share the proxy's connections to the node, gets its own answers throughout.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests import rule
from tests.deploy.conftest import PROXIES, Cluster
from tests.deploy.proxies import Front, front
from tests.whole.server_process import until
from tests.whole.test_smuggling import CORPUS
from watchword.testing.tcp_proxy import FaultProxy, Way

SMUGGLED = b"GET /.well-known/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS = 5


@dataclass
class Tap:
    """What has passed between a proxy and its node."""

    octets: dict[tuple[int, Way], bytearray] = field(default_factory=dict)

    def __call__(self, number: int, way: Way, octets: bytes) -> None:
        self.octets.setdefault((number, way), bytearray()).extend(octets)

    def answers(self) -> int:
        """How many answers the node has given to requests of clients."""
        given = [bytes(octets) for (_, way), octets in list(self.octets.items()) if way is Way.ANSWER]
        return sum(octets.count(b"HTTP/1.1 ") for octets in given)

    def checks(self) -> int:
        """How many requests the proxy has made of its own accord, to know whether the node is well."""
        asked = [bytes(octets) for (_, way), octets in list(self.octets.items()) if way is Way.REQUEST]
        return sum(
            octets.count(b"GET /.well-known/jwks.json") for octets in asked if b"x-forwarded-for" not in octets.lower()
        )


@dataclass(frozen=True, slots=True)
class Tapped:
    front: Front
    tap: Tap

    def counts(self) -> tuple[int, int]:
        """How many requests of clients the node has answered, and how many the proxy knows to have passed on."""
        return self.tap.answers() - self.tap.checks(), self.front.passed_on()

    def settled(self) -> tuple[int, int]:
        """The same when all of it has been counted: what a proxy logs late must not make up for what it does not know of."""
        counts = self.counts()
        while time.sleep(0.03) or (now := self.counts()) != counts:
            counts = now
        return counts

    def knows_of_all(self, before: tuple[int, int]) -> bool:
        """Whether the proxy knows of every request that the node has answered since; it writes its log a moment later."""
        deadline = time.monotonic() + SECONDS
        while True:
            answered, known = (now - then for now, then in zip(self.counts(), before, strict=True))
            if answered <= known or time.monotonic() > deadline:
                return answered <= known
            time.sleep(0.01)


@pytest.fixture(scope="module", params=PROXIES)
def tapped(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tapped]:
    folder, tap = tmp_path_factory.mktemp("front") / str(request.param), Tap()
    with (
        FaultProxy(*cluster.addresses[0], tap=tap) as road,
        front(str(request.param), cluster.port, [(road.host, road.port)], folder) as proxy,
    ):
        yield Tapped(proxy, tap)


@rule("T20", "KF-113")
@pytest.mark.parametrize("form", CORPUS)
def test_no_node_answers_what_the_proxy_did_not_pass_on(tapped: Tapped, form: str) -> None:
    victim = tapped.front.connect()
    assert tapped.front.ask("GET", "/.well-known/jwks.json", connection=victim).status == 200
    before = tapped.settled()
    received = tapped.front.exchange(CORPUS[form].replace(b"HOST", b"localhost") + SMUGGLED, patience=0.1)
    assert b"access_token" not in received
    for _ in range(3):
        answer = tapped.front.ask("GET", "/.well-known/jwks.json", connection=victim)
        assert (answer.status, list(json.loads(answer.body))) == (200, ["keys"])
    victim.close()
    assert tapped.knows_of_all(before)


@rule("KF-113")
def test_requests_sent_ahead_are_two_for_both(tapped: Tapped) -> None:
    """What the proxy knows to be two requests may be two: the counting above does see a second one."""
    before = tapped.settled()
    first = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = tapped.front.exchange(first + SMUGGLED)
    assert received.count(b"HTTP/1.1 ") == 2
    until(lambda: tapped.counts() == (before[0] + 2, before[1] + 2), "each is counted once by both")

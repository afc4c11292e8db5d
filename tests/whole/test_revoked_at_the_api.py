"""From the command to the last request that an API lets in: over the real feed, cut and restarted in between."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests import rule
from tests.whole.server_process import Serving, serving_here, until
from watchword import ClientSecretBasic, Login
from watchword.errors import InvalidToken
from watchword.resource import RevocationFeed, Verifier

PROMISED = 2.0  # seconds: the bound that is promised, where a quarter is usual


@pytest.fixture(scope="module")
def server(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving_here(tmp_path_factory.mktemp("feed")) as running:
        yield running


@pytest.fixture(scope="module")
def feed(place: str, server: Serving) -> Iterator[RevocationFeed]:
    made = server.server.watchword("agent", "create", "my-api-server", "--serves", "my-api")
    client = ClientSecretBasic(str(made["client_id"]), str(made["client_secret"]))
    # A cache that has just begun to remember proofs is not sure of any before some seconds have passed (docs/features/replay.md).
    login = Login(issuer=server.server.issuer, client=client, dpop=place != "postgres+redis")
    reading = RevocationFeed(login=login)
    yield reading
    reading.close()


@pytest.fixture(scope="module")
def verifier(server: Serving, feed: RevocationFeed) -> Verifier:
    return Verifier(issuer=server.server.issuer, audience="my-api", revocation=feed)


def token_of(server: Serving, name: str) -> str:
    said = ("--resource", "my-api", "--scope", "read:data")
    made = server.server.watchword("agent", "create", name, *said)
    return token_for(server, made)


def token_for(server: Serving, made: dict[str, object]) -> str:
    login = Login(
        issuer=server.server.issuer,
        client=ClientSecretBasic(str(made["client_id"]), str(made["client_secret"])),
        resource="my-api",
        scope="read:data",
        dpop=False,
    )
    return login.token()


def seconds_until_refused(verifier: Verifier, token: str) -> float:
    """Return how long from now on the verifier lets this in."""
    began = time.monotonic()
    while time.monotonic() < began + 5 * PROMISED:
        try:
            verifier.verify_token_sync(token)
        except InvalidToken as refusal:
            if refusal.reason != "token.revoked":
                raise
            return time.monotonic() - began
        time.sleep(0.002)
    raise AssertionError("it is let in for ever")


@rule("FI-11", "R4", "R7009-2.1-04")
def test_an_agent_that_is_suspended_is_refused_by_an_api_that_asks_nobody(server, feed, verifier, record_property):
    token, other = token_of(server, "reader"), token_of(server, "writer")
    verifier.verify_token_sync(token)
    server.server.watchword("agent", "suspend", "reader")
    seconds = seconds_until_refused(verifier, token)
    record_property("seconds", seconds)
    assert seconds < PROMISED
    assert verifier.verify_token_sync(other)
    assert feed.status().failure == ""


@rule("FI-11", "R7")
def test_nothing_is_missed_while_the_server_is_away(server, feed, verifier, place):
    token, other = token_of(server, "reader-2"), token_of(server, "writer-2")
    verifier.verify_token_sync(token)
    server.server.watchword("agent", "suspend", "reader-2")
    for pid in [*server.workers(), server.process.pid]:
        os.kill(pid, signal.SIGKILL)
    server.process.wait()
    until(lambda: feed.status().failure != "", "the cut is seen")
    listen = server.server.issuer.removeprefix("http://")
    with Serving(server.folder, ["--listen", listen]) as again:
        until(lambda: feed.status().failure == "", "it is heard again")
        assert seconds_until_refused(verifier, token) < PROMISED
        assert verifier.verify_token_sync(other)
        last = token_of(again, "reader-3")
        verifier.verify_token_sync(last)
        again.server.watchword("agent", "suspend", "reader-3")
        assert seconds_until_refused(verifier, last) < PROMISED

"""An agent that publishes its own keys, through the fetcher itself: ABUSE J22, J23, R7523-3-09."""

import json
from datetime import timedelta

import pytest
from tests import rule
from tests.endpoints.test_private_key_jwt import URI, refused, serve_with
from tests.vectors import ecdsa_key

from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.protocol.kept_keys import COOL_DOWN, MAX_FRESHNESS
from watchword.server.foreign_keys import MAX_STALE, FetchedForeignKeys
from watchword.testing.keyed_agents import KeyedAgent, add_keyed_agent, ask_with
from watchword.testing.server import InProcessServer

FIRST, SECOND = ecdsa_key(7, "ES256"), ecdsa_key(8, "ES256")


class Web:
    """What stands at the agent's address at the moment."""

    def __init__(self) -> None:
        self.keys = [dict(FIRST.public_jwk)]
        self.bad: HttpResponse | TransportError | None = None
        self.asked = 0

    def send(self, request: HttpRequest) -> HttpResponse:
        assert request.url == URI
        self.asked += 1
        if isinstance(self.bad, TransportError):
            raise self.bad
        body = json.dumps({"keys": self.keys}).encode()
        headers = {"content-type": "application/json", "cache-control": "max-age=300"}
        return self.bad or HttpResponse(status=200, headers=headers, body=body)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return self.send(request)


@pytest.fixture
def web(server: InProcessServer) -> Web:
    found = Web()
    serve_with(server, FetchedForeignKeys(found))
    return found


@pytest.fixture
def agent(server: InProcessServer) -> KeyedAgent:
    return add_keyed_agent(server, "afar", key=FIRST, details={"jwks_uri": URI})


@rule("R7523-3-09", "J23", "TRAP-14")
def test_a_new_key_is_found_by_one_fetch_and_an_old_one_ends(
    server: InProcessServer, web: Web, agent: KeyedAgent
) -> None:
    for _ in range(5):
        assert ask_with(server, agent.assertion(server)).status == 200
    assert web.asked == 1
    web.keys = [dict(SECOND.public_jwk)]
    rotated = KeyedAgent(agent.client_id, SECOND)
    assert ask_with(server, rotated.assertion(server)).status == 200
    assert web.asked == 2
    refused(server, ask_with(server, agent.assertion(server)), "assertion.key")
    for number in range(20):  # a storm of names is no storm of questions
        ask_with(server, rotated.assertion(server, kid=f"unknown-{number}"))
    assert web.asked == 2
    server.advance(COOL_DOWN.total_seconds())
    ask_with(server, rotated.assertion(server, kid="unknown"))
    assert web.asked == 3


@rule("J23")
def test_a_key_that_was_taken_away_is_refused_after_a_quarter_of_an_hour_at_most(
    server: InProcessServer, web: Web, agent: KeyedAgent
) -> None:
    assert ask_with(server, agent.assertion(server)).status == 200
    web.keys = [dict(SECOND.public_jwk)]
    server.advance(MAX_FRESHNESS.total_seconds())
    ask_with(server, agent.assertion(server))  # asks beside it
    refused(server, ask_with(server, agent.assertion(server)), "assertion.key")


@rule("J22", "R7523-3-09", "DR-10")
@pytest.mark.parametrize(
    "bad",
    [
        TransportError("http.connect", detail="refused"),
        TransportError("http.timeout", detail="slow"),
        TransportError("http.redirect", detail="elsewhere"),
        TransportError("http.too_large", detail="10 MB"),
        HttpResponse(status=500, headers={}, body=b""),
        HttpResponse(status=200, headers={"content-type": "text/html"}, body=b"<html>"),
        HttpResponse(status=200, headers={"content-type": "application/json"}, body=b"{"),
    ],
    ids=["down", "slow", "redirect", "huge", "500", "HTML", "broken"],
)
def test_what_is_known_serves_while_nothing_can_be_had_and_then_nothing_does(
    server: InProcessServer, web: Web, agent: KeyedAgent, bad: HttpResponse | TransportError
) -> None:
    assert ask_with(server, agent.assertion(server)).status == 200
    web.bad = bad
    server.advance(timedelta(minutes=30).total_seconds())
    assert ask_with(server, agent.assertion(server)).status == 200
    server.advance(MAX_STALE.total_seconds())
    assert ask_with(server, agent.assertion(server)).status == 503
    web.bad = None
    server.advance(6)
    assert ask_with(server, agent.assertion(server)).status == 200

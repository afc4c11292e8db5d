"""A verifier that looks the token up in its issuer's status list: what is revoked, what cannot be known, and what may be kept."""

import threading

import pytest

from tests import rule
from watchword.errors import BadSettings, InvalidToken, VerifierUnavailable
from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.ports.revocations import Revoke
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.resource import StatusLists, Verifier
from watchword.server.revocations import until
from watchword.server.status_lists import StatusRules
from watchword.testing.server import InProcessServer, Registered


class World:
    """A server, an API, and a way between them that can be cut or changed."""

    def __init__(self, **server: object) -> None:
        self.server = InProcessServer(**({"status_lists": StatusRules()} | server))
        self.server.add_resource()
        self.agent = self.server.add_agent()
        self.asked: list[str] = []
        self.is_cut = False
        self.answer: HttpResponse | None = None
        self.lists = StatusLists(issuer=self.server.issuer, transport=self, clock=self.server.clock)
        self.verifier = self.build(self.lists)

    def build(self, lists: StatusLists) -> Verifier:
        return Verifier(
            issuer=self.server.issuer,
            audience="my-api",
            transport=self,
            clock=self.server.clock,
            revocation=lists,
            dpop=False,
        )

    def send(self, request: HttpRequest) -> HttpResponse:
        path = request.url.removeprefix(self.server.issuer)
        if "/oauth/status" in path:
            self.asked.append(path)
            if self.is_cut:
                raise TransportError("transport.connect")
            if self.answer is not None:
                return self.answer
        answer = self.server.ask("GET", path)
        return HttpResponse(status=answer.status, headers=dict(answer.headers), body=answer.body)

    def issue(self, agent: Registered | None = None) -> str:
        return str(self.server.token(agent or self.agent).json["access_token"])

    def revoke(self, kind: RevocationKind, target: str) -> None:
        now = self.server.clock()
        made = Revocation(kind=kind, target=target, cutoff=now, created_at=now, expires_at=until(now))
        self.server.commit(Revoke(made))

    def verdict(self, token: str) -> str:
        try:
            self.verifier.verify_token_sync(token)
        except (InvalidToken, VerifierUnavailable) as error:
            return error.reason
        return "accepted"


@rule("R4", "TSL-03")
@pytest.mark.parametrize("kind", [RevocationKind.AGENT, RevocationKind.RESOURCE, RevocationKind.EVERYTHING])
def test_what_is_revoked_is_refused_once_the_list_that_is_held_is_over(kind):
    world = World()
    token, other = world.issue(), world.issue(world.server.add_agent("writer"))
    assert [world.verdict(token), world.verdict(token), world.verdict(other)] == ["accepted"] * 3
    assert world.asked == ["/oauth/status/0"]
    target = {"agent": world.agent.client_id, "resource": "my-api", "everything": ""}[kind.value]
    world.revoke(kind, target)
    world.server.advance(9.9)
    assert world.verdict(token) == "accepted"
    world.server.advance(0.1)
    assert world.verdict(token) == "token.revoked"
    assert world.verdict(other) == ("accepted" if kind is RevocationKind.AGENT else "token.revoked")
    assert world.verdict(world.issue()) == "accepted"
    assert len(world.asked) == 2


@rule("R7")
def test_without_a_new_list_the_old_one_counts_until_it_expires_and_then_nobody_is_let_in():
    world = World()
    token = world.issue()
    assert world.verdict(token) == "accepted"
    world.is_cut = True
    world.server.advance(60)
    assert world.verdict(token) == "accepted"
    world.server.advance(61)
    assert world.verdict(token) == "status.unavailable"
    world.is_cut = False
    world.server.advance(1)
    assert world.verdict(token) == "accepted"


def test_before_the_first_list_nobody_is_let_in():
    world = World()
    token = world.issue()
    world.is_cut = True
    assert [world.verdict(token) for _ in range(5)] == ["status.unavailable"] * 5
    assert len(world.asked) == 1
    world.is_cut = False
    world.server.advance(1)
    assert world.verdict(token) == "accepted"


@rule("R7", "TSL-03")
@pytest.mark.parametrize("body", [b"", b"eyJ", b"\xff", b"x" * 2_000_000])
def test_what_is_no_list_is_not_believed(body):
    world = World()
    token = world.issue()
    world.answer = HttpResponse(status=200, headers={}, body=body)
    assert world.verdict(token) == "status.unavailable"
    world.answer = HttpResponse(status=404, headers={}, body=b"")
    world.server.advance(1)
    assert world.verdict(token) == "status.unavailable"
    world.answer = None
    world.server.advance(1)
    assert world.verdict(token) == "accepted"


@rule("R7")
def test_a_list_of_before_is_not_believed_once_a_newer_one_was_there():
    world = World()
    token = world.issue()
    old = world.server.ask("GET", "/oauth/status/0")
    world.server.advance(6)
    world.revoke(RevocationKind.AGENT, world.agent.client_id)
    assert world.verdict(token) == "token.revoked"
    world.answer = HttpResponse(status=200, headers={}, body=old.body)
    world.server.advance(11)
    assert world.verdict(token) == "token.revoked"
    fresh = World()
    fresh.server.advance(30)
    assert fresh.verdict(fresh.issue()) == "accepted"


@rule("TSL-03")
def test_the_list_of_another_number_is_not_this_one():
    world = World()
    token = world.issue()
    for _ in range(257):
        world.server.run(world.server.store.take_status_block())
    other = world.server.ask("GET", "/oauth/status/1")
    world.answer = HttpResponse(status=200, headers={}, body=other.body)
    assert world.verdict(token) == "status.unavailable"


def test_a_token_without_a_place_is_refused_unless_that_is_allowed():
    world = World(status_lists=None)
    token = world.issue()
    assert world.verdict(token) == "token.status"
    lenient = StatusLists(issuer=world.server.issuer, demands_status=False, transport=world, clock=world.server.clock)
    world.verifier = world.build(lenient)
    assert world.verdict(token) == "accepted"
    assert world.asked == []


def test_of_many_at_once_one_asks():
    world = World()
    token = world.issue()
    world.verifier.verify_token_sync(token)
    world.server.advance(11)
    threads = [threading.Thread(target=world.verdict, args=(token,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.asked) == 2


def test_lists_of_another_issuer_are_no_help():
    world = World()
    lists = StatusLists(issuer="https://other.example", transport=world, clock=world.server.clock)
    with pytest.raises(BadSettings) as refused:
        world.build(lists)
    assert refused.value.reason == "verifier.revocation"

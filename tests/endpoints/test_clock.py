"""Clocks that are wrong and clocks that jump: what time decides follows the time of the request, both ways; nothing breaks."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests import rule

from watchword.errors import InvalidToken, VerifierUnavailable
from watchword.ports.agents import AgentState, Conditions
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.ports.ratelimit import Rate
from watchword.resource import Verifier
from watchword.server.audit_chain import verify_chain
from watchword.server.limits import Limits
from watchword.testing.clock import FrozenClock
from watchword.testing.server import Answer, InProcessServer, Registered

NOON = FrozenClock()()
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MANY_CLOCKS = [
    pytest.param(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), id="1970"),
    pytest.param(datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), id="a leap second"),
    pytest.param(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), id="summer time begins"),
    pytest.param(datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), id="2038"),
    pytest.param(datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC), id="2106"),
    pytest.param(datetime(9998, 12, 31, 22, 0, tzinfo=UTC), id="9998"),
]


class Transport:
    """The resource's way to the server in process."""

    def __init__(self, server: InProcessServer) -> None:
        self._server = server

    def send(self, request: HttpRequest) -> HttpResponse:
        answer = self._server.ask("GET", request.url.removeprefix(self._server.issuer))
        return HttpResponse(status=answer.status, headers=dict(answer.headers), body=answer.body)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return await asyncio.to_thread(self.send, request)


def verifier(server: InProcessServer, clock: Callable[[], datetime]) -> Verifier:
    return Verifier(issuer=server.issuer, audience="my-api", transport=Transport(server), clock=clock)


def verdict(verifier: Verifier, token: str) -> str:
    """What the resource says; while it has no keys (a fetch of before the jump is in the air) it is asked again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            verifier.verify_token_sync(token)
        except InvalidToken as refusal:
            return refusal.reason
        except VerifierUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        else:
            return "accepted"


def token_of(server: InProcessServer, agent: Registered) -> str:
    answer = ask(server, agent)
    assert answer.status == 200
    return str(answer.json["access_token"])


def jump(server: InProcessServer, to: datetime) -> None:
    server.clock.advance(to - server.clock())


def ask(server: InProcessServer, agent: Registered) -> Answer:
    """Ask for a token. Limits that were counted in a later time drain before anything else is decided."""
    while (answer := server.token(agent)).status == 429:
        server.advance(0.001)
    return answer


@pytest.fixture
def server() -> InProcessServer:
    quick = Rate(1_000_000, timedelta(seconds=1))
    server = InProcessServer(limits=Limits(login_failures=quick, peer_failures=quick, peer=quick, agent=quick))
    server.add_resource()
    return server


@pytest.fixture
def reader(server: InProcessServer) -> Registered:
    return server.add_agent("reader")


@rule("W1")
@pytest.mark.parametrize("apart", [-10, -1, 0, 1, 10])
def test_clocks_ten_seconds_apart_do_no_harm(server: InProcessServer, reader: Registered, apart: int) -> None:
    token = token_of(server, reader)
    resource = verifier(server, FrozenClock(NOON + timedelta(seconds=apart)))
    assert [verdict(resource, token) for _ in range(2)] == ["accepted", "accepted"]


@rule("W2")
@pytest.mark.parametrize(
    ("apart", "says"),
    [
        (-HOUR, "token.not_yet_valid"),
        (-timedelta(seconds=61), "token.not_yet_valid"),
        (timedelta(seconds=61), "accepted"),
        (timedelta(seconds=629), "accepted"),
        (timedelta(seconds=661), "token.expired"),
        (HOUR, "token.expired"),
        (-timedelta(days=56 * 365), "token.not_yet_valid"),
        (timedelta(days=12 * 365), "token.expired"),
        (timedelta(days=80 * 365), "token.expired"),
    ],
)
def test_a_resource_whose_clock_is_wrong_refuses_what_it_cannot_be_sure_of(
    server: InProcessServer, reader: Registered, apart: timedelta, says: str
) -> None:
    token = token_of(server, reader)
    assert verdict(verifier(server, FrozenClock(NOON + apart)), token) == says


@rule("W2", "U8")
@pytest.mark.parametrize("now", MANY_CLOCKS)
def test_a_server_at_any_time_issues_what_is_good_at_that_time_and_no_other(
    server: InProcessServer, reader: Registered, now: datetime
) -> None:
    jump(server, now)
    token = token_of(server, reader)
    assert verdict(verifier(server, FrozenClock(now + MINUTE)), token) == "accepted"
    assert verdict(verifier(server, FrozenClock(now + HOUR)), token) == "token.expired"
    assert verdict(verifier(server, FrozenClock(NOON)), token) in ("token.expired", "token.not_yet_valid")
    assert server.ask("GET", "/.well-known/jwks.json").status == 200


@rule("W2")
def test_a_server_at_the_end_of_all_time_refuses_and_breaks_nothing(
    server: InProcessServer, reader: Registered
) -> None:
    jump(server, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    answer = ask(server, reader)
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    jump(server, NOON)
    assert ask(server, reader).status == 200


@rule("W3", "C10")
def test_a_credential_is_good_in_its_time_whichever_way_the_clock_has_gone(server: InProcessServer) -> None:
    agent = server.add_agent("agent")
    window = server.add_secret(agent.client_id, not_before=NOON + MINUTE, expires_at=NOON + HOUR)
    journey = [0, 59, 60, 61, 3599, 3600, 3601, 59, 60, 3600, 7200, -86400, 60, 3599, 10**9, 60, 0]
    for second in journey:
        jump(server, NOON + timedelta(seconds=second))
        expected = 200 if 60 <= second < 3600 else 401
        assert ask(server, window).status == expected, second
        assert ask(server, agent).status == 200


@rule("W3", "C9")
def test_an_agent_that_has_expired_stays_so_for_as_long_as_the_clock_says_so(server: InProcessServer) -> None:
    agent = server.add_agent("agent", expires_at=NOON + MINUTE)
    for second, expected in [
        (0, 200),
        (59, 200),
        (60, 401),
        (3600, 401),
        (60, 401),
        (10**8, 401),
        (59, 200),
        (60, 401),
    ]:
        jump(server, NOON + timedelta(seconds=second))
        assert ask(server, agent).status == expected, second


@rule("W3", "DR-8")
def test_no_clock_brings_back_what_was_revoked_or_suspended(server: InProcessServer, reader: Registered) -> None:
    spare = server.add_secret(reader.client_id)
    server.revoke_secret(reader)
    for second in (0, -1, -86400, 86400, 0):
        jump(server, NOON + timedelta(seconds=second))
        assert ask(server, reader).status == 401
        assert ask(server, spare).status == 200
    server.set_state(reader.client_id, AgentState.SUSPENDED)
    for second in (0, -86400, 86400):
        jump(server, NOON + timedelta(seconds=second))
        assert ask(server, spare).status == 401


@rule("W3")
def test_a_token_never_lives_longer_than_its_permission_whichever_way_the_clock_jumps(server: InProcessServer) -> None:
    agent = server.add_agent("agent", conditions=Conditions(not_after=NOON + timedelta(seconds=100)))
    for second, lifetime in [(0, 100), (40, 60), (-3600, 600), (99, 1), (10, 90)]:
        jump(server, NOON + timedelta(seconds=second))
        assert lifetime - 1 <= ask(server, agent).json["expires_in"] <= lifetime
    jump(server, NOON + timedelta(seconds=100))
    assert ask(server, agent).status == 400


@rule("W3")
def test_a_resource_whose_clock_steps_back_accepts_nothing_that_was_made_after_that_time(
    server: InProcessServer, reader: Registered
) -> None:
    clock = FrozenClock(NOON)
    resource = verifier(server, clock)
    token = token_of(server, reader)
    assert verdict(resource, token) == "accepted"
    clock.advance(-HOUR)
    assert verdict(resource, token) == "token.not_yet_valid"
    clock.advance(HOUR)
    assert verdict(resource, token) == "accepted"
    clock.advance(HOUR)
    assert verdict(resource, token) == "token.expired"


@rule("W3", "U8")
def test_the_trail_keeps_its_order_when_the_clock_does_not(server: InProcessServer, reader: Registered) -> None:
    for second in (0, 100, -100, 10**9, -(10**9), 5):
        jump(server, NOON + timedelta(seconds=second))
        assert ask(server, reader).status == 200
    times = [event["time"] for event in server.events()]
    assert times != sorted(times)
    events = server.run(server.store.events(limit=1000))
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert verify_chain(list(events), server.run(server.store.heads())).is_sound


@rule("W3", "B10")
def test_a_clock_that_jumps_frees_nobody_from_the_limits_and_locks_nobody_out() -> None:
    server = InProcessServer()
    server.add_resource()
    wrong = server.add_agent("wrong")
    guess = Registered(wrong.client_id, "wrong")
    while server.token(guess).status != 429:
        pass
    assert server.token(wrong).status == 429
    for seconds in (-3600, 1):
        server.advance(seconds)
        assert server.token(wrong).status == 429
    server.advance(60)
    assert server.token(wrong).status == 200

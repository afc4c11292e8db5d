"""Limits as callers meet them: ABUSE 6.11, E6, E9, E11; RFC 6749 §2.3."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
import structlog.testing
from tests import rule
from tests.endpoints.test_client_authentication import FORM, basic

from watchword.operations.context import OperationContext, Principal
from watchword.operations.operators import CreateOperator, create_operator
from watchword.ports.agents import AgentState, Role
from watchword.ports.audit import StoredEvent
from watchword.ports.ratelimit import Rate
from watchword.protocol import names
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.server.limits import Limits
from watchword.testing.server import Answer, InProcessServer, Registered

MINUTE = timedelta(seconds=60)
NUMBERS = Limits(
    peer=Rate(2000, MINUTE),
    agent=Rate(50, MINUTE),
    login_failures=Rate(5, MINUTE),
    peer_failures=Rate(20, MINUTE),
    concurrent_requests=4,
    concurrent_admin_requests=2,
)
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.1"
HANGS = 60
"""Seconds after which a request that should have been refused is taken to wait for ever."""

AGENTS = names.PATH_ADMIN + "/agents"


@pytest.fixture
def server() -> InProcessServer:
    started = InProcessServer(limits=NUMBERS, with_admin=True)
    started.add_resource()
    return started


@pytest.fixture(autouse=True)
def sane(server: InProcessServer, reader: Registered) -> Iterator[None]:
    """Sanity last: from elsewhere, the right request works, whatever was refused before."""
    yield
    assert server.post(FORM, reader.basic, peer="203.0.113.9").status == 200


@pytest.fixture
def operator(server: InProcessServer) -> str:
    context = OperationContext(
        store=server.store,
        clock=server.clock,
        issuer=server.issuer,
        peppers=server.peppers,
        principal=Principal("local:test", Role.ADMIN),
    )
    return server.run(create_operator(context, CreateOperator(name="olga", role=Role.ADMIN))).token


def guess(server: InProcessServer, client_id: str, *, peer: str = HOME, times: int = 1) -> list[int]:
    return [server.post(FORM, basic(client_id, f"wrong-{n}"), peer=peer).status for n in range(times)]


def ask_admin(server: InProcessServer, token: str, *, peer: str = HOME) -> Answer:
    return server.ask("GET", AGENTS, headers=[("authorization", f"Bearer {token}")], peer=peer)


def assert_limited(answer: Answer, seconds: int) -> None:
    assert (answer.status, answer.json["error"]) == (429, "temporarily_unavailable")
    assert set(answer.json) == {"error", "error_description", "request_id"}
    assert answer.header("retry-after") == str(seconds)
    assert answer.header("cache-control") == "no-store"
    assert answer.header("www-authenticate") is None


@rule("R6749-2.3-07", "B1", "KF-91")
def test_guessing_ends_in_429_and_then_even_the_right_secret_has_to_wait(
    server: InProcessServer, reader: Registered
) -> None:
    assert guess(server, reader.client_id, times=1000) == [401] * 5 + [429] * 995
    assert_limited(server.token(reader), 12)
    server.advance(12)
    assert server.token(reader).status == 200


@rule("R6749-2.3-07", "B1", "B4")
def test_the_right_client_from_another_source_is_not_locked_out(server: InProcessServer, reader: Registered) -> None:
    guess(server, reader.client_id, times=1000)
    assert server.post(FORM, reader.basic, peer=ELSEWHERE).status == 200


@rule("B4", "R6749-2.3-07")
def test_nobody_else_behind_the_same_address_is_locked_out(server: InProcessServer, reader: Registered) -> None:
    writer = server.add_agent("writer")
    guess(server, writer.client_id, times=100)
    assert server.token(reader).status == 200


@rule("B11")
def test_a_login_in_between_forgives_nothing(server: InProcessServer, reader: Registered) -> None:
    assert guess(server, reader.client_id, times=4) == [401] * 4
    assert server.token(reader).status == 200
    assert guess(server, reader.client_id, times=2) == [401, 429]


@rule("B3", "KF-121")
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"])
def test_a_header_that_anybody_can_send_moves_nobody_elsewhere(
    server: InProcessServer, reader: Registered, header: str
) -> None:
    spoofed = [(header, f"for=203.0.113.{n}" if header == "forwarded" else f"203.0.113.{n}") for n in range(7)]
    wrong = basic(reader.client_id, "wrong")
    assert [server.post(FORM, wrong, value).status for value in spoofed] == [401] * 5 + [429] * 2


@rule("B5", "KF-91")
def test_every_way_to_show_a_secret_counts_together(server: InProcessServer, reader: Registered) -> None:
    body = f"{FORM}&client_id={reader.client_id}&client_secret=wrong"
    assert guess(server, reader.client_id, times=3) == [401] * 3
    assert [server.post(body).status for _ in range(3)] == [401, 401, 429]
    assert_limited(server.token(reader), 12)


@rule("B6", "KF-91")
@pytest.mark.parametrize("spoil", [str.upper, str.title, "{}+".format, "%20{}".format, "{}%09".format])
def test_a_variant_of_the_id_is_no_second_count(server: InProcessServer, reader: Registered, spoil: object) -> None:
    variant = spoil(reader.client_id)  # type: ignore[operator]
    assert guess(server, variant, times=3) == [401] * 3
    assert guess(server, reader.client_id, times=3) == [401, 401, 429]


@rule("B7")
def test_addresses_of_one_ipv6_network_are_one_peer(server: InProcessServer, reader: Registered) -> None:
    answers = [guess(server, reader.client_id, peer=f"2001:db8::{n:x}")[0] for n in range(1, 8)]
    assert answers == [401] * 5 + [429] * 2
    assert guess(server, reader.client_id, peer="2001:db8:0:1::1") == [401]


@rule("B5")
def test_many_names_from_one_peer_are_stopped_together(server: InProcessServer, reader: Registered) -> None:
    answers = [guess(server, f"invented-{n}")[0] for n in range(25)]
    assert answers == [401] * 20 + [429] * 5
    assert_limited(server.token(reader), 3)
    assert server.post(FORM, reader.basic, peer=ELSEWHERE).status == 200


@rule("B4")
def test_an_agent_that_logged_in_from_there_before_goes_on_beside_a_guessing_neighbour(
    server: InProcessServer, reader: Registered
) -> None:
    assert server.token(reader).status == 200
    for number in range(50):
        guess(server, f"invented-{number}")
    assert server.token(reader).status == 200


@rule("C8", "R6749-2.3-06", "DR-16")
def test_no_limit_tells_an_unknown_client_from_a_known_one(server: InProcessServer, reader: Registered) -> None:
    suspended = server.add_agent("suspended")
    server.set_state(suspended.client_id, AgentState.SUSPENDED)
    by_peer = {}
    for number, (client_id, secret) in enumerate(
        [(reader.client_id, "wrong"), ("no-such-agent", "wrong"), (suspended.client_id, suspended.secret)]
    ):
        answers = [server.post(FORM, basic(client_id, secret), peer=f"203.0.113.{number}") for _ in range(7)]
        by_peer[client_id] = [
            (one.status, one.json["error"], one.json["error_description"], one.header("retry-after")) for one in answers
        ]
    first, *others = by_peer.values()
    assert [status for status, *_ in first] == [401] * 5 + [429] * 2
    assert all(other == first for other in others)


def recorded(server: InProcessServer) -> Sequence[StoredEvent]:
    return server.run(server.store.events(limit=1000))


@rule("E11")
def test_a_flood_of_malformed_requests_is_stopped_without_a_record_of_each(server: InProcessServer) -> None:
    before = len(recorded(server))
    answers = [server.post(b"", ("content-type", "application/json")).status for _ in range(150)]
    assert answers == [400] * 20 + [429] * 130
    assert server.limited == {"peer_failures": 130}
    assert len(recorded(server)) - before == 21
    event = server.last_event()
    assert (event["outcome"], event["reason"], event["peer"]) == ("denied", "limit.peer_failures", HOME)
    server.advance(60)
    guess(server, "invented", times=5)
    for _ in range(16):
        server.post(b"")
    assert server.last_event()["details"] == {"unrecorded": "129"}


@rule("E11")
def test_the_log_has_a_line_for_what_has_an_event(server: InProcessServer, reader: Registered) -> None:
    with structlog.testing.capture_logs() as lines:
        guess(server, reader.client_id, times=100)
    assert [line["reason"] for line in lines] == ["client.credential"] * 5 + ["limit.login_failures"]


def test_a_peer_has_its_rate_before_anything_is_read() -> None:
    server = InProcessServer(limits=replace(NUMBERS, peer=Rate(3, MINUTE)))
    server.add_resource()
    reader = server.add_agent("reader")
    assert [server.token(reader).status for _ in range(4)] == [200, 200, 200, 429]
    assert_limited(server.post(b"\x00", ("content-type", "nonsense")), 20)
    assert server.last_event()["reason"] == "limit.peer"
    assert server.post(FORM, reader.basic, peer=ELSEWHERE).status == 200


def test_an_agent_has_its_rate_from_wherever_it_asks(server: InProcessServer) -> None:
    busy = server.add_agent("busy")
    answers = [server.post(FORM, busy.basic, peer=f"203.0.113.{n}") for n in range(55)]
    assert [one.status for one in answers] == [200] * 50 + [429] * 5
    assert_limited(answers[-1], 2)
    event = server.last_event()
    assert (event["reason"], event["actor"]) == ("limit.agent", f"agent:{busy.client_id}")
    assert server.limited == {"agent": 5}


@rule("KF-91", "C9")
def test_the_right_secret_of_a_suspended_agent_is_a_failure_too(server: InProcessServer) -> None:
    agent = server.add_agent("switched")
    server.set_state(agent.client_id, AgentState.SUSPENDED)
    assert [server.token(agent).status for _ in range(7)] == [401] * 5 + [429] * 2


@rule("B5", "KF-91")
def test_guessing_at_the_admin_api_ends_in_429(server: InProcessServer, operator: str) -> None:
    guesses = [ask_admin(server, generate_secret(SecretKind.OPERATOR)) for _ in range(25)]
    assert [one.status for one in guesses] == [401] * 20 + [429] * 5
    problem = guesses[-1]
    assert problem.header("content-type") == "application/problem+json"
    assert (problem.json["reason"], problem.header("retry-after")) == ("limit.peer_failures", "3")
    assert problem.header("cache-control") == "no-store"
    assert ask_admin(server, operator).status == 429
    assert ask_admin(server, operator, peer=ELSEWHERE).status == 200
    events = server.events("operator.authenticate")
    assert [event["reason"] for event in events] == ["operator.credential"] * 20 + ["limit.peer_failures"]


@rule("B5")
def test_failures_at_one_surface_count_at_the_other(server: InProcessServer, operator: str) -> None:
    for number in range(20):
        guess(server, f"invented-{number}")
    assert ask_admin(server, operator).status == 429
    assert ask_admin(server, operator, peer=ELSEWHERE).status == 200


@rule("B4", "B5")
def test_an_operator_is_not_locked_out_by_a_job_with_an_old_credential(server: InProcessServer, operator: str) -> None:
    old = generate_secret(SecretKind.OPERATOR)
    assert [ask_admin(server, old).status for _ in range(100)] == [401] * 5 + [429] * 95
    assert ask_admin(server, operator).status == 200


def test_a_request_that_is_not_well_formed_is_no_failure_of_the_credential_it_shows(
    server: InProcessServer, reader: Registered, operator: str
) -> None:
    header = ("authorization", f"Bearer {operator}")
    for _ in range(8):
        assert server.ask("GET", AGENTS, headers=[header, ("origin", "https://evil.example")]).status == 403
        assert server.post(FORM, reader.basic, ("content-encoding", "gzip")).status == 415
    assert ask_admin(server, operator).status == 200
    assert server.token(reader).status == 200


@rule("B4")
def test_an_operator_who_was_there_before_goes_on_beside_a_guessing_neighbour(
    server: InProcessServer, operator: str
) -> None:
    assert ask_admin(server, operator).status == 200
    for number in range(50):
        guess(server, f"invented-{number}")
    assert ask_admin(server, operator).status == 200


@rule("B9")
def test_ids_without_end_are_answered_and_forgotten(server: InProcessServer) -> None:
    for number in range(300):
        peer = f"2001:db8:{number:x}::1"
        assert guess(server, f"invented-{number}", peer=peer) == [401]


class Pending:
    """Requests that are being worked on: the store does not answer until told."""

    def __init__(self, server: InProcessServer) -> None:
        self._server = server
        self._registration = server.store.registration
        self._answering = asyncio.Event()
        self.waiting = 0

    async def __call__(self, client_id: str) -> object:
        self.waiting += 1
        await self._answering.wait()
        return await self._registration(client_id)

    def answer(self) -> None:
        self._answering.set()


async def send(server: InProcessServer, method: str, path: str, body: bytes, *headers: tuple[str, str]) -> object:
    """One request, in the running loop."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def collect(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in (("host", server.host), *headers)],
        "client": (HOME, 50000),
    }
    await server.app(scope, receive, collect)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}  # type: ignore[attr-defined]
    return SimpleNamespace(status=sent[0]["status"], headers=fields, body=sent[1]["body"])


@rule("E6", "E9")
def test_beyond_the_number_at_once_the_answer_is_503_and_the_kill_switch_works(
    server: InProcessServer, reader: Registered, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = (("content-type", "application/x-www-form-urlencoded"), reader.basic)

    async def overload() -> None:
        pending = Pending(server)
        monkeypatch.setattr(server.store, "registration", pending)
        working = [asyncio.create_task(send(server, "POST", names.PATH_TOKEN, FORM.encode(), *form)) for _ in range(4)]
        while pending.waiting < 4:
            await asyncio.sleep(0)
        for nonsense in (b"\xff", FORM.encode()):
            excess = await send(server, "POST", names.PATH_TOKEN, nonsense, *form)
            assert (excess.status, excess.headers["retry-after"]) == (503, "1")
            assert b"temporarily_unavailable" in excess.body
        monkeypatch.undo()
        switch = f"{AGENTS}/{reader.client_id}/suspend"
        json = (("content-type", "application/json"), ("authorization", f"Bearer {operator}"))
        assert (await send(server, "POST", switch, b"{}", *json)).status == 200
        pending.answer()
        assert [one.status for one in await asyncio.gather(*working)] == [401] * 4

    server.run(asyncio.wait_for(overload(), HANGS))
    assert server.limited == {"concurrent_requests": 2}
    server.set_state(reader.client_id, AgentState.ACTIVE)
    assert server.token(reader).status == 200


@rule("E9")
def test_operators_have_a_number_of_their_own(
    server: InProcessServer, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = ("authorization", f"Bearer {operator}")

    async def overload() -> None:
        pending = Pending(server)
        pending._registration = server.store.agents
        listing = server.store.agents

        async def agents(**how: object) -> object:
            pending.waiting += 1
            await pending._answering.wait()
            return await listing(**how)

        monkeypatch.setattr(server.store, "agents", agents)
        working = [asyncio.create_task(send(server, "GET", AGENTS, b"", header)) for _ in range(2)]
        while pending.waiting < 2:
            await asyncio.sleep(0)
        excess = await send(server, "GET", AGENTS, b"", header)
        assert (excess.status, excess.headers["retry-after"]) == (503, "1")
        assert excess.headers["content-type"] == "application/problem+json"
        unknown = await send(server, "GET", AGENTS, b"")
        assert unknown.status == 401
        pending.answer()
        assert [one.status for one in await asyncio.gather(*working)] == [200] * 2

    server.run(asyncio.wait_for(overload(), HANGS))
    assert server.limited == {"concurrent_admin_requests": 1}


def test_a_body_that_does_not_arrive_holds_no_place(server: InProcessServer, reader: Registered) -> None:
    async def slow() -> None:
        never = asyncio.Event()

        async def receive() -> dict[str, object]:
            await never.wait()
            return {"type": "http.disconnect"}

        async def nothing(_message: object) -> None:
            pytest.fail("answered")

        scope = {"type": "http", "method": "POST", "path": names.PATH_TOKEN, "headers": [], "client": (HOME, 1)}
        waiting = [asyncio.create_task(server.app(scope, receive, nothing)) for _ in range(50)]
        await asyncio.sleep(0)
        form = (("content-type", "application/x-www-form-urlencoded"), reader.basic)
        assert (await send(server, "POST", names.PATH_TOKEN, FORM.encode(), *form)).status == 200
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting)

    server.run(asyncio.wait_for(slow(), HANGS))


@rule("E11")
@pytest.mark.parametrize(("names_tried", "allowed"), [(1, 5), (40, 20)])
def test_guesses_made_all_at_once_are_counted_like_guesses_one_by_one(names_tried: int, allowed: int) -> None:
    """No other request takes a turn between the look at the count and the failure that adds to it."""
    server = InProcessServer(limits=replace(NUMBERS, concurrent_requests=100))
    media_type = ("content-type", "application/x-www-form-urlencoded")

    async def guess_at_once() -> list[int]:
        guesses = (
            send(
                server,
                "POST",
                names.PATH_TOKEN,
                FORM.encode(),
                media_type,
                basic(f"agent-{n % names_tried}", f"no-{n}"),
            )
            for n in range(40)
        )
        return [answer.status for answer in await asyncio.gather(*guesses)]  # type: ignore[attr-defined]

    statuses = server.run(guess_at_once())
    assert (statuses.count(401), statuses.count(429)) == (allowed, 40 - allowed)

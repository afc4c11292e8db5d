"""The SDK, an operator and a server with a network between them that fails: right answers or clean errors, and the audit agrees.

Agents log in and an operator suspends and resumes one of them, all through the fault proxy, under each fault in turn. Afterwards
the history of what they were told is judged against the audit.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection, HTTPException

import pytest

from tests import rule
from watchword import ClientSecretBasic, Login
from watchword.adapters.outbound import OutboundTransport
from watchword.client.errors import LoginRefused, LoginUnavailable
from watchword.client.retry import RetryPolicy
from watchword.protocol.jose import parse_compact
from watchword.testing.history import READ, RESUME, SUSPEND, TOKEN, Event, History, Outcome, judge
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess, exchange
from watchword.testing.tcp_proxy import NO_FAULT, Break, Fault, FaultProxy, Way

HARMLESS = {
    "none": NO_FAULT,
    "latency": Fault(latency=0.03),
    "throttle": Fault(bytes_per_second=20_000),
}
HARMFUL = {
    "reset of open connections": Fault(breaks=Break.RESET),
    "reset in a request": Fault(breaks=Break.RESET, after=120, way=Way.REQUEST),
    "reset in an answer": Fault(breaks=Break.RESET, after=200),
    "cut in a request": Fault(breaks=Break.CLOSE, after=300, way=Way.REQUEST),
    "cut in an answer": Fault(breaks=Break.CLOSE, after=500),
    "half close of the requests": Fault(breaks=Break.HALF_CLOSE, after=100, way=Way.REQUEST),
    "half close of the answers": Fault(breaks=Break.HALF_CLOSE, after=300),
    "blackhole": Fault(breaks=Break.BLACKHOLE),
    "blackhole in an answer": Fault(breaks=Break.BLACKHOLE, after=400),
    "slow, then a reset": Fault(latency=0.01, bytes_per_second=30_000, breaks=Break.RESET, after=700),
}
CALLS = 3
SECONDS = 20
ONCE = RetryPolicy(attempts=1)
PATIENT = RetryPolicy(attempts=8, first_pause=timedelta(milliseconds=100), jitter=lambda: 1.0)


class World:
    """A server that is reached through the proxy alone, its agents and its operator."""

    def __init__(self, server: ServerProcess, proxy: FaultProxy) -> None:
        self.server, self.proxy = server, proxy
        self.history = History()
        self.road = OutboundTransport(connect_timeout=timedelta(seconds=0.5), total_timeout=timedelta(seconds=0.7))
        self.steady = [server.create_agent(f"steady-{number}") for number in range(2)]
        self.toggled = server.create_agent("toggled")
        self.patient = server.create_agent("patient")
        self.wrong: list[str] = []

    def login(self, agent: AgentSecret, retry: RetryPolicy) -> Login:
        client = ClientSecretBasic(agent.client_id, agent.client_secret)
        return Login(
            issuer=self.server.issuer,
            client=client,
            resource="my-api",
            scope="read:data",
            retry=retry,
            transport=self.road,
        )

    def ask(self, agent: AgentSecret, login: Login) -> Outcome:
        """Ask for a new token; note what came of it."""
        try:
            with self.history.call(TOKEN, agent.client_id) as call:
                try:
                    token = login.token()
                except LoginRefused as refusal:
                    if refusal.error != "invalid_client":
                        self.wrong.append(repr(refusal))
                    call.refused()
                    return call.outcome
                claims = json.loads(parse_compact(token, typ="at+jwt").payload)
                call.done(str(claims["jti"]))
                if claims["client_id"] != agent.client_id:
                    self.wrong.append("somebody else's token")
                login.invalidate(token)
        except LoginUnavailable:
            return Outcome.UNKNOWN
        return call.outcome

    def toggle(self, action: str) -> None:
        """Suspend or resume the one, through the proxy."""
        with self.history.call(action, self.toggled.client_id) as call:
            verb = action.rpartition(".")[2]
            status, _ = self.administer("POST", f"/agents/{self.toggled.client_id}/{verb}", b"{}")
            if status == 200:
                call.done()
            elif status == 503:
                call.unavailable()
            else:
                call.refused()

    def look(self) -> None:
        """Read how far the trail is."""
        with self.history.call(READ, "the trail") as call:
            status, body = self.administer("GET", "/audit/events?newest_first=true&limit=1")
            if status == 200:
                call.done(str(json.loads(body)["items"][0]["cursor"]))

    def events(self) -> list[Event]:
        """The audit of those whose history is written, read at the server itself."""
        headers = {"Authorization": f"Bearer {self.server.operator_token}"}
        status, lines = exchange(self.server.connect(), "GET", "/admin/v1/audit/export", headers=headers)
        assert status == 200
        names = {agent.client_id for agent in (*self.steady, self.toggled)}
        events = [json.loads(line)["event"] for line in lines.splitlines()]
        return [event for event in events if event.get("client_id") in names]

    def administer(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection(self.proxy.host, self.proxy.port, timeout=0.7)
        headers = {"Authorization": f"Bearer {self.server.operator_token}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/admin/v1{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def world(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("network")
    with FaultProxy("127.0.0.1", 1) as proxy:
        issuer = f"http://{proxy.host}:{proxy.port}"
        with ServerProcess(folder, environment=FAIL_AT_WILL, issuer=issuer) as server:
            proxy.lead_to(server.host, server.port)
            yield World(server, proxy)


@pytest.fixture(autouse=True)
def _well_again(world: World) -> Iterator[None]:
    yield
    world.proxy.heal()
    world.proxy.refuse()
    world.proxy.listen()


def together(*tasks: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 -- shown by the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def under(world: World, fault: Fault) -> None:
    """Have everybody ask while this is wrong, then again when it is not."""
    agents = [*world.steady, world.toggled]
    logins = {agent.client_id: world.login(agent, ONCE) for agent in agents}
    for agent in agents:
        until_token(world, agent, logins[agent.client_id])
    world.proxy.impose(fault)

    def log_in(agent: AgentSecret) -> None:
        for _ in range(CALLS):
            world.ask(agent, logins[agent.client_id])

    def operate() -> None:
        for step in (partial(world.toggle, SUSPEND), world.look, partial(world.toggle, RESUME), world.look):
            with contextlib.suppress(OSError, HTTPException):
                step()

    together(operate, *(partial(log_in, agent) for agent in agents))
    world.proxy.heal()
    for agent in agents:
        until_token(world, agent, logins[agent.client_id])


def until_token(world: World, agent: AgentSecret, login: Login) -> None:
    """Return when it has got one: what was broken is made anew, what was late has come."""
    deadline = time.monotonic() + SECONDS
    while (ended := world.ask(agent, login)) is not Outcome.DONE:
        if ended is Outcome.REFUSED:  # a suspension that was lost in a hole has arrived after all
            world.toggle(RESUME)
        assert time.monotonic() < deadline, f"{ended} for {SECONDS} s after the network was well again"


@rule("Q5", "N6", "DR-9", "DR-10")
@pytest.mark.parametrize("name", [*HARMLESS, *HARMFUL])
def test_answers_are_right_or_clean_errors_and_the_audit_agrees(world: World, name: str) -> None:
    began = len(world.history.operations)
    under(world, {**HARMLESS, **HARMFUL}[name])
    assert world.wrong == []
    assert judge(world.history.operations, world.events()) == []
    outcomes = {one.outcome for one in world.history.operations[began:]}
    assert Outcome.DONE in outcomes
    assert Outcome.UNKNOWN in outcomes or name in HARMLESS


def test_a_server_that_cannot_be_reached_is_a_clean_error_and_is_found_again(world: World) -> None:
    agent = world.steady[0]
    login = world.login(agent, ONCE)
    until_token(world, agent, login)
    world.proxy.refuse()
    world.proxy.impose(Fault(breaks=Break.RESET))
    with pytest.raises(LoginUnavailable) as failure:
        login.token()
    assert failure.value.reason == "http.connect"
    world.proxy.heal()
    world.proxy.listen()
    until_token(world, agent, login)


@pytest.mark.parametrize("name", HARMFUL)
def test_who_is_patient_gets_a_token_when_the_network_is_well_again(world: World, name: str) -> None:
    login = world.login(world.patient, PATIENT)
    first = login.token()
    login.invalidate(first)
    world.proxy.impose(HARMFUL[name])
    healing = threading.Timer(0.3, world.proxy.heal)
    healing.start()
    assert login.token() != first
    healing.join()


def test_a_token_that_is_good_tides_over_a_dead_network(world: World) -> None:
    login = world.login(world.patient, ONCE)
    first = login.token()
    world.proxy.impose(Fault(breaks=Break.BLACKHOLE))
    assert [login.token() for _ in range(10)] == [first] * 10
    world.proxy.heal()

"""Every statement that is said to PostgreSQL fails once, on the way of a token and of administration, in the whole server.

What comes out is right, or 503; and whatever it is, the trail tells of what was done, and of nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests import rule
from tests.faults.failing_statements import WAYS, OnALoop, Statements, install
from tests.faults.test_nth_call import assert_unavailable
from tests.postgres import new_database, require_postgres, shared_server
from watchword.adapters.postgres import PostgresStore
from watchword.operations.context import OperationContext, Principal
from watchword.operations.operators import CreateOperator, create_operator
from watchword.ports.agents import Role
from watchword.protocol.jose import parse_compact
from watchword.testing.server import Answer, InProcessServer, Registered
from watchword.testing.tcp_proxy import FaultProxy


class World:
    """A server on a PostgreSQL whose statements are counted, and an operator."""

    def __init__(self, url: str, statements: Statements, loop: OnALoop) -> None:
        self.statements = statements
        self.before: object = None
        self.server = InProcessServer(through=lambda _: loop, with_admin=True, algorithms=())
        self._store = loop.run(PostgresStore.create(url, clock=self.server.clock))
        loop.hold(self._store)
        self._loop = loop
        self.server.store = loop
        self.server.add_signing_key("ES256")
        self.server.add_resource("my-api")
        context = OperationContext(
            store=self.server.store,
            clock=self.server.clock,
            issuer=self.server.issuer,
            peppers=self.server.peppers,
            principal=Principal("local:test", Role.ADMIN),
        )
        made = asyncio.run(create_operator(context, CreateOperator(name="me", role=Role.ADMIN)))
        self._bearer = ("authorization", f"Bearer {made.token}")

    def close(self) -> None:
        self._loop.run(self._store.close())

    def admin(self, method: str, path: str, body: object = None) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        headers = [self._bearer, ("content-type", "application/json")]
        return self.server.ask(method, f"/admin/v1{path}", headers=headers, body=sent)

    def rounds(self) -> Iterator[Registered]:
        """Give a new agent for each statement that is to fail, until a round passes in which none does.

        With a new one nothing holds of what is kept of the others: everything is asked of the database anew.
        """
        for nth in range(1, 100):
            self.statements.disarm()
            self.server.advance(60)
            agent = self.server.add_agent("agent")
            self.before = self.state_of(agent.client_id)
            self.statements.arm(nth)
            yield agent
            if not self.statements.has_fired:
                assert nth > 3
                return
        raise AssertionError("the operation never ends")

    def state_of(self, name: str) -> object:
        """All that is stored of an agent but its last use."""
        agent = asyncio.run(self.server.store.find_agent(name))
        return None if agent is None else asyncio.run(self.server.store.registration(agent.client_id))

    def told(self, action: str, **members: str) -> int:
        """Return how many events tell that this was done."""
        wanted = {"outcome": "success", **members}.items()
        return sum(
            wanted <= {name: str(value) for name, value in event.items()}.items()
            for event in self.server.events(action)
        )

    def is_sound(self) -> bool:
        return self.admin("GET", "/audit/verify").json["ok"] is True


@pytest.fixture(scope="module", params=WAYS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One for each way to fail."""
    require_postgres()
    port = shared_server().port
    with FaultProxy("127.0.0.1", port) as road, pytest.MonkeyPatch.context() as monkeypatch:
        statements, loop = Statements(road, request.param), OnALoop()
        install(monkeypatch, statements)
        world = World(new_database().replace(f":{port}/", f":{road.port}/"), statements, loop)
        yield world
        statements.disarm()
        world.close()
        loop.end()


@rule("FI-3", "O5", "O6", "DR-9", "DR-10")
def test_no_statement_that_fails_lets_a_token_out_without_its_event(world: World) -> None:
    statuses = []
    for agent in world.rounds():
        answer = world.server.token(agent)
        world.statements.disarm()
        statuses.append(answer.status)
        if answer.status == 200:
            jti = json.loads(parse_compact(answer.json["access_token"], typ="at+jwt").payload)["jti"]
            assert world.told("token.issue", jti=jti) == 1
        else:
            assert_unavailable(answer)
            assert world.told("token.issue", client_id=agent.client_id) <= 1  # which nobody has
        assert world.server.token(agent).status == 200
    assert statuses[-1] == 200
    assert world.is_sound()


@rule("FI-3", "O5", "O6", "DR-10", "DR-11")
@pytest.mark.parametrize("action", ["agent.create", "agent.suspend", "credential.create", "permission.grant"])
def test_no_statement_that_fails_leaves_half_an_administrative_change(world: World, action: str) -> None:
    permission = {"resource": "my-api", "scopes": ["write:data"]}
    statuses = []
    for agent in world.rounds():
        name = f"new-of-{agent.client_id}"
        method, path, body, done = {
            "agent.create": ("POST", "/agents", {"name": name, "permissions": [permission]}, 201),
            "agent.suspend": ("POST", f"/agents/{agent.client_id}/suspend", {}, 200),
            "credential.create": ("POST", f"/agents/{agent.client_id}/credentials", {}, 201),
            "permission.grant": ("POST", f"/agents/{agent.client_id}/permissions", permission, 201),
        }[action]
        target = name if action == "agent.create" else agent.client_id
        before = None if target == name else world.before
        answer = world.admin(method, path, body)
        world.statements.disarm()
        statuses.append(answer.status)
        after = world.state_of(target)
        if answer.status != done:
            assert_unavailable(answer)
        else:
            assert after != before
        client_id = after.agent.client_id if after is not None else agent.client_id
        assert world.told(action, client_id=client_id) == int(after != before)
    assert statuses[-1] == done
    assert set(statuses) <= {done, 503}
    assert world.is_sound()

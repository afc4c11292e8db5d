"""Every call of the store fails once, on the way of a token and of administration, in the whole server."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests import rule
from watchword.errors import StoreUnavailable
from watchword.operations.context import OperationContext, Principal
from watchword.operations.operators import CreateOperator, create_operator
from watchword.ports.agents import Role
from watchword.testing.faults import every_call, failing
from watchword.testing.server import Answer, InProcessServer, Registered

ERRORS = [StoreUnavailable("store.io", detail="told to fail"), RuntimeError("a bug")]


class World:
    """A server behind a failing store, an operator, an agent, and the state of everything."""

    def __init__(self) -> None:
        self.server = InProcessServer(through=failing, with_admin=True)
        self.server.add_resource("my-api")
        self.reader: Registered = self.server.add_agent("reader")
        context = OperationContext(
            store=self.server.store,
            clock=self.server.clock,
            issuer=self.server.issuer,
            peppers=self.server.peppers,
            principal=Principal("local:test", Role.ADMIN),
        )
        made = asyncio.run(create_operator(context, CreateOperator(name="me", role=Role.ADMIN)))
        self.bearer = ("authorization", f"Bearer {made.token}")

    def admin(self, method: str, path: str, body: object = None) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        headers = [self.bearer, ("content-type", "application/json")]
        return self.server.ask(method, f"/admin/v1{path}", headers=headers, body=sent)

    def state(self) -> object:
        """Everything that is stored but the trail and last uses."""

        async def read() -> object:
            store = self.server.store
            agents = await store.agents(after="", limit=1000)
            whole = [await store.registration(agent.client_id) for agent in agents]
            return (await store.epoch(), whole, await store.resources(after="", limit=1000), await store.operators())

        return asyncio.run(read())

    def succeeded(self, action: str) -> int:
        return sum(event["outcome"] == "success" for event in self.server.events(action))


@pytest.fixture
def world() -> World:
    return World()


@rule("FI-3", "O3", "DR-9", "DR-10", "U5", "U6")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("is_late", [False, True])
def test_no_call_that_fails_lets_a_token_out_without_its_event(world: World, error: Exception, is_late: bool) -> None:
    received, statuses = set(), []
    for _ in every_call(world.server.core.store, error=error, is_late=is_late):
        answer = world.server.token(world.reader)
        statuses.append(answer.status)
        if answer.status == 200:
            received.add(answer.json["access_token"])
        else:
            assert_unavailable(answer)
    assert statuses == [*[503] * (len(statuses) - 1), 200]
    assert len(statuses) > 3
    assert len(received) == 1
    told = world.succeeded("token.issue")
    assert told >= 1 if is_late else told == 1
    assert world.server.token(world.reader).status == 200


@rule("FI-3", "DR-10")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_refusal_is_recorded_or_is_none(world: World, error: Exception) -> None:
    wrong = Registered(world.reader.client_id, "wrong")
    before = len(world.server.events())
    answers = [world.server.token(wrong) for _ in every_call(world.server.core.store, error=error)]
    assert [answer.status for answer in answers] == [*[503] * (len(answers) - 1), 401]
    denied = [event for event in world.server.events()[before:] if event["outcome"] == "denied"]
    assert [event["reason"] for event in denied] == ["client.credential"]


ADMIN: dict[str, Callable[[World], tuple[str, str, object, int]]] = {
    "agent.create": lambda _: (
        "POST",
        "/agents",
        {"name": "new", "permissions": [{"resource": "my-api", "scopes": ["read:data"]}]},
        201,
    ),
    "agent.suspend": lambda world: ("POST", f"/agents/{world.reader.client_id}/suspend", {}, 200),
    "agent.delete": lambda world: ("DELETE", f"/agents/{world.reader.client_id}", None, 200),
    "permission.grant": lambda world: (
        "POST",
        f"/agents/{world.reader.client_id}/permissions",
        {"resource": "my-api", "scopes": ["write:data"]},
        201,
    ),
    "credential.create": lambda world: ("POST", f"/agents/{world.reader.client_id}/credentials", {}, 201),
    "credential.revoke": lambda world: (
        "DELETE",
        f"/agents/{world.reader.client_id}/credentials/{world.reader.credential_id}",
        None,
        200,
    ),
    "resource.create": lambda _: ("POST", "/resources", {"name": "other-api", "scopes": ["a"]}, 201),
}


@rule("FI-3", "O3", "DR-10", "DR-11")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("action", ADMIN)
def test_no_call_that_fails_leaves_half_an_administrative_change(world: World, action: str, error: Exception) -> None:
    before = world.state()
    method, path, body, expected = ADMIN[action](world)
    statuses = []
    for _ in every_call(world.server.core.store, error=error):
        answer = world.admin(method, path, body)
        statuses.append(answer.status)
        if answer.status != expected:
            assert_unavailable(answer)
            assert (world.state(), world.succeeded(action)) == (before, 0)
    assert statuses == [*[503] * (len(statuses) - 1), expected]
    assert len(statuses) > 2
    assert world.state() != before
    assert world.succeeded(action) == 1


@rule("FI-3", "O5")
@pytest.mark.parametrize("action", ADMIN)
def test_a_change_whose_commit_is_not_acknowledged_is_whole_and_told_or_neither(world: World, action: str) -> None:
    """The commit took place, and the word of it was lost: 503, and both are there."""
    before = world.state()
    method, path, body, expected = ADMIN[action](world)
    for _ in every_call(world.server.core.store, is_late=True):
        answer = world.admin(method, path, body)
        if answer.status == expected:
            break
        assert_unavailable(answer)
        is_done = world.state() != before
        assert world.succeeded(action) == int(is_done)
        if is_done:
            world.server.core.store.disarm()
            break
    assert world.succeeded(action) == 1


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.header("retry-after") == "1"
    assert answer.header("cache-control") == "no-store"
    assert b"told to fail" not in answer.body
    assert b"bug" not in answer.body


@rule("FI-3", "DR-10")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    "path", ["/audit/export", "/audit/verify", "/audit/events", "/agents", "/resources", "/server"]
)
def test_what_is_read_is_whole_or_503_or_visibly_cut(world: World, path: str, error: Exception) -> None:
    statuses = []
    for _ in every_call(world.server.core.store, error=error):
        try:
            answer = world.admin("GET", path)
        except Exception:  # noqa: BLE001 -- half an answer was out: the listener ends the connection
            assert path == "/audit/export"
            continue
        statuses.append(answer.status)
        if answer.status != 200:
            assert_unavailable(answer)
    assert statuses == [*[503] * (len(statuses) - 1), 200]

"""A decision that is overtaken by a change of the agent is made anew; all else of the endpoint is in tests/endpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import rule
from watchword.ports.agents import AgentState
from watchword.ports.store import Change, Replace, RevokeCredential, Store
from watchword.server.token_endpoint import ATTEMPTS
from watchword.testing.records import make_event
from watchword.testing.server import InProcessServer, Registered


class Overtaken:
    """A store in which somebody else changes the agent each time a token is about to be recorded, so many times."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changes: list[Change] = []
        self.times = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    async def commit(self, event, changes=(), *, basis=None):
        if basis is not None and self.times:
            self.times -= 1
            agent = (await self.store.registration(basis.registration.agent.client_id)).agent
            meanwhile = self.changes or [Replace(replace(agent, owner=f"team {self.times}", version=agent.version + 1))]
            await self.store.commit(make_event(action="agent.update"), meanwhile)
        await self.store.commit(event, changes, basis=basis)


class Scene:
    def __init__(self) -> None:
        self.server = InProcessServer(through=self._stand_between)
        self.server.add_resource()
        self.agent: Registered = self.server.add_agent()

    def _stand_between(self, store: Store) -> Store:
        self.overtaken = Overtaken(store)
        return self.overtaken


@pytest.fixture
def scene() -> Scene:
    return Scene()


@rule("C9", "DR-8")
@pytest.mark.parametrize("end", ["suspended", "revoked"])
def test_no_token_is_recorded_behind_what_ended_the_right_to_it(scene: Scene, end: str) -> None:
    client_id = scene.agent.client_id
    scene.overtaken.times = 1
    scene.overtaken.changes = [RevokeCredential(client_id, scene.agent.credential_id)]
    if end == "suspended":
        agent = scene.server.agent_of(client_id)
        scene.overtaken.changes = [Replace(replace(agent, state=AgentState.SUSPENDED, version=agent.version + 1))]
    answer = scene.server.token(scene.agent)
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    (event,) = scene.server.events()
    assert event["outcome"] == "denied"
    assert event["reason"] == {"suspended": "client.suspended", "revoked": "client.credential"}[end]


def test_a_change_that_leaves_the_right_leaves_the_token(scene: Scene) -> None:
    scene.overtaken.times = ATTEMPTS - 1
    answer = scene.server.token(scene.agent)
    assert answer.status == 200
    (event,) = scene.server.events()
    assert (event["outcome"], event["reason"]) == ("success", "issued")


def test_an_agent_that_is_changed_all_the_time_gets_no_answer_now_and_one_later(scene: Scene) -> None:
    scene.overtaken.times = ATTEMPTS
    answer = scene.server.token(scene.agent)
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    (event,) = scene.server.events()
    assert (event["outcome"], event["reason"]) == ("failed", "store.superseded")
    assert scene.server.token(scene.agent).status == 200

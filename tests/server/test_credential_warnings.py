from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.server.test_credential_ends import Countdown
from watchword.ports.agents import AgentState, Credential
from watchword.ports.store import Create, Replace
from watchword.server.credential_rules import CredentialRules
from watchword.server.credential_warnings import CredentialWarnings, Warned
from watchword.testing.records import NOON, make_agent, make_credential, make_event

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watch(Countdown):
    """Warnings of one server after the other, on one store."""

    def __init__(self, rules: CredentialRules | None = None) -> None:
        super().__init__()
        self.rules = rules or CredentialRules()
        self.warned_of: list[Warned] = []
        self.restart()

    def restart(self) -> None:
        self.warnings = CredentialWarnings(self.rules, self)

    def warned(self, warned: Warned) -> None:
        self.warned_of.append(warned)

    async def register(self, *credentials: Credential) -> None:
        await self.store.commit(make_event(), [Create(make_agent()), *map(Create, credentials)])

    async def said(self, days: float) -> list[str]:
        """Let time pass, and return the credentials of which something is said then."""
        self.clock.advance(days * DAY)
        before, events = len(self.warned_of), len(self.store.trail)
        term = await self.term()
        for job in self.warnings.jobs:
            await job.work(term)
        told = [one.credential_id for one in self.warned_of[before:]]
        recorded = [event for event in list(self.store.trail)[events:] if event.credential_id]
        assert [event.credential_id for event in recorded] == told
        return told


def ending(days: float, name: str = "a") -> Credential:
    return replace(make_credential(name), created_at=NOON, expires_at=NOON + days * DAY)


async def test_each_threshold_is_told_once() -> None:
    watch = Watch()
    await watch.register(ending(90), replace(make_credential("endless"), expires_at=None))
    assert [await watch.said(days) for days in (75, 0.9, 0.1, 5, 6, 1.9, 0.1, 1, 1)] == [
        *([], [], ["a"], [], ["a"], [], ["a"], [], []),
    ]
    event = next(event for event in watch.store.trail if event.action == "credential.expiring")
    assert (event.reason, event.client_id, str(event.outcome)) == ("expiring", "agent-1", "success")
    assert event.details["mark"].startswith("1209600 ")


async def test_another_node_or_the_next_start_does_not_say_it_again() -> None:
    watch = Watch()
    await watch.register(ending(90))
    assert await watch.said(76) == ["a"]
    watch.restart()
    assert await watch.said(0.5) == []
    watch.restart()
    assert await watch.said(11) == ["a"]


async def test_a_threshold_longer_than_the_whole_life_is_left_out() -> None:
    watch = Watch()
    await watch.register(ending(2))
    assert [await watch.said(days) for days in (0, 0.9, 0.1)] == [[], [], ["a"]]


async def test_nobody_is_warned_of_an_agent_that_is_deleted() -> None:
    watch = Watch()
    await watch.register(ending(30))
    await watch.store.commit(make_event(), [Replace(replace(make_agent(), state=AgentState.DELETED, version=2))])
    assert await watch.said(29) == []


@pytest.mark.parametrize(("is_used", "told"), [(False, ["old"]), (True, [])])
async def test_one_that_was_rotated_is_told_of_late_and_only_if_the_new_one_is_not_in_use(
    is_used: bool, told: list[str]
) -> None:
    watch = Watch()
    await watch.begin()
    if is_used:
        await watch.use("new")
    assert await watch.said(0.7) == []
    assert await watch.said(0.1) == told
    watch.restart()
    assert await watch.said(0.05) == []


async def test_a_secret_that_is_too_old_is_told_once() -> None:
    watch = Watch(CredentialRules(max_age=30 * DAY))
    await watch.register(replace(make_credential("a"), created_at=NOON, expires_at=None))
    assert [await watch.said(days) for days in (30, 0.1, 1)] == [[], ["a"], []]
    watch.restart()
    assert await watch.said(1) == []
    assert watch.store.trail[-1].action == "credential.old"


def test_without_an_age_nobody_looks_for_it() -> None:
    assert [job.name for job in CredentialWarnings(CredentialRules()).jobs] == ["warn_of_ends"]

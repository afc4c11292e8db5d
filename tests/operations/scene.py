"""A store in memory, a clock that stands still, and operators of every role."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from watchword.errors import Problem
from watchword.operations.agents import CreateAgent, NewAgent, create_agent
from watchword.operations.context import OperationContext, Peppers, Principal
from watchword.operations.resources import CreateResource, create_resource
from watchword.ports.agents import Resource, Role
from watchword.ports.audit import AuditEvent, Outcome
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore

ISSUER = "https://id.example"
PEPPERS = Peppers(client_secret=b"c" * 32, operator_token=b"o" * 32)


@dataclass
class Scene:
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FrozenClock = field(default_factory=FrozenClock)

    def context(self, role: Role | None = Role.MANAGER) -> OperationContext:
        return OperationContext(
            store=self.store,
            clock=self.clock,
            issuer=ISSUER,
            peppers=PEPPERS,
            principal=Principal(f"operator:{role}", role),
            request_id="req-1",
            peer="192.0.2.7",
        )

    @property
    def last(self) -> AuditEvent:
        return self.store.trail[-1]

    def summary(self) -> list[tuple[str, str, str]]:
        return [(event.action, str(event.outcome), event.reason) for event in self.store.trail]

    async def with_resource(
        self, name: str = "my-api", scopes: tuple[str, ...] = ("read:data", "write:data")
    ) -> Resource:
        return await create_resource(self.context(), CreateResource(name=name, scopes=scopes))

    async def with_agent(self, name: str = "reader", **members: object) -> NewAgent:
        return await create_agent(self.context(), CreateAgent(name=name, **members))

    async def refusal(self, operation, command: object, role: Role | None = Role.MANAGER) -> str:
        """Run what must be refused; return its reason, which the last event must have too."""
        events = len(self.store.trail)
        with pytest.raises(Problem) as caught:
            await operation(self.context(role), command)
        assert len(self.store.trail) == events + 1
        assert (self.last.outcome, self.last.reason) == (Outcome.DENIED, caught.value.reason)
        assert caught.value.detail
        return caught.value.reason

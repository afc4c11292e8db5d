"""The admin API over a store in memory, with an operator of every role."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2

from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.asgi.admin import build_admin_app
from watchword.operations.context import OperationContext, Peppers, Principal
from watchword.operations.operators import CreateOperator, OperatorTokens, create_operator
from watchword.ports.agents import Role
from watchword.ports.audit import AuditEvent
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore

ISSUER = "https://id.example/base"
PEPPERS = Peppers(client_secret=b"c" * 32, operator_token=b"o" * 32)
CURSOR_KEY = b"k" * 32


@dataclass
class Desk:
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FrozenClock = field(default_factory=FrozenClock)
    tokens: dict[Role, str] = field(default_factory=dict)

    async def open(self) -> Desk:
        context = OperationContext(
            store=self.store,
            clock=self.clock,
            issuer=ISSUER,
            peppers=PEPPERS,
            principal=Principal("local:test", Role.ADMIN),
        )
        for role in Role:
            new = await create_operator(context, CreateOperator(name=f"the-{role}", role=role))
            self.tokens[role] = new.token
        return self

    def app(self, **members: object):
        parts = {
            "store": self.store,
            "signer": FileSigner(MasterKey(bytes(range(32)))),
            "clock": self.clock,
            "issuer": ISSUER,
            "peppers": PEPPERS,
            "cursor_key": CURSOR_KEY,
            "authenticate": OperatorTokens(self.store, self.clock, PEPPERS.operator_token),
        }
        return build_admin_app(**{**parts, **members})

    def client(self, role: Role | None = Role.ADMIN, **members: object) -> httpx2.AsyncClient:
        headers = {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}
        transport = httpx2.ASGITransport(app=self.app(**members), client=("192.0.2.7", 50000))
        return httpx2.AsyncClient(transport=transport, base_url="https://id.example/admin/v1", headers=headers)

    @property
    def last(self) -> AuditEvent:
        return self.store.trail[-1]


def check_problem(response: httpx2.Response, status: int, reason: str) -> dict[str, object]:
    """The whole form of a problem, so that every test of a refusal proves it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert problem["reason"] == reason
    assert problem["type"] == f"urn:watchword:problem:{reason}"
    assert problem["status"] == status
    assert problem["trace_id"] == response.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    return problem

"""A random history of a store: what is asked of it, by a seed, and what it answers, without what is its own business."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from watchword.errors import Conflict, Superseded
from watchword.ports.agents import AgentState, Conditions, Role
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.keys import KeyState
from watchword.ports.revocations import PruneRevocations, Revoke
from watchword.ports.store import (
    Basis,
    Change,
    Create,
    DeletePermission,
    DeleteResource,
    Replace,
    RetireCredential,
    RevokeCredential,
    Store,
    StoreIdentity,
    TouchCredential,
)
from watchword.protocol.revocation import RevocationKind
from watchword.testing.records import (
    NOON,
    make_agent,
    make_credential,
    make_operator,
    make_permission,
    make_resource,
    make_revocation,
    make_signing_key,
)

LONGEST_GROUP = 24
FILTERED = ("action", "outcome", "reason", "client_id", "jti")


@dataclass(frozen=True, slots=True)
class Commit:
    """Some changes with their event; ``decided_on`` names the agent whose registration was read last."""

    event: AuditEvent
    changes: tuple[Change, ...]
    decided_on: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """A question by its name."""

    what: str
    arguments: tuple[object, ...] = ()


class Dice:
    """Throws operations. Few names, so that most of them meet something."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def operation(self) -> Commit | Read:
        return self._commit() if self._random.random() < 0.7 else self._read()

    def _name(self, noun: str, most: int = 12) -> str:
        odd = self._random.random() < 0.03
        return (
            self._random.choice(("", "a\x00", "a\x01", "é", "Z", "\U0001f916"))
            if odd
            else (f"{noun}-{self._random.randrange(most)}")
        )

    def _version(self) -> int:
        return self._random.choice((1, 2, 2, 2, 3, 3, 4, 5, 6))

    def _moment(self):
        return NOON + timedelta(microseconds=self._random.randrange(-(10**12), 10**12))

    def _event(self) -> AuditEvent:
        self._number += 1
        return AuditEvent(
            id=f"event-{self._number}",
            time=self._moment(),
            action=self._random.choice(("token.issue", "agent.create", "x")),
            outcome=self._random.choice(tuple(Outcome)),
            reason=self._random.choice(("ok", "no\x00t", "späť")),
            actor="operator:test",
            client_id=self._name("agent"),
            jti=self._random.choice(("", f"jti-{self._number}")),
        )

    def _commit(self) -> Commit:
        number = self._random.choice((0, 0, 1, 1, 1, 2, 3))
        decided_on = self._name("agent") if self._random.random() < 0.25 else None
        return Commit(self._event(), tuple(self._change() for _ in range(number)), decided_on)

    def _change(self) -> Change:
        return self._random.choice(
            (
                lambda: Create(self._agent()),
                lambda: Create(make_credential(self._name("credential", 30), client_id=self._name("agent"))),
                lambda: Create(self._resource()),
                lambda: Create(self._permission()),
                lambda: Create(self._operator()),
                lambda: Create(make_signing_key(self._name("key"), created_at=self._moment())),
                lambda: Replace(replace(self._agent(), version=self._version())),
                lambda: Replace(replace(self._agent(), version=self._version())),
                lambda: Replace(replace(self._resource(), require_pop=True, version=self._version())),
                lambda: Replace(replace(self._permission(), version=self._version())),
                lambda: Replace(replace(self._operator(), version=self._version())),
                lambda: Replace(replace(make_signing_key(self._name("key")), state=KeyState.ACTIVE, version=2)),
                lambda: Replace(StoreIdentity(generation=self._random.randrange(1, 4), version=self._version())),
                lambda: RevokeCredential(self._name("agent"), self._name("credential", 30)),
                lambda: DeletePermission(self._name("agent"), self._name("permission", 20)),
                lambda: DeleteResource(self._name("resource"), self._version() - 1),
                lambda: RetireCredential(
                    self._name("agent"), self._name("credential", 30), self._moment(), self._name("x")
                ),
                lambda: Revoke(self._revocation()),
                lambda: PruneRevocations(self._moment() - timedelta(minutes=30)),
                lambda: TouchCredential(self._name("credential", 30), self._moment(), "192.0.2.0/24"),
            )
        )()

    def _revocation(self):
        kind = self._random.choice(list(RevocationKind))
        return replace(
            make_revocation(self._name("target")), kind=kind, cutoff=self._moment(), expires_at=self._moment()
        )

    def _agent(self):
        state = self._random.choice((*AgentState, AgentState.ACTIVE, AgentState.SUSPENDED))
        agent = make_agent(self._name("agent"), name=self._name("name"), state=state)
        return replace(agent, labels={"a\x00": self._name("label")}, created_at=self._moment())

    def _resource(self):
        return make_resource(self._name("resource"), identifier=self._name("identifier", 14))

    def _permission(self):
        made = make_permission(
            self._name("permission", 20), client_id=self._name("agent"), resource=self._name("resource")
        )
        return replace(made, conditions=Conditions(not_after=self._moment(), source_networks=("192.0.2.0/24",)))

    def _operator(self):
        token = self._random.choice((b"", b"\x00", bytes([self._random.randrange(256)])))
        made = make_operator(self._name("operator", 6), name=self._name("operator", 6), token_hash=token)
        return replace(made, role=self._random.choice(tuple(Role)), is_disabled=self._random.random() < 0.3)

    def _read(self) -> Read:
        name, limit = self._name("agent"), self._random.choice((-1, 0, 1, 3, 100))
        state = self._random.choice((None, *AgentState))
        members = self._random.sample(FILTERED, self._random.randrange(3))
        wanted = {member: getattr(self._event(), member) for member in members}
        return self._random.choice(
            (
                Read("registration", (name,)),
                Read("credentials", (name,)),
                Read("find_agent", (self._random.choice((name, self._name("name"))),)),
                Read("agents", (name, limit, state)),
                Read("resource", (self._name("resource"),)),
                Read("resources", (self._name("resource"), limit)),
                Read("operator", (bytes([self._random.randrange(256)]),)),
                Read("operators"),
                Read("signing_keys"),
                Read("revocations", (self._random.randrange(9), limit)),
                Read("revocation_sequence"),
                Read("events", (limit, tuple(wanted.items()), self._random.random() < 0.5)),
                Read("heads"),
                Read("epoch"),
                Read("identity"),
            )
        )


def history(seed: int, number: int) -> list[Commit | Read]:
    """Return operations, the same for the same seed."""
    dice = Dice(seed)
    return [dice.operation() for _ in range(number)]


class Answers:
    """Asks a store all of a history; what commits say when many wait at once is part of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bases: dict[str, Basis] = {}
        self.told: list[object] = []

    async def ask(self, operations: Sequence[Commit | Read]) -> list[object]:
        waiting: list[Commit] = []
        for operation in operations:
            if isinstance(operation, Commit):
                waiting.append(operation)
            if waiting and (not isinstance(operation, Commit) or len(waiting) == LONGEST_GROUP):
                self.told += await asyncio.gather(*map(self._commit, waiting))
                waiting.clear()
            if isinstance(operation, Read):
                self.told.append(await self._read(operation))
        return self.told

    async def _commit(self, commit: Commit) -> str:
        basis = self._bases.get(commit.decided_on or "")
        try:
            await self._store.commit(commit.event, commit.changes, basis=basis)
        except (Conflict, Superseded) as refusal:
            return refusal.reason
        return "done"

    async def _read(self, read: Read) -> object:
        store, arguments = self._store, read.arguments
        if read.what == "registration":
            epoch, found = await store.epoch(), await store.registration(str(arguments[0]))
            if found is not None:
                self._bases[str(arguments[0])] = Basis(epoch, found)
            return found
        if read.what in {"agents", "resources", "events", "revocations"}:
            return await self._page(read)
        if read.what == "heads":
            return [(head.position, head.hash) for head in await store.heads()]
        ask: Callable[..., Awaitable[object]] = getattr(store, read.what)
        answer = await ask(*arguments)
        return list(answer) if isinstance(answer, list) else answer

    async def _page(self, read: Read) -> object:
        if read.what == "agents":
            after, limit, state = read.arguments
            return list(await self._store.agents(after=after, limit=limit, state=state))
        if read.what == "resources":
            after, limit = read.arguments
            return list(await self._store.resources(after=after, limit=limit))
        if read.what == "revocations":
            place, limit = read.arguments
            return list(await self._store.revocations(after=place, limit=limit))
        limit, filters, newest_first = read.arguments
        found = await self._store.events(limit=limit, filters=dict(filters), newest_first=newest_first)
        return [(event.position, event.payload, event.hash) for event in found]

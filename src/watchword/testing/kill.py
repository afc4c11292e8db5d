"""Kills a server in the middle of its work, again and again, and looks for what was promised and is not there.

Clients ask for tokens and operators make changes, each writing down what was acknowledged; the server and its workers are killed
at a moment that a seed decides; the store is read, and the server started again on it.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import apsw

from watchword.adapters.postgres import PostgresStore, with_database
from watchword.adapters.sqlite import SqliteStore
from watchword.ports.agents import Agent, AgentState, CredentialState
from watchword.ports.audit import StoredEvent
from watchword.ports.store import Store
from watchword.protocol.jose import parse_compact
from watchword.server.audit_chain import verify_chain
from watchword.testing.process import AgentSecret, ServerProcess

PAGE: Final = 5_000
_AT_WORK: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid()"
)
_NAMED_BY: Final = {
    "token.issue": "jti",
    "agent.create": "client_id",
    "agent.suspend": "client_id",
    "credential.revoke": "credential_id",
}
"""The member of the event of an action that says what it was done to."""


@dataclass(slots=True)
class Acknowledged:
    """What clients and operators were told. Appended to by many threads."""

    tokens: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    revoked: list[tuple[str, str]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """Statuses of answers that were neither a success nor 503."""


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: when, what had been acknowledged by then, how long the next start took, and what was wrong."""

    after: float
    tokens: int
    changes: int
    restart: float
    problems: tuple[str, ...]


class Killer:
    """Works one server. ``seed`` decides the moments."""

    def __init__(
        self, server: ServerProcess, *, seed: int, clients: int = 4, operators: int = 2, database: str | None = None
    ) -> None:
        """The server must be running. ``database`` is the URL of its store, where that is no file."""
        self._server = server
        self._database = database
        self._dice = random.Random(seed)  # noqa: S311 -- to be repeated by its seed
        self._clients = clients
        self._operators = operators
        self._agent = server.create_agent("load")
        self._names = iter(range(1, 10**9))
        self._told = 0
        self._succeeded: dict[str, set[str]] = {action: set() for action in _NAMED_BY}

    def round(self, longest: float = 1.0) -> Round:
        """Load it, kill it within ``longest`` seconds, look, start it again."""
        heard, stop = Acknowledged(), threading.Event()
        threads = [threading.Thread(target=self._ask, args=(heard, stop)) for _ in range(self._clients)]
        threads += [threading.Thread(target=self._administer, args=(heard, stop)) for _ in range(self._operators)]
        for thread in threads:
            thread.start()
        after = self._dice.uniform(0.02, longest)
        time.sleep(after)
        self._server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        problems = asyncio.run(self._look(heard))
        restart = self._server.start()
        status, _ = self._server.token(self._agent)
        if status != 200:
            problems.append(f"after the restart a good request is answered {status}")
        changes = len(heard.agents) + len(heard.suspended) + len(heard.revoked)
        return Round(after, len(heard.tokens), changes, restart, tuple(problems))

    def _ask(self, heard: Acknowledged, stop: threading.Event) -> None:
        wrong = AgentSecret(self._agent.client_id, "wrong")
        connection, number = self._server.connect(), 0
        while not stop.is_set():
            number += 1
            agent, expected = (wrong, 401) if number % 5 == 0 else (self._agent, 200)
            try:
                status, answer = self._server.token(agent, connection)
            except (OSError, ValueError):
                break  # killed; half an answer is no answer
            if status == 200:
                claims = json.loads(parse_compact(answer["access_token"], typ="at+jwt").payload)
                heard.tokens.append(str(claims["jti"]))
            if status not in (expected, 503):
                heard.refused.append(status)
        connection.close()

    def _administer(self, heard: Acknowledged, stop: threading.Event) -> None:
        """Create an agent, suspend it, revoke its credential; and once more."""
        while not stop.is_set():
            permission = {"resource": "my-api", "scopes": ["read:data"]}
            body = {"name": f"made-{next(self._names)}", "permissions": [permission]}
            try:
                client_id = self._change(heard, "POST", "/agents", body)["client_id"]
                heard.agents.append(client_id)
                self._change(heard, "POST", f"/agents/{client_id}/suspend", {})
                heard.suspended.append(client_id)
                _, listed = self._server.admin("GET", f"/agents/{client_id}/credentials")
                credential = listed["items"][0]["id"]
                self._change(heard, "DELETE", f"/agents/{client_id}/credentials/{credential}")
                heard.revoked.append((client_id, credential))
            except (OSError, ValueError, LookupError):
                break

    def _change(self, heard: Acknowledged, method: str, path: str, body: object = None) -> dict[str, str]:
        status, answer = self._server.admin(method, path, body)
        if status not in (200, 201):
            heard.refused.append(status)
            raise LookupError(status)
        return dict(answer)

    async def _look(self, heard: Acknowledged) -> list[str]:
        """Open what the killed server has left, and compare."""
        store = await self._open()
        try:
            problems = [f"answered {status}" for status in heard.refused]
            problems += await self._read_trail(store)
            problems += self._missing(heard)
            problems += await self._half_done(store, heard)
        finally:
            await store.close()
        return problems if self._database else problems + self._problems_of_file()

    async def _open(self) -> Store:
        """A database may still be at what the dead have asked for: it is let finish."""
        if self._database is None:
            return SqliteStore.open(self._server.data / "watchword.db")
        while await with_database(self._database, lambda db: db.fetchval(_AT_WORK)):
            pass
        return await PostgresStore.open(self._database)

    def _problems_of_file(self) -> list[str]:
        db = apsw.Connection(str(self._server.data / "watchword.db"), flags=apsw.SQLITE_OPEN_READONLY)
        found = [*db.execute("PRAGMA integrity_check"), *db.execute("PRAGMA foreign_key_check")]
        db.close()
        return [] if found == [("ok",)] else [f"the file: {found[:3]}"]

    async def _read_trail(self, store: Store) -> list[str]:
        """Note what the trail tells since the last round; follow its chain from the beginning."""
        events: list[StoredEvent] = []
        while page := await store.events(after=events[-1].cursor if events else 0, limit=PAGE):
            events += page
        for event in (json.loads(one.payload) for one in events[self._told :]):
            if event["outcome"] == "success" and (member := _NAMED_BY.get(event["action"])):
                self._succeeded[event["action"]].add(event[member])
        self._told = len(events)
        return [] if verify_chain(events, await store.heads()).is_sound else ["the chain is broken"]

    def _missing(self, heard: Acknowledged) -> list[str]:
        told = self._succeeded
        wanted: dict[str, Sequence[str]] = {
            "token.issue": heard.tokens,
            "agent.create": heard.agents,
            "agent.suspend": heard.suspended,
            "credential.revoke": [credential for _, credential in heard.revoked],
        }
        lost = {action: set(names) - told[action] for action, names in wanted.items()}
        twice = len(heard.tokens) - len(set(heard.tokens))
        return [
            *(f"{action} without event: {sorted(names)}" for action, names in lost.items() if names),
            *["jti"] * twice,
        ]

    async def _half_done(self, store: Store, heard: Acknowledged) -> list[str]:
        """Every agent has its credential, its permission and its event; every state has its event, and the other way round."""
        problems, told = [], self._succeeded
        agents: dict[str, Agent] = {}
        after = ""
        while page := await store.agents(after=after, limit=PAGE):
            agents |= {agent.client_id: agent for agent in page}
            after = page[-1].client_id
        if agents.keys() != told["agent.create"]:
            problems.append("agents and their events differ")
        if missing := {name for name in heard.agents if name not in agents}:
            problems.append(f"acknowledged and not there: {sorted(missing)}")
        suspended = {name for name, agent in agents.items() if agent.state is AgentState.SUSPENDED}
        if suspended != told["agent.suspend"]:
            problems.append("suspensions and their events differ")
        revoked = set()
        for name in agents:
            registration = await store.registration(name)
            if registration is None or not registration.credentials or not registration.permissions:
                problems.append(f"half an agent: {name}")
                continue
            ended = [one.id for one in registration.credentials if one.state is CredentialState.REVOKED]
            revoked.update(ended)
        if revoked != told["credential.revoke"]:
            problems.append("revocations and their events differ")
        return problems

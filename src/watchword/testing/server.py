"""A whole server in process: the real application over ASGI, a store in memory, a clock that stands still."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote_plus, urlencode

from watchword.adapters.master_key import MasterKey
from watchword.asgi.peer import SHOWN, Proxies, Shown
from watchword.clock import Clock
from watchword.compose import MutualTls, build_admin, build_app, build_core
from watchword.feeding import Feeding
from watchword.operations.operators import OperatorTokens
from watchword.ports.agents import (
    Agent,
    AgentState,
    Conditions,
    Credential,
    CredentialKind,
    CredentialState,
    Permission,
    Resource,
)
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.keys import KeyState
from watchword.ports.store import Change, Create, Replace, RevokeCredential, Store
from watchword.protocol import names
from watchword.protocol.client_secret import SecretKind, generate_secret, hash_secret
from watchword.server.credential_rules import NO_RULES, CredentialRules
from watchword.server.limits import Limits
from watchword.server.possession.dpop import DpopRules
from watchword.server.status_lists import StatusRules
from watchword.sharing import build_limits
from watchword.testing.answers import Answer, exchange
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.memory_replay import MemoryReplay

ISSUER = "https://auth.example.com"
FORM = "application/x-www-form-urlencoded"

T = TypeVar("T")
Headers = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered agent and its secret."""

    client_id: str
    secret: str = field(repr=False)
    credential_id: str = ""

    @property
    def basic(self) -> tuple[str, str]:
        """The ``Authorization`` header of RFC 6749 §2.3.1."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        return "authorization", "Basic " + b64encode(pair.encode()).decode()


async def _in_memory(_clock: Clock) -> Store:
    return MemoryStore()


class InProcessServer:
    """Registers straight in the store; asks over ASGI. Every method blocks; one event loop, in a thread, does the work of all.

    ``limited`` counts the requests that each limit has refused. ``through`` stands between the application and the store: a
    ``faults.FailingStore``, for one. ``new_store`` makes the store of each: tests that run on every store put another there.
    """

    new_store: ClassVar[Callable[[Clock], Coroutine[Any, Any, Store]]] = staticmethod(_in_memory)

    def __init__(
        self,
        *,
        issuer: str = ISSUER,
        clock: FrozenClock | None = None,
        through: Callable[[Store], Store] = lambda store: store,
        algorithms: Iterable[str] = ("ES256",),
        with_admin: bool = False,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        dpop: DpopRules = DpopRules(),  # noqa: B008 -- frozen
        mutual_tls: MutualTls | None = None,
        status_lists: StatusRules | None = None,
        proxies: Proxies = Proxies(),  # noqa: B008 -- frozen
        feeding: Feeding = Feeding(),  # noqa: B008 -- frozen
        credential_rules: CredentialRules = NO_RULES,
    ) -> None:
        self.clock = clock or FrozenClock()
        made = self.run(type(self).new_store(self.clock))
        self.store = cast("MemoryStore", made)  # what that has beyond the port is for tests that ask for it
        self.issuer = issuer
        self.replay = MemoryReplay(clock=self.clock)
        core = build_core(issuer, through(self.store), MasterKey(bytes(range(32))), clock=self.clock)
        core = replace(core, mutual_tls=mutual_tls, replay=self.replay, status_lists=status_lists)
        self.core = replace(core, credential_rules=credential_rules)
        self.peppers = self.core.peppers
        self.host = issuer.partition("://")[2].partition("/")[0]
        operators = OperatorTokens(self.core.store, self.clock, self.peppers.operator_token)
        hosts = frozenset({self.host})
        self.limited: Counter[str] = Counter()
        shared = build_limits(limits, lambda limit: self.limited.update([limit]))
        admin = build_admin(self.core, operators, hosts=hosts, limits=shared) if with_admin else None
        self.app = build_app(
            self.core, hosts=hosts, limits=shared, admin=admin, dpop=dpop, proxies=proxies, feeding=feeding
        )
        self._numbers = iter(range(1, 1_000_000))
        for algorithm in algorithms:
            self.add_signing_key(algorithm)

    @staticmethod
    def run(work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of this, in the event loop of all these servers; within a minute, or it never comes.

        Raises:
            TimeoutError
        """
        return asyncio.run_coroutine_threadsafe(work, _loop()).result(60)

    def add_signing_key(self, algorithm: str) -> str:
        """Make an active key; return its ``kid``."""
        key = self.run(self.core.signer.generate(algorithm, now=self.clock()))
        self.commit(Create(replace(key, state=KeyState.ACTIVE, activated_at=self.clock())))
        return key.kid

    def add_resource(
        self,
        name: str = "my-api",
        scopes: Sequence[str] = ("read:data", "write:data"),
        **facts: Any,  # noqa: ANN401 -- fields of Resource
    ) -> Resource:
        """Register a resource; its identifier is its name unless given."""
        facts.setdefault("identifier", name)
        resource = Resource(name=name, scopes=tuple(scopes), created_at=self.clock(), **facts)
        self.commit(Create(resource))
        return resource

    def add_agent(
        self,
        name: str = "reader",
        *,
        permissions: Mapping[str, Sequence[str]] | None = None,
        secret: str | None = None,
        conditions: Conditions = Conditions(),  # noqa: B008 -- frozen
        default_scopes: Sequence[str] = (),
        **facts: Any,  # noqa: ANN401 -- fields of Agent
    ) -> Registered:
        """Register an agent with one secret and permissions by resource name; the first is its default resource."""
        permissions = {"my-api": ("read:data",)} if permissions is None else permissions
        number = next(self._numbers)
        facts.setdefault("auth_methods", (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST))
        facts.setdefault("default_resource", next(iter(permissions), None))
        facts.setdefault("client_id", f"{name}-{number:08d}")
        agent = Agent(name=f"{name}-{number}", state=AgentState.ACTIVE, created_at=self.clock(), **facts)
        granted = [
            Create(
                Permission(
                    id=f"p{number}-{resource}",
                    client_id=agent.client_id,
                    resource=resource,
                    scopes=tuple(scopes),
                    default_scopes=tuple(default_scopes),
                    conditions=conditions,
                    created_at=self.clock(),
                )
            )
            for resource, scopes in permissions.items()
        ]
        self.commit(Create(agent), *granted)
        return self.add_secret(agent.client_id, secret)

    def add_secret(self, client_id: str, secret: str | None = None, **facts: Any) -> Registered:  # noqa: ANN401 -- fields of Credential
        """Give an agent one more secret."""
        secret = generate_secret(SecretKind.CLIENT) if secret is None else secret
        credential = Credential(
            id=f"c{next(self._numbers)}",
            client_id=client_id,
            kind=CredentialKind.CLIENT_SECRET,
            state=CredentialState.ACTIVE,
            created_at=self.clock(),
            secret_hash=hash_secret(secret, pepper=self.peppers.client_secret),
            **facts,
        )
        self.commit(Create(credential))
        return Registered(client_id, secret, credential.id)

    def set_state(self, client_id: str, state: AgentState) -> None:
        """Suspend, resume or delete."""
        agent = self.agent_of(client_id)
        self.commit(Replace(replace(agent, state=state, version=agent.version + 1)))

    def agent_of(self, client_id: str) -> Agent:
        """Return an agent as it is stored."""
        registration = self.run(self.store.registration(client_id))
        if registration is None:
            raise AssertionError(client_id)
        return registration.agent

    def revoke_secret(self, registered: Registered) -> None:
        """Revoke the one credential."""
        self.commit(RevokeCredential(registered.client_id, registered.credential_id))

    def commit(self, *changes: Change) -> None:
        """Change the store directly, with an event of its own."""
        event = AuditEvent(
            id="setup",
            time=self.clock(),
            action="test.setup",
            outcome=Outcome.SUCCESS,
            reason="setup",
            actor="local:test",
        )
        self.run(self.store.commit(event, changes))

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        peer: str = "192.0.2.7",
        host: str | None = None,
        shown: Shown | None = None,
    ) -> Answer:
        """Send one request as it is; ``host=""`` sends none. ``shown`` is what the TLS handshake has shown."""
        raw_path, _, query = path.partition("?")
        named = [("host", self.host if host is None else host)] if host != "" else []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": raw_path,
            "raw_path": raw_path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [
                (key.lower().encode(), value if isinstance(value, bytes) else value.encode())
                for key, value in [*named, *headers]
            ],
            "client": (peer, 50000),
            "server": ("127.0.0.1", 8020),
            "extensions": {} if shown is None else {SHOWN: shown},
        }
        return self.run(exchange(self.app, scope, body))

    def post(
        self,
        form: Mapping[str, str] | Sequence[tuple[str, str]] | str | bytes,
        *headers: tuple[str, str | bytes],
        **how: Any,  # noqa: ANN401 -- what ``ask`` takes
    ) -> Answer:
        """Post a form to the token endpoint."""
        body = form if isinstance(form, bytes) else form.encode() if isinstance(form, str) else urlencode(form).encode()
        path = self.issuer.partition("://")[2].partition("/")[2]
        prefix = f"/{path}" if path else ""
        typed = any(name.lower() == "content-type" for name, _ in headers)
        typed_headers = headers if typed else (("content-type", FORM), *headers)
        return self.ask("POST", how.pop("path", prefix + names.PATH_TOKEN), headers=typed_headers, body=body, **how)

    def token(self, agent: Registered, **form: str) -> Answer:
        """Ask for a token the usual way."""
        return self.post({"grant_type": "client_credentials", "scope": "read:data", **form}, agent.basic)

    def events(self, action: str = "token.issue") -> list[dict[str, Any]]:
        """Return the audit events of one action, oldest first."""
        stored = self.run(self.store.events(limit=100_000))
        events = [json.loads(one.payload) for one in stored]
        return [event for event in events if event["action"] == action]

    def last_event(self) -> dict[str, Any]:
        """Return the newest event of the token endpoint."""
        return self.events()[-1]

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(timedelta(seconds=seconds))


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Runs without a pause: a store may have work of its own to do between two requests."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="in-process servers", daemon=True).start()
    return loop

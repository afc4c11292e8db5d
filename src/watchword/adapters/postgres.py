"""The store in a PostgreSQL database that several machines may share: hand-written SQL, a few connections of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_chain import members
from watchword.adapters.postgres_changes import read_identity
from watchword.adapters.postgres_cluster import ClusterPart
from watchword.adapters.postgres_endings import EndingPart
from watchword.adapters.postgres_issuers import IssuerPart
from watchword.adapters.postgres_link import Connection, Link, Row
from watchword.adapters.postgres_lookups import Lookups
from watchword.adapters.postgres_place import is_elsewhere
from watchword.adapters.postgres_pulse import Pulse
from watchword.adapters.postgres_registration import of, read_registrations
from watchword.adapters.postgres_revocations import RevocationPart
from watchword.adapters.postgres_schema import check_schema, create, read_schema
from watchword.adapters.postgres_watch import Watch
from watchword.adapters.postgres_writer import Writer
from watchword.clock import Clock
from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.agents import Agent, AgentState, Credential, Operator, Registration, Resource
from watchword.ports.audit import AuditEvent, ChainHead, StoredEvent
from watchword.ports.keys import SigningKey
from watchword.ports.schema import Schema
from watchword.ports.store import Basis, Change, StoreIdentity

T = TypeVar("T")

_POLL_SECONDS: Final = 1.0
_READ_SECONDS: Final = 1.5
_PATIENCE: Final = 1.8
_SEARCH_SECONDS: Final = 30.0

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_LOGINS: Final = (
    f"SELECT (SELECT epoch FROM counters), asked.client_id, agents.client_id, {of('c', rows.CREDENTIAL)}"
    " FROM unnest($1::text[]) AS asked (client_id)"
    " LEFT JOIN agents ON agents.client_id = asked.client_id"
    ' LEFT JOIN credentials c ON c.client_id = asked.client_id ORDER BY c.id COLLATE "C"'
)
_NAMED: Final = (
    f"SELECT {rows.AGENT} FROM agents WHERE client_id = $1 OR (name = $1 AND state <> 'deleted')"
    " ORDER BY client_id = $1 DESC LIMIT 1"
)
_AGENTS: Final = (
    f"SELECT {rows.AGENT} FROM agents WHERE client_id > $1"
    " AND CASE WHEN $2 = '' THEN state <> 'deleted' ELSE state = $2 END ORDER BY client_id LIMIT $3"
)
_ONE_RESOURCE: Final = f"SELECT {rows.RESOURCE} FROM resources WHERE name = $1"
_RESOURCES: Final = f"SELECT {rows.RESOURCE} FROM resources WHERE name > $1 ORDER BY name LIMIT $2"
_ONE_OPERATOR: Final = f"SELECT {rows.OPERATOR} FROM operators WHERE token_hash = $1 AND token_hash <> ''"
_OPERATORS: Final = f"SELECT {rows.OPERATOR} FROM operators ORDER BY name, id"
_SIGNING_KEYS: Final = f"SELECT {rows.SIGNING_KEY} FROM signing_keys ORDER BY created_at, kid"
_HEADS: Final = "SELECT chain, position, hash FROM heads WHERE position > 0 ORDER BY chain"
_NOT_DURABLE: Final = (
    "the database has synchronous_commit = off: what it acknowledges it may lose. Turn it on for this user:"
    " ALTER ROLE ... SET synchronous_commit = on"
)


class PostgresStore(ClusterPart, IssuerPart, RevocationPart, EndingPart):
    """Implements ``ports.store.Store``. Belongs to the event loop in which it was opened.

    Every process has a chain of its own, named ``writer-`` and a number. All reads go to the server that takes writes.
    """

    def __init__(self, url: str, *, listens: bool) -> None:
        """Use ``open`` or ``create``."""
        self.pulse = pulse = Pulse()
        """Whether anything is heard of the database: for whoever else asks it."""
        self._reads = Link(url, seconds=_READ_SECONDS, patience=_PATIENCE, pulse=pulse)
        self._history = Link(url, seconds=_SEARCH_SECONDS, pulse=pulse)
        self._lookup = Link(url, pulse=pulse)
        self._watch = Watch(Link(url, seconds=_POLL_SECONDS, patience=_PATIENCE, pulse=pulse), listens=listens)
        self._writer = Writer(Link(url, pulse=pulse), self._watch)
        self._logins = Lookups(self._ask_logins)
        self._registrations = Lookups(self._ask_registrations)

    @classmethod
    async def create(cls, url: str, *, clock: Clock) -> PostgresStore:
        """Make the tables in a database that has none, and open it.

        Raises:
            BadSettings: store.exists, and as ``open``
            StoreUnavailable: it cannot be reached or written.
        """
        applied_at = rows.time_value(clock()) or 0
        await with_database(url, lambda db: create(db, applied_at=applied_at))
        return await cls.open(url)

    @classmethod
    async def open(cls, url: str, *, listens: bool = True) -> PostgresStore:
        """Open a database with tables that this program may work on; nothing is made or changed.

        Without ``listens`` a change made elsewhere is noticed by asking alone.

        Raises:
            BadSettings: store.missing, store.newer, store.older, store.checksum, store.encoding, store.server, store.not_durable
            StoreUnavailable: it cannot be reached.
        """
        await with_database(url, _check)
        store = cls(url, listens=listens)
        try:
            await store._watch.start()
        except BaseException:
            await store.close()
            raise
        return store

    async def commit(self, event: AuditEvent, changes: Sequence[Change] = (), *, basis: Basis | None = None) -> None:
        """Apply the changes and append the event, in one transaction shared with whoever else waits."""
        await self._writer.commit(event.canonical_bytes().decode(), members(event), tuple(changes), basis)

    async def check(self) -> None:
        """Read, and write a row through to the disk."""
        self.pulse.check()
        await self._watch.ask()
        await self._writer.commit("", (), (), None)

    async def close(self) -> None:
        """Finish what waits to be written and release every connection. Idempotent."""
        await self._writer.close()
        await self._watch.close()
        for link in (self._lookup, self._history, self._reads):
            await link.close()

    async def epoch(self) -> int:
        """Return the number of commits, of all nodes, that changed anything but a last use."""
        return self._watch.current()

    async def schema(self) -> Schema:
        """Return how the tables stand to this program."""
        return await self._read(read_schema)

    async def identity(self) -> StoreIdentity:
        """Return whose store this is."""
        return await self._read(read_identity)

    async def credentials(self, client_id: str) -> tuple[Credential, ...] | None:
        """Return the credentials of one client by id."""
        return await self._logins.find(rows.held(client_id))

    async def _ask_logins(self, client_ids: list[str]) -> dict[str, tuple[Credential, ...]]:
        asked = time.monotonic()
        answer = await self._lookup.read(lambda db: db.fetch(_LOGINS, client_ids))
        found: dict[str, tuple[Credential, ...]] = {}
        for row in answer:
            self._watch.note(row[0], asked)
            if row[2] is not None:
                made = (rows.build_credential(row[3:]),) if row[3] is not None else ()
                name = cast("str", row[1])
                found[name] = found.get(name, ()) + made
        return found

    async def registration(self, client_id: str) -> Registration | None:
        """Return everything about one client, read in one statement."""
        return await self._registrations.find(rows.held(client_id))

    async def _ask_registrations(self, client_ids: list[str]) -> dict[str, Registration]:
        asked = time.monotonic()
        epoch, found = await self._lookup.read(lambda db: read_registrations(db, client_ids))
        self._watch.note(epoch, asked)
        return found

    async def find_agent(self, name_or_id: str) -> Agent | None:
        """Return an agent by ``client_id``, or a not deleted one by name."""
        return await self._one(rows.build_agent, _NAMED, rows.held(name_or_id))

    async def agents(self, *, after: str, limit: int, state: AgentState | None = None) -> Sequence[Agent]:
        """Return a page of agents by ``client_id``."""
        wanted = state.value if state else ""
        return await self._many(rows.build_agent, _AGENTS, rows.held(after), wanted, max(limit, 0))

    async def resource(self, name: str) -> Resource | None:
        """Return one resource by name."""
        return await self._one(rows.build_resource, _ONE_RESOURCE, rows.held(name))

    async def resources(self, *, after: str, limit: int) -> Sequence[Resource]:
        """Return a page of resources by name."""
        return await self._many(rows.build_resource, _RESOURCES, rows.held(after), max(limit, 0))

    async def operator(self, token_hash: bytes) -> Operator | None:
        """Return an operator by the keyed hash of its credential; an empty hash is nobody's."""
        return await self._one(rows.build_operator, _ONE_OPERATOR, token_hash)

    async def operators(self) -> Sequence[Operator]:
        """Return all operators by name."""
        return await self._many(rows.build_operator, _OPERATORS)

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""
        return await self._many(rows.build_signing_key, _SIGNING_KEYS)

    async def events(
        self, *, after: int = 0, limit: int = 100, filters: Mapping[str, str] | None = None, newest_first: bool = False
    ) -> Sequence[StoredEvent]:
        """Return a page of events. Searching may read all of the trail, and has a connection of its own."""
        query, values = _search(after, limit, filters or {}, newest_first=newest_first)
        found = await self._read(lambda db: db.fetch(query, *values), self._history)
        return [rows.build_event(row) for row in found]

    async def heads(self) -> Sequence[ChainHead]:
        """Return the head of every chain, by name."""
        found = await self._read(lambda db: db.fetch(_HEADS))
        return [ChainHead(cast("str", row[0]), cast("int", row[1]), cast("bytes", row[2])) for row in found]

    async def _one(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> T | None:
        found = await self._many(build, query, *values)
        return found[0] if found else None

    async def _many(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> list[T]:
        async def read(db: Connection) -> list[T]:
            return [build(row) for row in await db.fetch(query, *values)]

        return await self._read(read)

    async def _read(self, work: Callable[[Connection], Awaitable[T]], link: Link | None = None) -> T:
        try:
            return await (link or self._reads).read(work)
        except (ValueError, TypeError) as error:
            if "encode" in str(error):
                raise
            detail = f"a row cannot be read ({error}): restore a backup"
            raise StoreUnavailable("store.damaged", detail=detail) from error


async def read_settings(url: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return settings of the database by name.

    Raises:
        BadSettings, StoreUnavailable
    """
    found = await with_database(
        url, lambda db: db.fetch("SELECT name, current_setting(name) FROM unnest($1::text[]) name", names)
    )
    return {str(row[0]): str(row[1]) for row in found}


async def was_put_back(url: str) -> bool:
    """Tell whether a copy of the store was put back here, and no generation was begun since.

    Raises:
        BadSettings, StoreUnavailable
    """
    return await with_database(url, is_elsewhere)


async def remove(url: str) -> None:
    """Remove the tables and all that is in them.

    Raises:
        StoreUnavailable
    """
    await with_database(url, lambda db: db.execute("DROP SCHEMA watchword CASCADE"))


async def with_database(url: str, work: Callable[[Connection], Awaitable[T]], *, seconds: float = _SEARCH_SECONDS) -> T:
    """Do something on a connection of its own, on which no statement takes longer than ``seconds``.

    Raises:
        StoreUnavailable
    """
    link = Link(url, seconds=seconds)
    try:
        return await link.read(work)
    finally:
        await link.close()


async def _check(db: Connection) -> None:
    if await db.fetchval("SHOW synchronous_commit") == "off":
        raise BadSettings("store.not_durable", detail=_NOT_DURABLE)
    await check_schema(db)


def _search(
    after: int, limit: int, filters: Mapping[str, str], *, newest_first: bool
) -> tuple[str, tuple[rows.Value, ...]]:
    """Return the query for a page of events and its values. Only known names reach the query's text."""
    if unknown := filters.keys() - set(rows.FILTERS):
        raise ValueError(f"no such filter: {sorted(unknown)}")
    wanted = [(name, rows.searched(filters[name])) for name in rows.FILTERS if name in filters]
    values: list[rows.Value] = [value for _, value in wanted if value is not None]
    numbers = iter(range(1, len(values) + 1))
    tests = [f"{name} IS NULL" if value is None else f"{name} = ${next(numbers)}" for name, value in wanted]
    if after or not newest_first:
        values.append(after)
        tests.append(f"cursor {'<' if newest_first else '>'} ${len(values)}")
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    order = "DESC" if newest_first else "ASC"
    values.append(max(limit, 0))
    return f"SELECT {rows.EVENT} FROM audit{where} ORDER BY cursor {order} LIMIT ${len(values)}", tuple(values)

"""The store in one SQLite file: reads inline, writes by one thread per process with group commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, cast

import apsw

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_cluster import ClusterPart, Work
from watchword.adapters.sqlite_endings import EndingPart
from watchword.adapters.sqlite_file import check_file, create_file
from watchword.adapters.sqlite_identity import read_identity
from watchword.adapters.sqlite_issuers import IssuerPart
from watchword.adapters.sqlite_reader import Reader
from watchword.adapters.sqlite_registration import ONE_AGENT, ONE_RESOURCE, read_registration
from watchword.adapters.sqlite_revocations import RevocationPart
from watchword.adapters.sqlite_schema import read_epoch, read_schema
from watchword.adapters.sqlite_values import Values
from watchword.adapters.sqlite_writer import Unit, Writer
from watchword.clock import Clock
from watchword.errors import StoreUnavailable
from watchword.ports.agents import Agent, AgentState, Credential, Operator, Registration, Resource
from watchword.ports.audit import AuditEvent, ChainHead, StoredEvent
from watchword.ports.keys import SigningKey
from watchword.ports.schema import Schema
from watchword.ports.store import Basis, Change, StoreIdentity

_QUIET_TURNS: Final = 7
"""As many turns of the event loop as a request takes until it commits: in a turn that brings none, others may be on their way."""
_LONGEST_GATHERING: Final = 0.01
"""Seconds."""

_FILTERS: Final = ("action", "outcome", "reason", "actor", "client_id", "request_id", "jti")

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_NAMED_AGENT: Final = f"SELECT {rows.AGENT} FROM agents WHERE name = ? AND state <> 'deleted'"
_AGENTS: Final = (
    f"SELECT {rows.AGENT} FROM agents WHERE client_id > ?1 AND CASE WHEN ?2 = '' THEN state <> 'deleted' ELSE state = ?2 END"
    " ORDER BY client_id LIMIT ?3"
)
_LOGINS_OF: Final = (
    f"SELECT {rows.CREDENTIAL} FROM credentials WHERE client_id = ?1"
    f" UNION ALL SELECT {', '.join(['NULL'] * len(rows.CREDENTIAL.split(',')))} FROM agents WHERE client_id = ?1"
)
"""The credentials of one client and, where the client is known, a row of nothing: two searches, whether it is or not."""
_NOBODY: Final = (
    "SELECT '', '', 'client_secret', 'active', 0, '', NULL, NULL, 0, '', zeroblob(32), '{}', NULL, NULL, NULL, 0"
)
"""A credential in place of the one that an unknown client does not have: two microseconds that would tell."""
_RESOURCES: Final = f"SELECT {rows.RESOURCE} FROM resources WHERE name > ? ORDER BY name LIMIT ?"
_ONE_OPERATOR: Final = f"SELECT {rows.OPERATOR} FROM operators WHERE token_hash = ? AND token_hash <> x''"
_OPERATORS: Final = f"SELECT {rows.OPERATOR} FROM operators ORDER BY name, id"
_SIGNING_KEYS: Final = f"SELECT {rows.SIGNING_KEY} FROM signing_keys ORDER BY created_at, kid"
_HEADS: Final = "SELECT chain, position, hash FROM heads ORDER BY chain"


class SqliteStore(ClusterPart, IssuerPart, RevocationPart, EndingPart):
    """Implements ``ports.store.Store``. Several processes may have the same file open. One chain, named ``local``.

    Searching the trail may read all of it, so it runs on a thread of its own; all other reads are quick and run inline.
    """

    def __init__(self, path: Path) -> None:
        """Use ``open`` or ``create``."""
        self._reader = Reader(path)
        self._history = Reader(path)
        self._searches = ThreadPoolExecutor(1, "watchword-history")
        self._writer = Writer(path)
        self._epoch_of_turn: tuple[asyncio.AbstractEventLoop | None, int] = (None, 0)
        self._waiting: dict[asyncio.AbstractEventLoop, list[Unit]] = {}
        self._latest_batch = 1

    @classmethod
    def create(cls, path: Path, *, clock: Clock) -> SqliteStore:
        """Make a new database and open it.

        Raises:
            BadSettings: store.exists, store.sqlite.
            StoreUnavailable: it cannot be written.
        """
        create_file(path, now=clock())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Open an existing database whose tables this program may work on; nothing is made or changed.

        Raises:
            BadSettings: store.missing, store.foreign, store.permission, store.newer, store.older, store.checksum,
                store.sqlite.
            StoreUnavailable: store.damaged, or it cannot be read.
        """
        path = path.resolve()
        check_file(path)
        return cls(path)

    async def commit(self, event: AuditEvent, changes: Sequence[Change] = (), *, basis: Basis | None = None) -> None:
        """Apply the changes and append the event, in one transaction shared with whoever else waits."""
        await self._write(event.canonical_bytes().decode(), tuple(changes), basis)

    async def check(self) -> None:
        """Read, and write a row through to the disk."""
        self._read_epoch()
        await self._write("", ())

    async def _do(self, work: Work) -> int | None:
        return await self._write("", (), work=work)

    async def _write(
        self, payload: str, changes: tuple[Change, ...], basis: Basis | None = None, work: Work | None = None
    ) -> int | None:
        """Wait for one unit; those that begin to wait within a few turns of the event loop go to the writer together."""
        self._writer.check_open()
        loop = asyncio.get_running_loop()
        unit = Unit(payload, changes, loop, loop.create_future(), basis, work)
        waiting = self._waiting.get(loop)
        if waiting is None:
            self._waiting[loop] = [unit]
            loop.call_soon(self._gather, loop, 0, 0)
        else:
            waiting.append(unit)
        return await unit.done

    def _gather(self, loop: asyncio.AbstractEventLoop, known: int, quiet: int) -> None:
        """Hand over what waits once no more has come for some turns: a flush costs as much as the work of a whole request.

        One that is alone, as the one before it was, waits for nobody.
        """
        units = self._waiting.get(loop, ())
        quiet = quiet + 1 if len(units) == known else 0
        has_company = len(units) > 1 or self._latest_batch > 1
        if units and has_company and quiet < _QUIET_TURNS and time.monotonic() < units[0].since + _LONGEST_GATHERING:
            loop.call_soon(self._gather, loop, len(units), quiet)
        else:
            self._hand_over(loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the writer what waits on a loop. One by one, each unit would get a flush of its own: the writer is too quick."""
        units = self._waiting.pop(loop, None)
        if units:
            self._latest_batch = len(units)
            self._writer.submit(units)

    async def close(self) -> None:
        """Finish what is queued and release every file. Idempotent."""
        self._hand_over(asyncio.get_running_loop())
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._searches.shutdown()
        self._history.close()
        self._reader.close()

    async def epoch(self) -> int:
        """Return the number of commits, of all processes, that changed anything but a last use."""
        return self.epoch_now()

    def epoch_now(self) -> int:
        """Return the same, in a thread with a running event loop.

        Read once for all requests of one turn of the loop: each of them had arrived when the turn began.
        """
        loop = asyncio.get_running_loop()
        known, count = self._epoch_of_turn
        if known is not loop:
            count = self._read_epoch()
            self._epoch_of_turn = (loop, count)
            loop.call_soon(self._end_turn)
        return count

    def _end_turn(self) -> None:
        self._epoch_of_turn = (None, 0)

    def _read_epoch(self) -> int:
        with self._reader as db:
            return read_epoch(db)

    async def schema(self) -> Schema:
        """Return how the tables stand to this program."""
        with self._reader as db:
            return read_schema(db)

    async def identity(self) -> StoreIdentity:
        """Return whose store this is."""
        with self._reader as db:
            return read_identity(db)

    async def credentials(self, client_id: str) -> tuple[Credential, ...] | None:
        """Return the credentials of one client by id: two searches by key and a record made, whether it is known or not."""
        with self._reader as db:
            found = db.execute(_LOGINS_OF, (client_id,)).fetchall()
            made = [rows.build_credential(row) for row in found or db.execute(_NOBODY) if row[0] is not None]
            return tuple(sorted(made, key=lambda one: one.id)) if len(found) > len(made) else None

    async def registration(self, client_id: str) -> Registration | None:
        """Return everything about one client, read in one moment."""
        with self._reader as db:
            return read_registration(db, client_id)

    async def find_agent(self, name_or_id: str) -> Agent | None:
        """Return an agent by ``client_id``, or a not deleted one by name."""
        with self._reader as db:
            row = db.execute(ONE_AGENT, (name_or_id,)).fetchone() or db.execute(_NAMED_AGENT, (name_or_id,)).fetchone()
            return None if row is None else rows.build_agent(row)

    async def agents(self, *, after: str, limit: int, state: AgentState | None = None) -> Sequence[Agent]:
        """Return a page of agents by ``client_id``."""
        with self._reader as db:
            found = db.execute(_AGENTS, (after, state.value if state else "", max(limit, 0)))
            return [rows.build_agent(row) for row in found]

    async def resource(self, name: str) -> Resource | None:
        """Return one resource by name."""
        with self._reader as db:
            row = db.execute(ONE_RESOURCE, (name,)).fetchone()
            return None if row is None else rows.build_resource(row)

    async def resources(self, *, after: str, limit: int) -> Sequence[Resource]:
        """Return a page of resources by name."""
        with self._reader as db:
            return [rows.build_resource(row) for row in db.execute(_RESOURCES, (after, max(limit, 0)))]

    async def operator(self, token_hash: bytes) -> Operator | None:
        """Return an operator by the keyed hash of its credential; an empty hash is nobody's."""
        with self._reader as db:
            row = db.execute(_ONE_OPERATOR, (token_hash,)).fetchone()
            return None if row is None else rows.build_operator(row)

    async def operators(self) -> Sequence[Operator]:
        """Return all operators by name."""
        with self._reader as db:
            return [rows.build_operator(row) for row in db.execute(_OPERATORS)]

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""
        with self._reader as db:
            return [rows.build_signing_key(row) for row in db.execute(_SIGNING_KEYS)]

    async def events(
        self, *, after: int = 0, limit: int = 100, filters: Mapping[str, str] | None = None, newest_first: bool = False
    ) -> Sequence[StoredEvent]:
        """Return a page of events."""
        query, values = _search(after, limit, filters or {}, newest_first=newest_first)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._searches, partial(self._search, query, values))
        except RuntimeError as error:  # no new work after shutdown
            raise StoreUnavailable("store.closed") from error

    def _search(self, query: str, values: Values) -> list[StoredEvent]:
        with self._history as db:
            return [rows.build_event(row) for row in db.execute(query, values)]

    async def heads(self) -> Sequence[ChainHead]:
        """Return the head of every chain, by name."""
        with self._reader as db:
            found = db.execute(_HEADS)
            return [ChainHead(cast("str", row[0]), cast("int", row[1]), cast("bytes", row[2])) for row in found]


def _search(
    after: int, limit: int, filters: Mapping[str, str], *, newest_first: bool
) -> tuple[str, tuple[apsw.SQLiteValue, ...]]:
    """Return the query for a page of events and its values. Only known names reach the query's text."""
    if unknown := filters.keys() - set(_FILTERS):
        raise ValueError(f"no such filter: {sorted(unknown)}")
    wanted = [(name, filters[name]) for name in _FILTERS if name in filters]
    tests = [f"{name} = ?" if value else f"{name} IS NULL" for name, value in wanted]
    values: list[apsw.SQLiteValue] = [value for _, value in wanted if value]
    if after or not newest_first:
        tests.append("cursor < ?" if newest_first else "cursor > ?")
        values.append(after)
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    order = "DESC" if newest_first else "ASC"
    return f"SELECT {rows.EVENT} FROM audit{where} ORDER BY cursor {order} LIMIT ?", (*values, max(limit, 0))

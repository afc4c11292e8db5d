"""The memory of presented ids in the database that the nodes share: all that is claimed at once is one statement.

A database may be put back from an older copy, and a standby that takes over may know less than the server before it. So the
state of the memory names the life of the database in which it was written, and every claim looks, in its own statement, whether
that is still the same; where it is not, memory may have been lost, and the horizon rises.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, cast

import structlog

from watchword.adapters.postgres_failures import AGAIN, Failed, unavailable
from watchword.adapters.postgres_link import Connection, Link
from watchword.adapters.postgres_pulse import BEAT_SECONDS, Pulse
from watchword.clock import Clock, system_clock
from watchword.errors import ReplayUnavailable, StoreUnavailable
from watchword.ports.replay import Claim, Verdict, build_claim, milliseconds

log = structlog.get_logger("watchword.server")

CAPACITY: Final = 4_000_000
"""Ids remembered at once, as the database estimates; beyond it nothing new is taken."""

MAX_SKEW: Final = 10_000
"""Milliseconds by which a node's clock and the database's may differ; beyond it nothing is claimed."""

SWEEP_SECONDS: Final = 5.0
PATIENCE: Final = 0.5  # seconds that a claim waits for its answer
_ATTEMPT_SECONDS: Final = 1.8
_KEPT_LONGER: Final = 60_000
_SWEPT_AT_ONCE: Final = 20_000
_LARGEST_BATCH: Final = 1024
_ATTEMPTS: Final = 5
_FAILURES: Final[tuple[type[Exception], ...]] = (*Failed, StoreUnavailable)

_LIFE: Final = (
    "(SELECT system_identifier FROM pg_control_system())::text || ' ' ||"
    " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' || 'replay_claims'::regclass::oid::text"
)
"""The cluster, its timeline, the table: a copy put back has another table or cluster, a standby that took over a new timeline."""

# ruff: noqa: S608 -- constants of this adapter; every value is bound
_CLAIM: Final = f"""
WITH facts AS (
    SELECT horizon, swept, life = {_LIFE} AS is_whole,
           (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
           pg_stat_get_live_tuples('replay_claims'::regclass) AS known
    FROM replay_state
), made AS (
    INSERT INTO replay_claims (key, until)
    SELECT given.key, given.until
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS given (key, since, until), facts
    WHERE is_whole AND abs(now - $4) <= $5 AND known < $6 AND given.since > horizon AND given.until > swept
    ORDER BY given.key
    ON CONFLICT (key) DO NOTHING RETURNING key
)
SELECT is_whole, now, known, horizon, swept, ARRAY(SELECT key FROM made) FROM facts
"""
_BEGIN_LIFE: Final = f"""
UPDATE replay_state AS state
SET life = {_LIFE}, horizon = greatest(state.horizon, state.swept, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1)
FROM (SELECT life FROM replay_state) AS before
WHERE state.life <> {_LIFE} RETURNING CASE WHEN before.life <> '' THEN state.horizon END
"""
_FIRST_LIFE: Final = f"UPDATE replay_state SET life = {_LIFE} WHERE life = ''"
_SWEEP: Final = """
WITH over AS (
    SELECT key FROM replay_claims WHERE until < $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM replay_claims USING over WHERE replay_claims.key = over.key RETURNING replay_claims.until
), latest AS (
    SELECT max(until) AS until FROM gone
)
UPDATE replay_state SET swept = greatest(swept, latest.until) FROM latest WHERE latest.until IS NOT NULL
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    claim: Claim
    done: asyncio.Future[Verdict]
    since: float = field(default_factory=time.monotonic)
    answer: Verdict | ReplayUnavailable = field(default=Verdict.UNSURE)

    def hurry(self, latest: float) -> None:
        """Refuse, if it waits since before a moment: it may be claimed all the same, and nobody then is the first."""
        if self.since <= latest and not self.done.done():
            self.done.set_exception(ReplayUnavailable("replay.unavailable", detail="the database takes too long"))

    def settle(self) -> None:
        if self.done.done():
            return
        if isinstance(self.answer, ReplayUnavailable):
            self.done.set_exception(self.answer)
        else:
            self.done.set_result(self.answer)


class PostgresReplay:
    """Implements ``ports.replay.Replay`` in the database of the store, over a connection of its own."""

    def __init__(self, url: str, *, clock: Clock, capacity: int, pulse: Pulse | None) -> None:
        """Use ``open``."""
        self._link = Link(url, patience=_ATTEMPT_SECONDS, pulse=pulse)
        self._sweeps = Link(url, pulse=pulse)
        self._clock = clock
        self._capacity = capacity
        self._waiting: list[_Waiting] = []
        self._batch: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._is_closed = False
        self._tasks = [
            asyncio.create_task(self._run(), name="watchword-replay"),
            asyncio.create_task(self._sweep(), name="watchword-replay-sweep"),
        ]

    @classmethod
    async def open(
        cls, url: str, *, clock: Clock = system_clock, capacity: int = CAPACITY, pulse: Pulse | None = None
    ) -> PostgresReplay:
        """Open the memory of all nodes that have their store there. ``pulse`` is that of the store.

        Raises:
            ReplayUnavailable: replay.unavailable, replay.clock
        """
        replay = cls(url, clock=clock, capacity=capacity, pulse=pulse)
        try:
            await replay._begin_life()
            await replay.check()
        except BaseException:
            await replay.close()
            raise
        return replay

    async def claim(self, namespace: str, identifier: str, *, since: datetime, until: datetime) -> Verdict:
        """Claim an id, once; durable as the database's ``synchronous_commit`` says."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")
        claim = build_claim(namespace, identifier, since, until)
        one = _Waiting(claim, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._wake.set()
        return await one.done

    async def check(self) -> None:
        """Claim nothing, as if it were something."""
        if self._is_closed:
            raise ReplayUnavailable("replay.closed")
        try:
            await self._claim([])
        except _FAILURES as error:
            raise _out_of_reach(error) from error

    async def close(self) -> None:
        """Answer what waits, then release the connections. Idempotent."""
        self._is_closed = True
        self._wake.set()
        claiming, sweeping = self._tasks
        sweeping.cancel()
        await asyncio.gather(claiming, sweeping, return_exceptions=True)
        await self._link.close()
        await self._sweeps.close()

    async def _run(self) -> None:
        while not (self._is_closed and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0)  # who begins to wait in this turn comes along
            while self._waiting:
                batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
                self._batch = batch
                timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._hurry, batch)
                await self._serve(batch)
                timer.cancel()
                self._batch = []
                for one in batch:
                    one.settle()

    def _hurry(self, batch: Sequence[_Waiting]) -> None:
        """Refuse whoever has waited too long, for this batch or for the next, until this one is through."""
        if self._batch is batch:
            latest = time.monotonic() - PATIENCE
            for one in (*batch, *self._waiting):
                one.hurry(latest)
            self._waiting = [one for one in self._waiting if not one.done.done()]
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self._hurry, batch)

    async def _serve(self, batch: Sequence[_Waiting]) -> None:
        fault: ReplayUnavailable
        try:
            await self._claim(batch)
        except ReplayUnavailable as error:
            fault = error
        except _FAILURES as error:
            fault = _out_of_reach(error)
        except Exception as error:  # noqa: BLE001 -- a dead task would leave every later claim waiting for ever
            fault = ReplayUnavailable("replay.unavailable", detail=f"{type(error).__name__}: {error}")
        else:
            return
        for one in batch:
            one.answer = ReplayUnavailable(fault.reason, detail=fault.detail)

    async def _claim(self, batch: Sequence[_Waiting]) -> None:
        """Give every claim of the batch its answer.

        Raises:
            ReplayUnavailable, StoreUnavailable, and what the library raises: nobody was told that he is the first.
        """
        now = milliseconds(self._clock())
        first: dict[bytes, _Waiting] = {}
        for one in batch:
            if one.claim.is_remembered(now=now, horizon=-1, swept=-1):
                first.setdefault(one.claim.key, one)
        fitting = [one.claim for one in first.values()]
        whole, database_now, known, horizon, swept, made = await self._ask(fitting, now)
        if not whole:
            await self._begin_life()
            raise ReplayUnavailable("replay.unavailable", detail="the database may have forgotten what it was told")
        if abs(database_now - now) > MAX_SKEW:
            raise ReplayUnavailable(
                "replay.clock", detail="the clocks of this machine and the database differ by more than 10 s"
            )
        winners = set(made)
        for one in batch:
            key = one.claim.key
            if key in winners and first[key] is one:
                one.answer = Verdict.FIRST
            elif not one.claim.is_remembered(now=now, horizon=horizon, swept=swept):
                one.answer = Verdict.UNSURE
            elif known >= self._capacity and key not in winners:
                one.answer = ReplayUnavailable("replay.full", detail=f"{known} ids are remembered")
            else:
                one.answer = Verdict.REPEATED

    async def _ask(self, claims: Sequence[Claim], now: int) -> tuple[bool, int, int, int, int, list[bytes]]:
        keys, begins, ends = ([getattr(claim, name) for claim in claims] for name in Claim.__slots__)

        async def ask(db: Connection) -> object:
            return await db.fetchrow(_CLAIM, keys, begins, ends, now, MAX_SKEW, self._capacity)

        for attempt in range(_ATTEMPTS):
            try:
                return cast("tuple[bool, int, int, int, int, list[bytes]]", await self._link.write(ask))
            except AGAIN:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.01 * 2**attempt)
        raise TypeError("unreachable")

    async def _begin_life(self) -> None:
        """Raise the horizon if this is not the life in which the state was written."""
        try:
            horizon = await self._link.write(lambda db: db.fetchval(_BEGIN_LIFE, MAX_SKEW))
        except _FAILURES as error:
            raise _out_of_reach(error) from error
        if isinstance(horizon, int):
            log.warning("replay_lost", horizon=datetime.fromtimestamp(horizon / 1000, UTC).isoformat())

    async def _sweep(self) -> None:
        """Forget, now and then, some of what has been over for a minute."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with suppress(*_FAILURES):
                await self._sweeps.write(self._forget)

    async def _forget(self, db: Connection) -> None:
        await db.execute(_SWEEP, milliseconds(self._clock()) - _KEPT_LONGER, _SWEPT_AT_ONCE)


def _out_of_reach(error: BaseException) -> ReplayUnavailable:
    fault = unavailable(error)
    return ReplayUnavailable("replay.unavailable", detail=fault.detail or fault.reason)


async def begin_first_life(url: str) -> None:
    """Say that these tables were made a moment ago: nothing was ever presented there, so nothing can be forgotten.

    Raises:
        StoreUnavailable
    """
    from watchword.adapters.postgres import with_database

    await with_database(url, lambda db: db.execute(_FIRST_LIFE))

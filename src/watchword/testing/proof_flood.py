"""A flood of DPoP proofs against the server's own memory of them: does it stay bounded, and is any accepted twice?

Real proofs through ``server/possession/dpop.py`` into a real ``replay.db``. The clock is ours: how many come in a second is a
choice, and a flood that would take an hour takes as long as its signatures do.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import sys
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters.sqlite_replay import CAPACITY, SqliteReplay
from watchword.errors import WatchwordError
from watchword.ports.agents import Registration
from watchword.ports.store import Basis
from watchword.protocol.dpop import build_proof
from watchword.protocol.dpop_nonces import Nonces
from watchword.protocol.private_keys import generate_private_key
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.entry import Peer, Request
from watchword.server.possession.dpop import DpopPossession, DpopRules
from watchword.server.single_use import SingleUse
from watchword.testing.clock import FrozenClock
from watchword.testing.records import make_agent, make_credential

URL: Final = "https://login.example.com/oauth/token"
AT_ONCE: Final = 500
ACCEPTED: Final = "accepted"
_STORED: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Flood:
    """What came of a flood. ``largest`` are the bytes on the disk, at most, ``most`` the proofs that were remembered at once."""

    first: Counter[str]
    again: Counter[str]
    largest: int
    most: int
    memory: int

    @property
    def twice(self) -> int:
        """How many were accepted that had been accepted before."""
        return self.again[ACCEPTED]


class Flooder:
    """Sends so many proofs a second of its own time; ``share`` of those that were accepted are sent again."""

    def __init__(self, folder: Path, *, rate: int, share: float = 0.1, capacity: int = CAPACITY) -> None:
        self._folder = folder
        self._rate = rate
        self._every = max(1, round(1 / share))
        self._clock = FrozenClock()
        self._replay = SqliteReplay.open(folder / "replay.db", clock=self._clock, capacity=capacity)
        nonces = Nonces(secrets.token_bytes(32), "flood")
        self._door = DpopPossession((URL,), SingleUse(self._replay), nonces, DpopRules())
        self._key = generate_private_key("ES256")
        agent = make_agent()
        registration = Registration(agent=agent, credentials=(make_credential(),), permissions=(), resources={})
        self._client = AuthenticatedAgent(Basis(0, registration), make_credential(), "client_secret_basic")
        self._clock.advance(_STORED)  # of what came before it began, the memory knows nothing: that is another test

    async def run(self, number: int) -> Flood:
        """Send ``number`` proofs, and again some of them: at once, and near the end of their time."""
        first: Counter[str] = Counter()
        again: Counter[str] = Counter()
        late: deque[tuple[datetime, list[str]]] = deque()
        largest, most, sent, began = 0, 0, 0, _memory()
        while sent < number:
            proofs = [self._make() for _ in range(min(AT_ONCE, number - sent))]
            outcomes = await self._send(proofs)
            first.update(outcomes)
            taken = [one for one, came in zip(proofs, outcomes, strict=True) if came == ACCEPTED][:: self._every]
            again.update(await self._send(taken))
            late.append((self._clock() + timedelta(seconds=59), taken))
            sent += len(proofs)
            self._clock.advance(timedelta(seconds=len(proofs) / self._rate))
            while late and late[0][0] <= self._clock():
                again.update(await self._send(late.popleft()[1]))
            largest, most = max(largest, self._size()), max(most, self._remembered())
        await self._replay.close()
        return Flood(first, again, largest, most, _memory() - began)

    async def _send(self, proofs: list[str]) -> list[str]:
        return await asyncio.gather(*map(self._outcome, proofs))

    async def _outcome(self, proof: str) -> str:
        request = Request(
            id="flood",
            method="POST",
            path="/oauth/token",
            query=b"",
            headers=((b"dpop", proof.encode()),),
            body=b"",
            peer=Peer("192.0.2.7"),
            received_at=self._clock(),
        )
        try:
            await self._door.prove(request, self._client)
        except WatchwordError as refused:
            return refused.reason
        return ACCEPTED

    def _make(self) -> str:
        return build_proof(self._key, method="POST", url=URL, jti=secrets.token_urlsafe(12), issued_at=self._clock())

    def _remembered(self) -> int:
        database = apsw.Connection(str(self._folder / "replay.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return int(str(database.execute("SELECT count(*) FROM claims").get))
        finally:
            database.close()

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("replay.db*"))


def _memory() -> int:
    """Return the most memory that this process ever had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

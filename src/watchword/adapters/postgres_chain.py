"""The hash chain of one writer: taken from those that nobody uses, written to by its owner alone, given back at the end.

Two writers can never have the same chain: each batch is written on the condition that the chain still has this owner and this
end. So a chain may be taken over at any time; whoever had it finds out with the next batch, of which then nothing is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from watchword.adapters.postgres_link import Connection
from watchword.ports.audit import GENESIS, AuditEvent, link

_IDLE_SECONDS: Final = 60
"""After so long without a batch a chain may be taken by another writer, for its own has probably ended."""

_KEEP: Final = (
    "UPDATE heads SET owner = $3, used_at = now() WHERE chain = $1 AND owner = $2 RETURNING chain, position, hash"
)
_TAKE: Final = """
UPDATE heads SET owner = $1, used_at = now() WHERE chain = (
    SELECT chain FROM heads WHERE owner = '' OR used_at < now() - $2 * interval '1 second' ORDER BY chain LIMIT 1 FOR UPDATE
) RETURNING chain, position, hash
"""
_MAKE: Final = (
    "INSERT INTO heads (chain, position, hash, owner, used_at)"
    " SELECT 'writer-' || (count(*) + 1), 0, $2, $1, now() FROM heads"
    " ON CONFLICT (chain) DO NOTHING RETURNING chain, position, hash"
)
_GIVE_BACK: Final = "UPDATE heads SET owner = '' WHERE chain = $1 AND owner = $2"
_STANDS: Final = "SELECT 1 FROM audit WHERE chain = $1 AND position = $2 AND hash = $3"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that is ours under this name of an owner, and its end."""

    name: str
    owner: str
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Places:
    """The places of some events behind the end of a chain: what is stored of each, and the chain's end afterwards."""

    payloads: list[str]
    hashes: list[bytes]
    after: Chain


def place(chain: Chain, events: Sequence[str]) -> Places:
    """Return where events, as canonical text, come to stand."""
    previous, hashes = chain.hash, []
    for payload in events:
        previous = link(previous, payload.encode())
        hashes.append(previous)
    return Places(list(events), hashes, Chain(chain.name, chain.owner, chain.position + len(events), previous))


async def claim(db: Connection, former: Chain | None) -> Chain:
    """Return a chain of our own, ``former`` if nobody has taken it since; what may still be under way for it is shut out."""
    owner = secrets.token_hex(8)
    row = await db.fetchrow(_KEEP, former.name, former.owner, owner) if former is not None else None
    while row is None:
        row = await db.fetchrow(_TAKE, owner, _IDLE_SECONDS) or await db.fetchrow(_MAKE, owner, GENESIS)
    return Chain(cast("str", row[0]), owner, cast("int", row[1]), cast("bytes", row[2]))


async def stands(db: Connection, end: Chain) -> bool:
    """Tell whether the place that ``end`` names was written. For after the chain was claimed anew."""
    return await db.fetchval(_STANDS, end.name, end.position, end.hash) is not None


async def give_back(db: Connection, chain: Chain) -> None:
    """Let the next writer have it."""
    await db.execute(_GIVE_BACK, chain.name, chain.owner)


def members(event: AuditEvent) -> tuple[str, ...]:
    """Return the members that are searched for, in the order of the columns."""
    return (
        event.action,
        event.outcome.value,
        event.reason,
        event.actor,
        event.client_id,
        event.request_id,
        event.jti,
    )

"""Filling a new database with all of another store, in one transaction, and proving that it holds the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, TypeAlias, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres import with_database
from watchword.adapters.postgres_link import Connection, Row
from watchword.adapters.postgres_schema import SCHEMA, create
from watchword.errors import StoreUnavailable
from watchword.ports.audit import ChainHead
from watchword.server.audit_chain import ChainVerifier

Tables: TypeAlias = "Sequence[tuple[str, str]]"
ReadTable: TypeAlias = "Callable[[str, str], Iterator[Sequence[Row]]]"

_SOME: Final = 2_000
_HEADS: Final = "SELECT chain, position, hash FROM heads ORDER BY chain"


async def load(url: str, tables: Tables, read: ReadTable, *, epoch: int, applied_at: int) -> dict[str, int]:
    """Make the tables in a database that has none and fill them; return the number of rows by table. All of it, or nothing.

    ``read`` gives the rows of a table by key, some at a time. What was written is read again, row by row, and its audit trail
    followed, before anybody can see it.

    Raises:
        BadSettings: store.exists
        StoreUnavailable: store.differs; or as for any database
    """

    async def fill(db: Connection) -> dict[str, int]:
        async with db.transaction():
            await create(db, applied_at=applied_at)
            await db.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            await db.execute("DELETE FROM identity; DELETE FROM revocation_counters")
            sums = {table: await _fill(db, table, columns, read) for table, columns in tables}
            newest = await db.fetchval("SELECT coalesce(max(cursor), 0) FROM audit")
            await db.execute("UPDATE counters SET events = $1, epoch = $2", newest, epoch)
            for table, columns in tables:
                if await _sum(_stored(db, table, columns)) != sums[table]:
                    raise StoreUnavailable("store.differs", detail=f"the table {table} is not what was written")
            await _check_trail(db, tables)
            return {table: number for table, (number, _) in sums.items()}

    return await with_database(url, fill)


async def _fill(db: Connection, table: str, columns: str, read: ReadTable) -> tuple[int, str]:
    """Write a table; return how many rows it has, and the digest of them."""

    async def written() -> AsyncIterator[Sequence[Row]]:
        names = [name.strip() for name in columns.split(",")]
        for some in read(table, columns):
            held = [rows.columns(row) for row in some]
            if table == "audit":
                records: Sequence[Sequence[object]] = [(*row, *_searched(cast("str", row[3]))) for row in held]
                await _copy(db, table, [*names, *rows.FILTERS], records)
            elif table == "heads":
                await db.execute(_HEADS_IN, *zip(*held, strict=True))
            else:
                await _copy(db, table, names, held)
            yield held

    return await _sum(written())


_HEADS_IN: Final = (
    "INSERT INTO heads (chain, position, hash, owner, used_at)"
    " SELECT chain, position, hash, '', now() FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS given (chain, position, hash)"
)


async def _copy(db: Connection, table: str, names: Sequence[str], records: Sequence[Sequence[object]]) -> None:
    await db.copy_records_to_table(table, schema_name=SCHEMA, columns=names, records=records)


def _searched(payload: str) -> list[str | None]:
    """Return what is searched for of an event; an altered payload, which is none, has nothing."""
    try:
        event = json.loads(payload)
    except ValueError:
        event = {}
    found = event if isinstance(event, dict) else {}
    return [rows.searched(str(found.get(name, ""))) for name in rows.FILTERS]


async def _stored(db: Connection, table: str, columns: str) -> AsyncIterator[Sequence[Row]]:
    key = columns.partition(",")[0]
    query = f"SELECT {columns} FROM {table}"  # noqa: S608 -- constants of this adapter
    some = await db.fetch(f"{query} ORDER BY {key} LIMIT $1", _SOME)
    while some:
        yield some
        some = await db.fetch(f"{query} WHERE {key} > $2 ORDER BY {key} LIMIT $1", _SOME, some[-1][0])


async def _sum(pages: AsyncIterator[Sequence[Row]]) -> tuple[int, str]:
    number, digest = 0, hashlib.sha256()
    async for some in pages:
        number += len(some)
        for row in some:
            digest.update(repr(tuple(row)).encode("utf-8", "backslashreplace"))
    return number, digest.hexdigest()


async def _check_trail(db: Connection, tables: Tables) -> None:
    """Follow every chain as it stands there now."""
    found = await db.fetch(_HEADS)
    heads = [ChainHead(cast("str", row[0]), cast("int", row[1]), cast("bytes", row[2])) for row in found]
    verifier = ChainVerifier(heads)
    async for some in _stored(db, "audit", dict(tables)["audit"]):
        for row in some:
            verifier.add(rows.build_event(row))
    for flaw in verifier.finish(heads).findings:
        detail = f"the audit trail is broken at position {flaw.position} of the chain {flaw.chain}: {flaw.problem}"
        raise StoreUnavailable("store.differs", detail=detail)

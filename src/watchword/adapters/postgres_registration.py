"""All that is registered of some clients, read in one statement, which is one moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_link import Connection, Row
from watchword.ports.agents import Registration

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound


def of(table: str, columns: str) -> str:
    """Return the columns as those of a table."""
    return ", ".join(f"{table}.{name.strip()}" for name in columns.split(","))


_REGISTRATIONS: Final = (
    "SELECT counters.epoch, a.client_id,"
    f" ROW({of('a', rows.AGENT)}),"
    f" ARRAY(SELECT ROW({of('c', rows.CREDENTIAL)}) FROM credentials c WHERE c.client_id = a.client_id ORDER BY c.id),"
    f" ARRAY(SELECT ROW({of('p', rows.PERMISSION)}) FROM permissions p WHERE p.client_id = a.client_id ORDER BY p.id),"
    f" ARRAY(SELECT ROW({of('r', rows.RESOURCE)}) FROM resources r"
    " WHERE r.name IN (SELECT p.resource FROM permissions p WHERE p.client_id = a.client_id))"
    " FROM counters LEFT JOIN agents a ON a.client_id = ANY ($1::text[])"
)


async def read_registrations(db: Connection, client_ids: Iterable[str]) -> tuple[object, dict[str, Registration]]:
    """Return the epoch, and what is registered by ``client_id``, as they are held; those that are nobody's are left out."""
    answer = await db.fetch(_REGISTRATIONS, list(client_ids))
    found = {}
    for _, name, *parts in answer:
        if name is not None:
            agent, credentials, permissions, resources = cast("tuple[Row, list[Row], list[Row], list[Row]]", parts)
            found[cast("str", name)] = rows.build_registration(agent, credentials, permissions, resources)
    return answer[0][0] if answer else None, found

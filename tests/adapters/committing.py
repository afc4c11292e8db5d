"""A process that commits: ``python -m tests.adapters.committing DATABASE NAME COMMITS TASKS``.

Every commit creates an agent and tells of it; its number is printed once it was acknowledged.
"""

import asyncio
import sys
from pathlib import Path

from watchword.adapters.sqlite import SqliteStore
from watchword.ports.store import Create
from watchword.testing.records import make_agent, make_event


async def _commit(store: SqliteStore, name: str, numbers: list[int]) -> None:
    for number in numbers:
        client_id = f"{name}-{number}"
        await store.commit(make_event("agent.create", client_id=client_id), [Create(make_agent(client_id))])
        sys.stdout.write(f"{client_id}\n")
        sys.stdout.flush()


async def main(database: str, name: str, commits: str, tasks: str) -> None:
    store = SqliteStore.open(Path(database))
    count, width = int(commits), int(tasks)
    await asyncio.gather(*(_commit(store, name, list(range(first, count, width))) for first in range(width)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

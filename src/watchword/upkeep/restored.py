"""What is left to do when PostgreSQL's own means have put a store back: to prove it, and to let it begin another generation."""

from __future__ import annotations

import json
from dataclasses import dataclass

from watchword.adapters.postgres_url import masked
from watchword.clock import Clock, system_clock
from watchword.errors import BadSettings, StoreUnavailable
from watchword.operations.store_identity import BeginGeneration, begin_generation
from watchword.ports.store import Store, StoreIdentity
from watchword.server.audit_chain import ChainVerifier
from watchword.settings import ServerSettings
from watchword.stores import find_database, open_store
from watchword.upkeep.backup import keyless_context, opens_with_master_key

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Restored:
    """A store that goes on from a copy. ``last_event`` is the moment of the newest event in it."""

    database: str
    identity: StoreIdentity
    events: int
    last_event: str
    has_master_key: bool


async def go_on_from_copy(settings: ServerSettings, *, clock: Clock = system_clock) -> Restored:
    """Follow the audit trail of a database that was put back, and begin another generation of its store.

    Raises:
        BadSettings: store.file, store.*
        StoreUnavailable: backup.damaged, store.*
        MasterKeyError: a master key was found, and is not this store's.
    """
    database = find_database(settings)
    if database is None:
        detail = "the store is a file: `watchword restore FILE --data DIR` puts a backup of it back"
        raise BadSettings("store.file", detail=detail)
    store = await open_store(settings)
    try:
        events, last_event = await _follow_trail(store)
        has_master_key = await opens_with_master_key(settings, store)
        command = BeginGeneration(file=masked(database), last_event=last_event)
        identity = await begin_generation(keyless_context(store, clock), command)
    finally:
        await store.close()
    return Restored(masked(database), identity, events, last_event, has_master_key)


async def _follow_trail(store: Store) -> tuple[int, str]:
    """Return how many events there are, and the time of the newest."""
    heads = await store.heads()
    verifier, after, number, newest = ChainVerifier(heads), 0, 0, b""
    while page := await store.events(after=after, limit=_BATCH):
        for row in page:
            verifier.add(row)
        after, number, newest = page[-1].cursor, number + len(page), page[-1].payload
    for flaw in verifier.finish(heads).findings:
        detail = f"the audit trail is broken at position {flaw.position} of the chain {flaw.chain}: {flaw.problem}"
        raise StoreUnavailable("backup.damaged", detail=f"{detail}; put another copy back")
    return number, str(json.loads(newest)["time"]) if newest else ""

"""The audit trail, read: searched, exported, verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from watchword.errors import Invalid
from watchword.operations.context import OperationContext
from watchword.operations.operation import operation
from watchword.operations.paging import DEFAULT_PAGE, Page, check_limit, cut
from watchword.ports.audit import StoredEvent
from watchword.server.audit_chain import ChainVerifier, Findings

FILTERS: Final = ("action", "outcome", "reason", "actor", "client_id", "request_id", "jti")
MAX_FILTER: Final = 256
MAX_CURSOR: Final = 2**63 - 1
_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvents:
    """Events with a cursor above ``after`` (below it, newest first). ``filters`` are exact values by member."""

    after: int = 0
    limit: int = DEFAULT_PAGE
    filters: Mapping[str, str] = field(default_factory=dict)
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportEvents:
    """All of them, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyAudit:
    """All of them."""


@operation("audit.list")
async def list_events(context: OperationContext, command: ListEvents) -> Page[StoredEvent]:
    """Return a page of events. Looking is not recorded.

    Raises:
        Invalid: page.limit, page.after, audit.filter
    """
    limit = check_limit(command.limit)
    if not 0 <= command.after <= MAX_CURSOR:
        raise Invalid("page.after", detail="after is a cursor of an event.")
    unknown = [name for name in command.filters if name not in FILTERS]
    if unknown or any(len(value) > MAX_FILTER or not value.isprintable() for value in command.filters.values()):
        known = ", ".join(FILTERS)
        raise Invalid(
            "audit.filter", detail=f"A filter is one of {known}, with at most {MAX_FILTER} printable characters."
        )
    rows = await context.store.events(
        after=command.after, limit=limit + 1, filters=command.filters, newest_first=command.newest_first
    )
    return cut(rows, limit)


@operation("audit.export")
async def export_events(context: OperationContext, _command: ExportEvents) -> AsyncIterator[StoredEvent]:
    """Return all events up to the record of this export, which is made first.

    Raises:
        StoreUnavailable: here, or while reading
    """
    await context.commit("exported")
    newest = await context.store.events(limit=1, newest_first=True)
    return _up_to(context, newest[0].cursor)


@operation("audit.verify")
async def verify_audit(context: OperationContext, _command: VerifyAudit) -> Findings:
    """Follow every chain from its beginning, and name the first place where each is wrong.

    The server may go on writing meanwhile: what comes after the heads were taken is no finding.

    Raises:
        StoreUnavailable
    """
    verifier = ChainVerifier(await context.store.heads())
    newest = await context.store.events(limit=1, newest_first=True)
    if newest:
        async for event in _up_to(context, newest[0].cursor):
            verifier.add(event)
    return verifier.finish(await context.store.heads())


async def _up_to(context: OperationContext, last: int) -> AsyncIterator[StoredEvent]:
    """Other requests have their turn between two batches: a local store answers without waiting for anything."""
    after = 0
    while after < last and (rows := await context.store.events(after=after, limit=_BATCH)):
        for row in rows:
            if row.cursor <= last:
                yield row
        after = rows[-1].cursor
        await asyncio.sleep(0)

"""``/audit`` and ``/server`` of the admin API."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from watchword.asgi.admin_requests import DEFAULT_LIMIT, Context, Limit, problems
from watchword.asgi.admin_trail_views import EventPage, ServerView, VerificationView, event_view, verification_view
from watchword.asgi.admin_views import answer
from watchword.operations import audit, server_info
from watchword.ports.audit import Outcome, StoredEvent

JSON_LINES: Final = "application/jsonl"

Filter = Annotated[str | None, Query(max_length=audit.MAX_FILTER, description="An exact value.")]

router = APIRouter()


@router.get("/audit/events", tags=["audit"], response_model=EventPage, responses=problems(422))
async def list_events(
    context: Context,
    after: Annotated[
        int, Query(ge=0, le=audit.MAX_CURSOR, description="Continues: the `next_after` of the page before.")
    ] = 0,
    limit: Limit = DEFAULT_LIMIT,
    newest_first: Annotated[bool, Query(description="Backwards from `after`, or from the end.")] = False,
    action: Filter = None,
    outcome: Annotated[Outcome | None, Query()] = None,
    reason: Filter = None,
    actor: Filter = None,
    client_id: Filter = None,
    request_id: Filter = None,
    jti: Filter = None,
) -> Response:
    """Search the audit trail."""
    given = {
        "action": action,
        "outcome": outcome,
        "reason": reason,
        "actor": actor,
        "client_id": client_id,
        "request_id": request_id,
        "jti": jti,
    }
    filters = {name: str(value) for name, value in given.items() if value is not None}
    command = audit.ListEvents(after=after, limit=limit, filters=filters, newest_first=newest_first)
    page = await audit.list_events(context, command)
    following = page.items[-1].cursor if page.has_more else None
    return answer(EventPage(items=[event_view(one) for one in page.items], next_after=following))


@router.get(
    "/audit/export",
    tags=["audit"],
    response_class=StreamingResponse,
    responses={
        200: {"description": "One JSON object a line: chain, position, hash, event.", "content": {JSON_LINES: {}}}
    },
)
async def export_events(context: Context) -> Response:
    """Export the audit trail, oldest first, up to the record of this export."""
    events = await audit.export_events(context, audit.ExportEvents())
    first = await anext(events)
    return StreamingResponse(_lines(first, events), media_type=JSON_LINES)


@router.get("/audit/verify", tags=["audit"], response_model=VerificationView)
async def verify_audit(context: Context) -> Response:
    """Follow every chain from its beginning, and name the first place where each is wrong."""
    return answer(verification_view(await audit.verify_audit(context, audit.VerifyAudit())))


@router.get("/server", tags=["server"], response_model=ServerView)
async def show_server(context: Context) -> Response:
    """Show where everything is, and who you are."""
    info = await server_info.show_server(context, server_info.ShowServer())
    return answer(ServerView(**dataclasses.asdict(info)))


async def _lines(first: StoredEvent, events: AsyncIterator[StoredEvent]) -> AsyncIterator[bytes]:
    """The first is read before the answer begins: a store that cannot be read gives a problem, not half a file."""
    yield _line(first)
    async for event in events:
        yield _line(event)


def _line(event: StoredEvent) -> bytes:
    """The event's canonical bytes stand in the line as they were hashed."""
    place = json.dumps(
        {"chain": event.chain, "position": event.position, "hash": event.hash.hex()}, separators=(",", ":")
    )
    return place[:-1].encode() + b',"event":' + event.payload + b"}\n"

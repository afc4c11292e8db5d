"""``/revocations`` of the admin API: the kill switch."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictStr
from starlette.responses import Response

from watchword.asgi.admin_models import Body
from watchword.asgi.admin_models import Timestamp as GivenTime
from watchword.asgi.admin_requests import Context, problems
from watchword.asgi.admin_views import Timestamp, answer
from watchword.operations import revocations
from watchword.ports.audit import format_time

router = APIRouter(prefix="/revocations", tags=["revocations"])


class NewRevocation(Body):
    """What is to be dead. `before`: what was issued later lives; now unless given."""

    kind: revocations.Switch
    target: StrictStr = Field(default="", examples=["reader"])
    before: GivenTime | None = None
    reason: StrictStr = Field(default="", examples=["Its secret was published."])


class RevokedView(BaseModel):
    """How many targets it named, the cut-off of what is dead, and when that took effect."""

    targets: int
    cutoff: Timestamp
    effective_at: Timestamp


@router.post("", status_code=201, response_model=RevokedView, responses=problems(404, 409, 413, 415, 422))
async def revoke_issued(context: Context, body: NewRevocation) -> Response:
    """End what was issued until now, or until a moment: whoever it was issued to may log in again."""
    command = revocations.RevokeIssued(kind=body.kind, target=body.target, before=body.before, note=body.reason)
    done = await revocations.revoke_issued(context, command)
    view = RevokedView(
        targets=done.targets, cutoff=format_time(done.cutoff), effective_at=format_time(done.effective_at)
    )
    return answer(view, status=201)

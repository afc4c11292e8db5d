"""``/operators`` of the admin API: who administers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import Response

from watchword.asgi.admin_models import NOTHING_SAID, NewOperator, StateChange
from watchword.asgi.admin_requests import Context, problems
from watchword.asgi.admin_views import Timestamp, answer
from watchword.operations import operators
from watchword.ports.agents import Operator, Role
from watchword.ports.audit import format_time

OperatorRef = Annotated[str, Path(description="The operator's id or name.", examples=["alice"])]

router = APIRouter(prefix="/operators", tags=["operators"])


class OperatorView(BaseModel):
    """Somebody who administers."""

    id: str
    name: str
    role: Role
    state: Literal["active", "disabled"]
    created_at: Timestamp
    expires_at: Timestamp | None = None
    version: int


class NewOperatorView(OperatorView):
    """An operator with its credential, which is not shown again."""

    operator_token: str


class OperatorList(BaseModel):
    """All operators."""

    items: list[OperatorView]


@router.get("", response_model=OperatorList)
async def list_operators(context: Context) -> Response:
    """List all operators by name, disabled ones too. Credentials are never shown again."""
    listed = await operators.list_operators(context, operators.ListOperators())
    return answer(OperatorList(items=[operator_view(one) for one in listed]))


@router.post("", status_code=201, response_model=NewOperatorView, responses=problems(409, 413, 415, 422))
async def create_operator(context: Context, body: NewOperator) -> Response:
    """Let somebody administer. The credential is shown this once."""
    new = await operators.create_operator(context, body.to_command())
    view = NewOperatorView(**operator_view(new.operator).model_dump(), operator_token=new.token)
    return answer(view, status=201, version=new.operator.version)


@router.post("/{operator}/disable", response_model=OperatorView, responses=problems(404, 409, 413, 415, 422))
async def disable_operator(context: Context, operator: OperatorRef, body: StateChange = NOTHING_SAID) -> Response:
    """Refuse an operator from now on, for ever. Disabling a disabled one changes nothing."""
    command = operators.DisableOperator(ref=operator, note=body.reason)
    disabled = await operators.disable_operator(context, command)
    return answer(operator_view(disabled), version=disabled.version)


def operator_view(operator: Operator) -> OperatorView:
    """Return an operator as it is shown: nothing of its credential."""
    return OperatorView(
        id=operator.id,
        name=operator.name,
        role=operator.role,
        state="disabled" if operator.is_disabled else "active",
        created_at=format_time(operator.created_at),
        expires_at=None if operator.expires_at is None else format_time(operator.expires_at),
        version=operator.version,
    )

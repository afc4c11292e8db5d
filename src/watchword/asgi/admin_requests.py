"""What the routes of the admin API share: who asks, strict parameters, entity tags, and the problems they document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from watchword.asgi.admin_errors import PROBLEM_JSON, BadRequest
from watchword.asgi.admin_gate import CURSORS, STATE
from watchword.asgi.admin_pages import MAX_CURSOR, Cursors
from watchword.errors import Unauthenticated
from watchword.operations.context import ANONYMOUS, OperationContext
from watchword.operations.paging import DEFAULT_PAGE, MAX_PAGE

_ENTITY_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e]*"'
_ENTITY_TAGS: Final = re.compile(rf"{_ENTITY_TAG}(?:[ \t]*,[ \t]*{_ENTITY_TAG})*")
_OUR_TAG: Final = re.compile(r'(?<!W/)"([1-9][0-9]{0,17})"')

_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request is not well formed.",
    401: "No valid operator's credential.",
    403: "Your role does not allow this, or the credential is an agent's.",
    404: "There is no such object.",
    409: "The change collides with what is stored.",
    412: "The object has changed since it was read (`If-Match`).",
    413: "The body is over 64 KiB.",
    415: "The body is not application/json.",
    422: "A member is unknown, or a value is not acceptable.",
    503: "The server cannot answer now; nothing was changed.",
}

_scheme = HTTPBearer(
    scheme_name="operator",
    bearerFormat="wwo_...",
    description="An operator's credential. Agents' secrets and tokens are refused.",
    auto_error=False,
)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of problem answers with these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {one: {"description": _MEANINGS[one], "content": {PROBLEM_JSON: {"schema": schema}}} for one in statuses}


def operation_context(
    request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
) -> OperationContext:
    """Return the context that the gate made for this request; without a principal there is none.

    Raises:
        Unauthenticated: operator.missing
    """
    context = getattr(request.state, STATE, None)
    if not isinstance(context, OperationContext) or context.principal == ANONYMOUS:
        raise Unauthenticated("operator.missing")
    return context


async def refuse_unknown_parameters(request: Request) -> None:
    """Pass if every parameter of the query is one of this route's, and stands there once.

    Raises:
        BadRequest: query.unknown, query.duplicate
    """
    route = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    given = [name for name, _ in request.query_params.multi_items()]
    if not known.issuperset(given):
        taken = ", ".join(sorted(known)) or "none"
        raise BadRequest("query.unknown", detail=f"The query has a parameter that is not known here. Known: {taken}.")
    if len(set(given)) != len(given):
        raise BadRequest("query.duplicate", detail="A parameter stands twice in the query.")


def expected_versions(
    request: Request,
    _if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="The entity tag of the version that was read.", examples=['"3"']),
    ] = None,
) -> frozenset[int] | None:
    """Return the versions that ``If-Match`` names (RFC 9110 §13.1.1); ``None`` without one, and for ``*``.

    Weak and foreign tags match no version.

    Raises:
        BadRequest: request.if_match
    """
    values = request.headers.getlist("if-match")
    text = ", ".join(values).strip()
    if not values or text == "*":
        return None
    if _ENTITY_TAGS.fullmatch(text) is None:
        raise BadRequest("request.if_match", detail='If-Match is an entity tag such as "3", as ETag gave it.')
    return frozenset(int(version) for version in _OUR_TAG.findall(text))


def _cursors(request: Request) -> Cursors:
    cursors = getattr(request.state, CURSORS, None)
    if not isinstance(cursors, Cursors):
        raise Unauthenticated("operator.missing")
    return cursors


Context = Annotated[OperationContext, Depends(operation_context)]
Expected = Annotated[frozenset[int] | None, Depends(expected_versions)]
PageCursors = Annotated[Cursors, Depends(_cursors)]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="Continues a list: the `next_cursor` of the page before.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page at most.")]
DEFAULT_LIMIT: Final = DEFAULT_PAGE

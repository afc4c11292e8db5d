"""The admin API: FastAPI behind a gate of our own. Every route but its description needs an operator."""

from __future__ import annotations

import functools
from typing import Any, Final

import structlog
from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from watchword.asgi import (
    admin_access,
    admin_agents,
    admin_federation,
    admin_keys,
    admin_nodes,
    admin_operators,
    admin_resources,
    admin_revocations,
    admin_trail,
)
from watchword.asgi.admin_errors import (
    PROBLEM_JSON,
    BadRequest,
    from_http_exception,
    from_validation_error,
    render_fault,
    render_problem,
)
from watchword.asgi.admin_gate import OPENAPI_PATH, STATE, AdminDoor, AdminGate, Authenticate, refuse
from watchword.asgi.admin_pages import Cursors
from watchword.asgi.admin_requests import operation_context, problems, refuse_unknown_parameters
from watchword.asgi.messages import App
from watchword.asgi.peer import Network
from watchword.clock import Clock
from watchword.errors import Fault, Problem
from watchword.operations.context import OperationContext, Peppers
from watchword.ports.foreign_keys import ForeignKeys, NoForeignKeys
from watchword.ports.keys import Signer
from watchword.ports.store import Store
from watchword.protocol import names
from watchword.server.audit import Observer
from watchword.server.key_schedule import DEFAULT_TIMES, KeyTimes
from watchword.server.limits import RequestLimits

API_VERSION: Final = "1"
_TEXT: Final = (
    "Administration of agents, credentials, permissions, resources and the audit trail. Errors are RFC 9457 problems with "
    "a stable `reason` and a `trace_id`, under which the audit trail tells more. Objects have entity tags; `If-Match` is "
    "honoured. Unknown members and parameters are refused."
)

log = structlog.get_logger("watchword.admin")


def build_admin_app(
    *,
    store: Store,
    signer: Signer | None,
    clock: Clock,
    issuer: str,
    peppers: Peppers,
    cursor_key: bytes,
    default_algorithm: str = names.ES256,
    signing_algorithms: frozenset[str] = frozenset(names.SIGNING_ALGORITHMS),
    key_times: KeyTimes = DEFAULT_TIMES,
    authenticate: Authenticate,
    hosts: frozenset[str] | None = None,
    trusted_proxies: tuple[Network, ...] = (),
    limits: RequestLimits | None = None,
    observers: tuple[Observer, ...] = (),
    foreign_keys: ForeignKeys | None = None,
) -> App:
    """Return the ASGI application that serves ``/admin/v1``, paths as they are below the issuer.

    ``authenticate`` is ``OperatorTokens`` behind a listener, ``LocalOperator`` for who holds the store's own files.
    """
    base = OperationContext(
        store=store,
        signer=signer,
        default_algorithm=default_algorithm,
        signing_algorithms=signing_algorithms,
        key_times=key_times,
        clock=clock,
        issuer=issuer,
        peppers=peppers,
        observers=observers,
        foreign_keys=foreign_keys or NoForeignKeys(),
        action="admin.request",
    )
    door = AdminDoor(
        base=base,
        cursors=Cursors(cursor_key),
        authenticate=authenticate,
        hosts=hosts,
        trusted_proxies=trusted_proxies,
        limits=limits,
    )
    return AdminGate(_build_api(issuer), door)


@functools.lru_cache(maxsize=8)
def _build_api(issuer: str) -> FastAPI:
    """Return the routes. They hold nothing but the issuer: what a request works with comes through the gate."""
    api = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    router = APIRouter(
        prefix=names.PATH_ADMIN,
        dependencies=[Depends(operation_context), Depends(refuse_unknown_parameters)],
        responses=problems(400, 401, 403, 503),
    )
    parts = (
        admin_resources,
        admin_agents,
        admin_access,
        admin_operators,
        admin_federation,
        admin_nodes,
        admin_keys,
        admin_revocations,
        admin_trail,
    )
    for part in parts:
        router.include_router(part.router)
    api.include_router(router)
    _serve_description(api, issuer)
    for kind in (Problem, Fault, RequestValidationError, HTTPException, Exception):
        api.add_exception_handler(kind, _answer_error)
    return api


def _operation_id(route: APIRoute) -> str:
    return route.name


def _serve_description(api: FastAPI, issuer: str) -> None:
    """The document is made when somebody asks for it first: making it costs more than all the rest of a start."""
    documents: list[dict[str, Any]] = []

    async def describe(_request: Request) -> Response:
        if not documents:
            documents.append(_description(api, issuer))
        return JSONResponse(documents[0])

    api.add_route(OPENAPI_PATH, describe, methods=["GET"], include_in_schema=False)


def _description(api: FastAPI, issuer: str) -> dict[str, Any]:
    document = get_openapi(
        title="watchword admin API",
        version=API_VERSION,
        openapi_version="3.1.0",
        description=_TEXT,
        routes=api.routes,
        servers=[{"url": issuer}],
    )
    _drop_own_errors(document)
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if schema.get("additionalProperties") is not False:
            _drop_nulls(schema)
    schemas["Problem"] = PROBLEM_SCHEMA
    return document


def _drop_own_errors(document: dict[str, Any]) -> None:
    """The framework describes errors that it would give; here they are problems, described where they occur."""
    for methods in document["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            if PROBLEM_JSON not in responses.get("422", {}).get("content", {PROBLEM_JSON: {}}):
                del responses["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _drop_nulls(schema: dict[str, Any]) -> None:
    """Say of what we give (what we take is closed to unknown members) that an absent member is absent, not null."""
    for member in schema.get("properties", {}).values():
        kinds = [one for one in member.get("anyOf", ()) if one != {"type": "null"}]
        if len(kinds) == 1:
            del member["anyOf"]
            member.update(kinds[0])


async def _answer_error(request: Request, error: Exception) -> Response:
    """Refusals by operations are recorded by then; those of the framework and of the request's form are not."""
    context: OperationContext = getattr(request.state, STATE)
    if isinstance(error, RequestValidationError):
        error = from_validation_error(error)
    elif isinstance(error, HTTPException):
        error = from_http_exception(error)
    try:
        if isinstance(error, BadRequest):
            await refuse(context, error, request.scope)
    except Fault as fault:
        error = fault
    if isinstance(error, Problem):
        return render_problem(error, context.request_id)
    if isinstance(error, Fault):
        log.error("fault", request_id=context.request_id, reason=error.reason, detail=error.detail)
    return render_fault(context.request_id)


PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457. `reason` is stable; `trace_id` finds the event in the audit trail (`request_id`).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:watchword:problem:agent.missing"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "examples": ["agent.missing"]},
        "trace_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901, into the body."},
                    "parameter": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

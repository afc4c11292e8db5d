"""Refusals of the admin API as RFC 9457 problems: the one place where they become an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from watchword.errors import Problem, RateLimited, Unauthenticated
from watchword.protocol.challenge import build_challenge
from watchword.protocol.descriptions import describe
from watchword.server.audit import claimed

PROBLEM_JSON: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1
REALM: Final = "watchword admin"
MAX_ERRORS: Final = 20
"""Of one body; whoever sends more mistakes learns of the first ones."""

_WHO = "Send Authorization: Bearer with a valid operator's credential (wwo_...)."
_UNAVAILABLE = "The server cannot answer now; nothing was changed. Try again."


class BadRequest(Problem):
    """Refused before any operation was asked: the request itself is not well formed."""

    def __init__(
        self,
        reason: str,
        *,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, detail=detail)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


class NoRoute(BadRequest):
    """Nothing is served at this path."""

    status = 404
    title = "Not found"


class WrongMethod(BadRequest):
    """The path exists, the method does not."""

    status = 405
    title = "Method not allowed"


class TooLarge(BadRequest):
    """The body is over the limit; it was not read to its end."""

    status = 413
    title = "The body is too large"


class WrongMediaType(BadRequest):
    """The body is not plain JSON; it was not parsed."""

    status = 415
    title = "The body is not application/json"


class ForeignOrigin(BadRequest):
    """A web page of another origin caused this request."""

    status = 403
    title = "Requests from other web pages are refused"


class TooMany(BadRequest):
    """A limit is reached; nothing was looked at. RFC 6585 §4."""

    status = 429
    title = "Too many requests"

    def __init__(self, limited: RateLimited) -> None:
        headers = {"retry-after": str(math.ceil(limited.retry_after.total_seconds()))}
        super().__init__(limited.reason, detail=describe(limited.reason, {}), headers=headers)


class BadBody(BadRequest):
    """JSON, but not the members this route takes."""

    status = 422
    title = "The body does not fit"


def render_problem(problem: Problem, trace_id: str) -> Response:
    """Return the answer to a refused request.

    Until an operator has proved who it is, one reason and one sentence serve all; the true one is in the audit trail.
    """
    reason, detail = problem.reason, problem.detail
    headers = dict(problem.headers) if isinstance(problem, BadRequest) else {}
    if isinstance(problem, Unauthenticated):
        reason, detail = "operator.credential", _WHO
        headers["www-authenticate"] = build_challenge("Bearer", {"realm": REALM})
    errors = problem.errors if isinstance(problem, BadRequest) else ()
    return _render(problem.status, problem.title, detail, reason, trace_id, headers, errors)


def render_fault(trace_id: str) -> Response:
    """Return the answer when the fault is ours: nothing is told, trying again may help."""
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
    return _render(503, "Not available now", _UNAVAILABLE, "server.unavailable", trace_id, headers, ())


def from_http_exception(error: HTTPException) -> BadRequest:
    """Return what the framework refuses by itself as one of ours."""
    if error.status_code == 404:
        return NoRoute("request.path", detail="Nothing is served at this path.")
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return WrongMethod("request.method", detail=f"This path takes {allow}.", headers={"allow": allow})
    return BadRequest("request.malformed", detail="The request could not be read.")


def from_validation_error(error: RequestValidationError) -> BadRequest:
    """Return a refusal that says where the mistakes are and what is wanted, and repeats nothing of what was sent."""
    found = error.errors()
    errors = [_locate(one["loc"], str(one["msg"])) for one in found[:MAX_ERRORS]]
    if any(one["loc"][0] == "body" for one in found):
        reason = "body.unknown" if all(one["type"] == "extra_forbidden" for one in found) else "body.invalid"
        return BadBody(reason, detail="The members under errors do not fit.", errors=errors)
    return BadRequest("query.invalid", detail="The parameters under errors do not fit.", errors=errors)


def _locate(place: Sequence[int | str], message: str) -> dict[str, str]:
    """Name a member by JSON pointer (RFC 6901), a parameter by name. Names that a caller made up are redacted and cut."""
    kind, path = place[0], [claimed(str(step)) for step in place[1:]]
    if kind == "body":
        return {"pointer": "".join(f"/{_escape(step)}" for step in path), "detail": message}
    return {"parameter": ".".join(path), "detail": message}


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _render(
    status: int,
    title: str,
    detail: str,
    reason: str,
    trace_id: str,
    headers: Mapping[str, str],
    errors: Iterable[Mapping[str, str]],
) -> Response:
    members: dict[str, object] = {
        "type": f"urn:watchword:problem:{reason}",
        "title": title,
        "status": status,
        "detail": detail or title,
        "reason": reason,
        "trace_id": trace_id,
    }
    listed = [dict(one) for one in errors]
    if listed:
        members["errors"] = listed
    body = json.dumps(members, separators=(",", ":")).encode()
    return Response(body, status, headers=dict(headers), media_type=PROBLEM_JSON)

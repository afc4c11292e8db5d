"""The one place where an error of the OAuth endpoints becomes an answer. RFC 6749 §5.2."""

from __future__ import annotations

import json
import math

from watchword.asgi.messages import Response
from watchword.errors import (
    ContentTooLarge,
    InvalidAssertion,
    InvalidClient,
    MethodNotAllowed,
    OAuthError,
    RateLimited,
    UseDpopNonce,
)
from watchword.protocol import names
from watchword.protocol.challenge import build_challenge
from watchword.protocol.descriptions import NOT_ACCEPTED, TOLD, UNAUTHENTICATED, describe
from watchword.server.entry import Request

JSON = (b"content-type", b"application/json")
NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
RETRY_AFTER_SECONDS = 1


def render_refusal(error: OAuthError, request: Request) -> Response:
    """Return the answer to a refused request.

    Until a client has proved who it is, one sentence serves every reason that could tell something of an agent; the reason
    stands in the audit trail.
    """
    is_told = not isinstance(error, (InvalidClient, InvalidAssertion)) or error.reason in TOLD
    unproved = UNAUTHENTICATED if isinstance(error, InvalidClient) else NOT_ACCEPTED
    description = describe(error.reason, error.facts) if is_told else unproved
    headers: list[tuple[bytes, bytes]] = [JSON, *NO_STORE]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, InvalidClient) and request.header_values(b"authorization"):
        headers.append((b"www-authenticate", build_challenge("Basic", {"realm": "watchword"}).encode()))
    if isinstance(error, RateLimited):
        headers.append((b"retry-after", str(math.ceil(error.retry_after.total_seconds())).encode()))
    if isinstance(error, UseDpopNonce):
        headers.append(nonce_header(error.nonce))
    if isinstance(error, ContentTooLarge):
        headers.append((b"connection", b"close"))
    return Response(error.status, _body(error.error, description, request.id), tuple(headers))


def nonce_header(nonce: str) -> tuple[bytes, bytes]:
    """Return the header with which a nonce is handed out. RFC 9449 §8."""
    return names.DPOP_NONCE_HEADER.encode(), nonce.encode()


def render_fault(request: Request) -> Response:
    """Return the answer when the fault is ours: nothing was decided, nothing is told, trying again may help."""
    body = _body("temporarily_unavailable", describe("server.unavailable", {}), request.id)
    return Response(503, body, (JSON, *NO_STORE, (b"retry-after", str(RETRY_AFTER_SECONDS).encode())))


def _body(error: str, description: str, request_id: str) -> bytes:
    members = {names.ERROR: error, names.ERROR_DESCRIPTION: description, "request_id": request_id}
    return json.dumps(members, separators=(",", ":")).encode()

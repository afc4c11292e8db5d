"""The door of the admin API: everything that is decided before a framework sees the request."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

import structlog

from watchword.asgi.admin_body import read_json, replay
from watchword.asgi.admin_errors import BadRequest, ForeignOrigin, TooMany, render_fault, render_problem
from watchword.asgi.admin_pages import Cursors
from watchword.asgi.bugs import place_of
from watchword.asgi.messages import App, ClientLeft, Message, Receive, Scope, Send
from watchword.asgi.overload import Slots
from watchword.asgi.peer import Network, peer_address
from watchword.errors import Fault, Overloaded, Problem, RateLimited
from watchword.operations.context import OperationContext, Principal, details
from watchword.protocol import names
from watchword.server.limits import RequestLimits

log = structlog.get_logger("watchword.admin")

Authenticate = Callable[[Sequence[bytes]], Awaitable[Principal]]
"""Says who asks, from all values of the ``Authorization`` header; raises ``Unauthenticated`` or ``Forbidden``."""

OPENAPI_PATH: Final = names.PATH_ADMIN + "/openapi.json"
STATE: Final = "operation_context"
CURSORS: Final = "page_cursors"
"""Where in the scope's ``state`` the parts of a request stand: the context of who asks, and the cursors."""

_FOREIGN_SITES = (b"cross-site", b"same-site")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDoor:
    """``hosts`` are the ``Host`` values that name this server. ``None`` there and for ``limits``: for who has no listener."""

    base: OperationContext
    cursors: Cursors
    authenticate: Authenticate
    hosts: frozenset[str] | None = None
    trusted_proxies: tuple[Network, ...] = ()
    limits: RequestLimits | None = None


class AdminGate:
    """An ASGI application around another: names the request, authenticates, reads the body, guards the answer."""

    def __init__(self, app: App, door: AdminDoor) -> None:
        self._app = app
        self._door = door
        self._slots = _slots(door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; websockets are refused."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        context = self._open(scope)
        answer = _Answer(send, context.request_id)
        try:
            await self._admit(context, scope, receive, answer.send)
        except ClientLeft:
            return
        except Overloaded:
            await render_fault(context.request_id)(scope, receive, answer.send)
        except Fault as fault:
            _log_fault(context, fault)
            await render_fault(context.request_id)(scope, receive, answer.send)
        except Exception as bug:
            _log_bug(context, bug)
            if not answer.has_begun:
                await render_fault(context.request_id)(scope, receive, answer.send)
            elif not answer.is_complete:
                raise  # half an answer is out: only the end of the connection can take it back

    async def _admit(self, context: OperationContext, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            context = await self._identify(context, scope)
            body = await read_json(scope, receive)
        except RateLimited as limited:
            if limited.is_recorded:
                await refuse(context, TooMany(limited), scope, unrecorded=limited.unrecorded or None)
            await render_problem(TooMany(limited), context.request_id)(scope, receive, send)
            return
        except Problem as problem:
            await refuse(context, problem, scope)
            await render_problem(problem, context.request_id)(scope, receive, send)
            return
        state = {**scope.get("state", {}), STATE: context, CURSORS: self._door.cursors}
        with self._slots:
            await self._app({**scope, "root_path": "", "state": state}, replay(body, receive), send)

    async def _identify(self, context: OperationContext, scope: Scope) -> OperationContext:
        """Say who asks. A refusal counts as a failure of the peer, and of the credential shown, as at every other endpoint."""
        if self._door.limits is None:
            self._check_head(scope)
            return await self._authenticate(context, scope)
        async with self._door.limits.attempt(context.peer, context.now) as attempt:
            self._check_head(scope)
            if not (shown := _values(scope, b"authorization")):
                return await self._authenticate(context, scope)
            await attempt.claim(hashlib.sha256(b"\0".join(shown)).hexdigest())
            known = await self._authenticate(context, scope)
            await attempt.confirm()
            return known

    async def _authenticate(self, context: OperationContext, scope: Scope) -> OperationContext:
        if _is_public(scope):
            return context
        return replace(context, principal=await self._door.authenticate(_values(scope, b"authorization")))

    def _open(self, scope: Scope) -> OperationContext:
        client = scope.get("client") or ("", 0)
        peer = peer_address(client[0], _values(scope, b"x-forwarded-for"), self._door.trusted_proxies)
        return replace(self._door.base, request_id=secrets.token_hex(8), peer=peer)

    def _check_head(self, scope: Scope) -> None:
        """No page of another origin reaches the API with somebody else's rights; no other name leads here."""
        named = [value.decode("latin-1").lower() for value in _values(scope, b"host")]
        if self._door.hosts is not None and (len(named) != 1 or named[0] not in self._door.hosts):
            raise BadRequest("request.host", detail="The Host header does not name this server.")
        own = "/".join(self._door.base.issuer.split("/", 3)[:3]).encode()
        is_foreign = any(value != own for value in _values(scope, b"origin"))
        if is_foreign or any(value in _FOREIGN_SITES for value in _values(scope, b"sec-fetch-site")):
            raise ForeignOrigin("request.origin", detail="The request was caused by a web page of another origin.")


def _slots(door: AdminDoor) -> Slots | nullcontext[None]:
    if door.limits is None:
        return nullcontext()
    number = door.limits.numbers.concurrent_admin_requests
    return Slots("concurrent_admin_requests", number, door.base.clock, door.limits.observe)


async def refuse(context: OperationContext, problem: Problem, scope: Scope, **facts: object) -> None:
    """Record a request that was refused before it came to an operation. ``facts`` are further details.

    Raises:
        StoreUnavailable: it could not be recorded.
    """
    is_login = problem.reason.startswith(("operator.", "authorization.", "limit."))
    context = replace(context, action="operator.authenticate" if is_login else "admin.request")
    await context.refuse(problem, details=details(method=scope["method"], path=scope["path"], **facts))


def _log_fault(context: OperationContext, fault: Fault) -> None:
    log.error("fault", request_id=context.request_id, reason=fault.reason, detail=fault.detail)


def _log_bug(context: OperationContext, bug: Exception) -> None:
    log.error("bug", request_id=context.request_id, kind=type(bug).__name__, place=place_of(bug))


class _Answer:
    """Adds to every answer what every answer has, and knows how far it has come."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._headers = [
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request_id.encode()),
        ]
        self.has_begun = False
        self.is_complete = False

    async def send(self, message: Message) -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            self.has_begun = True
        await self._send(message)
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)


def _is_public(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) == ("GET", OPENAPI_PATH)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [bytes(value) for key, value in scope["headers"] if key == name]

"""The public listener: raw ASGI for the OAuth endpoints, decided on the raw path alone; the admin API behind its prefix."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from watchword.asgi.bugs import place_of
from watchword.asgi.feed import FeedEndpoint
from watchword.asgi.messages import App, ClientLeft, Receive, Response, Scope, Send, read_body, send_response
from watchword.asgi.oauth_errors import JSON, NO_STORE, nonce_header, render_fault, render_refusal
from watchword.asgi.overload import Slots
from watchword.asgi.peer import Proxies, read_peer
from watchword.asgi.shedding import Shedding
from watchword.clock import Clock
from watchword.errors import Fault, NotFound, OAuthError, Overloaded, RateLimited, UnsupportedResponseType
from watchword.operations.own_credentials import OwnCredentials
from watchword.protocol import names
from watchword.protocol.dpop_nonces import Nonces
from watchword.protocol.form import MAX_BODY
from watchword.protocol.introspection import MEDIA_TYPE
from watchword.protocol.metadata import well_known_url
from watchword.server.challenge_endpoint import ChallengeEndpoint
from watchword.server.entry import Request
from watchword.server.introspection_endpoint import IntrospectionEndpoint
from watchword.server.metadata import Document, Metadata
from watchword.server.request_head import check_head
from watchword.server.revocation_endpoint import RevocationEndpoint
from watchword.server.signing_keys import SigningKeys
from watchword.server.status_lists import StatusLists
from watchword.server.token_endpoint import TokenEndpoint

METADATA_MAX_AGE = 300
READ = ("GET", "HEAD")
STATUS_LIST = (b"content-type", b"application/statuslist+jwt")

_OPTIONS = Response(204, headers=((b"allow", b"POST"), *NO_STORE))
_JWT = (b"content-type", MEDIA_TYPE.encode())
_encode = json.JSONEncoder(separators=(",", ":")).encode

log = structlog.get_logger("watchword.http")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthParts:
    """What the public listener serves. ``hosts`` are the ``Host`` values that name this server; ``jwks_max_age`` in seconds."""

    issuer: str
    hosts: frozenset[str]
    proxies: Proxies
    slots: Slots
    token: TokenEndpoint
    nonces: Nonces
    challenges: ChallengeEndpoint
    introspection: IntrospectionEndpoint
    revocation: RevocationEndpoint
    own_credentials: OwnCredentials
    feed: FeedEndpoint
    keys: SigningKeys
    jwks_max_age: int
    metadata: Metadata
    status_lists: StatusLists | None
    with_authorization_endpoint: bool
    admin: App | None
    clock: Clock


class OAuthApp:
    """An ASGI application. ``refusal`` tells a listener which requests are refused unread."""

    def __init__(self, parts: OAuthParts) -> None:
        self._parts = parts
        base = _path_of(parts.issuer)
        self._admin_prefix = (base + names.PATH_ADMIN).encode()
        self._base = base
        self._feed_path = (base + names.PATH_EVENTS).encode()
        self._status_prefix = (base + names.PATH_STATUS).encode()
        self._routes = self._build_routes(base)
        self.refusal = Shedding(parts.slots, (base + names.PATH_TOKEN).encode()).refusal

    def _build_routes(self, base: str) -> Mapping[bytes, Handler]:
        routes: dict[str, Handler] = {
            base + names.PATH_TOKEN: self._token,
            base + names.PATH_CHALLENGE: self._challenge,
            base + names.PATH_INTROSPECT: self._introspect,
            base + names.PATH_REVOKE: self._revoke,
            base + names.PATH_CREDENTIALS: self._credentials,
            base + names.PATH_JWKS: self._jwks,
        }
        for path in (names.PATH_AS_METADATA, names.PATH_OPENID_CONFIGURATION):
            routes[base + path] = self._metadata
            routes[_path_of(well_known_url(self._parts.issuer, path.removeprefix("/.well-known/")))] = self._metadata
        if self._parts.with_authorization_endpoint:
            routes[base + names.PATH_AUTHORIZE] = self._authorize
        return {path.encode(): handler for path, handler in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; websockets are refused."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if self._parts.admin is not None and _is_below(raw_path, self._admin_prefix):
            await self._parts.admin(_strip(scope, self._base, raw_path), receive, send)
            return
        try:
            request = await self._read(scope, receive, raw_path)
        except ClientLeft:
            return
        if raw_path == self._feed_path:
            await self._parts.feed.serve(request, scope, receive, send)
            return
        response = await self._answer(request, raw_path)
        headers = (*response.headers, (b"x-content-type-options", b"nosniff"))
        if not response.is_shared:
            headers = (*headers, (b"x-request-id", request.id.encode()))
        finished = Response(response.status, response.body, headers)
        await send_response(scope, send, finished)

    def leave(self) -> None:
        """End what would go on by itself: this process stops."""
        self._parts.feed.close()

    async def _read(self, scope: Scope, receive: Receive, raw_path: bytes) -> Request:
        headers = tuple(scope["headers"])
        return Request(
            id=secrets.token_hex(8),
            method=scope["method"],
            path=raw_path.decode("latin-1"),
            query=scope.get("query_string", b""),
            headers=headers,
            body=await read_body(scope, receive, MAX_BODY),
            peer=read_peer(scope, headers, self._parts.proxies),
            received_at=self._parts.clock(),
        )

    async def _answer(self, request: Request, raw_path: bytes) -> Response:
        try:
            with self._parts.slots:
                return await self._handler(raw_path)(request)
        except OAuthError as refusal:
            _log_refusal(refusal, request)
            return render_refusal(refusal, request)
        except Overloaded:
            return render_fault(request)
        except Fault as fault:
            log.error("fault", request_id=request.id, reason=fault.reason, detail=fault.detail)  # noqa: TRY400 -- no traceback: expected
            return render_fault(request)
        except Exception as bug:  # noqa: BLE001 -- the last resort: log the kind and place, tell nothing, never a 500
            log.error("bug", request_id=request.id, kind=type(bug).__name__, place=place_of(bug))  # noqa: TRY400 -- a text may hold a secret
            return render_fault(request)

    def _handler(self, raw_path: bytes) -> Handler:
        handler = self._routes.get(raw_path)
        if handler is None and self._parts.status_lists is not None and _is_below(raw_path, self._status_prefix):
            return partial(self._status, self._parts.status_lists, raw_path[len(self._status_prefix) :])
        return handler or _nowhere

    async def _token(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _OPTIONS
        members = await self._parts.token.answer(request)
        log.info("issued", request_id=request.id, status=200, peer=request.peer.address)
        return Response(200, _encode(members).encode(), (JSON, *self._headers(request)))

    async def _introspect(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _OPTIONS
        answer = await self._parts.introspection.answer(request)
        if isinstance(answer, str):
            return Response(200, answer.encode(), (_JWT, *self._headers(request)))
        return Response(200, _encode(dict(answer)).encode(), (JSON, *self._headers(request)))

    async def _revoke(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _OPTIONS
        await self._parts.revocation.answer(request)
        return Response(200, b"", self._headers(request))

    def _headers(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """RFC 9449 §8.2: whoever proves a key is given the nonce for the next time."""
        if not request.header_values(names.DPOP_HEADER.encode()):
            return NO_STORE
        return (*NO_STORE, nonce_header(self._parts.nonces.make(self._parts.clock())))

    async def _challenge(self, request: Request) -> Response:
        members = await self._parts.challenges.answer(request)
        return Response(200, _encode(members).encode(), (JSON, *NO_STORE))

    async def _credentials(self, request: Request) -> Response:
        members = await self._parts.own_credentials.answer(request)
        return Response(200, _encode(members).encode(), (JSON, *NO_STORE))

    async def _jwks(self, request: Request) -> Response:
        check_head(request, methods=READ, hosts=self._parts.hosts)
        return _cached(request, await self._parts.keys.jwks(), self._parts.jwks_max_age)

    async def _metadata(self, request: Request) -> Response:
        check_head(request, methods=READ, hosts=self._parts.hosts)
        return _cached(request, await self._parts.metadata.document(), METADATA_MAX_AGE)

    async def _status(self, lists: StatusLists, rest: bytes, request: Request) -> Response:
        check_head(request, methods=READ, hosts=self._parts.hosts)
        max_age = int(lists.rules.ttl.total_seconds())
        if not rest:
            return _cached(request, await lists.aggregation(), max_age)
        if re.fullmatch(rb"/(0|[1-9][0-9]{0,8})", rest) is None:
            raise NotFound("status.list")
        return _cached(request, await lists.signed_list(int(rest[1:])), max_age, STATUS_LIST)

    async def _authorize(self, request: Request) -> Response:
        check_head(request, methods=("GET", "HEAD", "POST"), hosts=self._parts.hosts)
        raise UnsupportedResponseType("authorize.unsupported")


def _log_refusal(refusal: OAuthError, request: Request) -> None:
    """Of a flood, only what has an event has a line."""
    if not isinstance(refusal, RateLimited) or refusal.is_recorded:
        status, peer = refusal.status, request.peer.address
        log.info("refused", request_id=request.id, reason=refusal.reason, status=status, peer=peer)


async def _nowhere(_request: Request) -> Response:
    raise NotFound("request.path")


def _cached(request: Request, document: Document, max_age: int, kind: tuple[bytes, bytes] = JSON) -> Response:
    """Answer with a public document, or 304 when the caller has it. RFC 9110 §13.1.2."""
    headers = (
        (b"etag", document.etag.encode()),
        (b"cache-control", f"public, max-age={max_age}".encode()),
        (b"access-control-allow-origin", b"*"),
    )
    known = b",".join(request.header_values(b"if-none-match")).decode("latin-1")
    if document.etag in {tag.strip().removeprefix("W/") for tag in known.split(",")} or known.strip() == "*":
        return Response(304, b"", headers, is_shared=True)
    return Response(200, document.body, (kind, *headers), is_shared=True)


def _path_of(url: str) -> str:
    rest = url.partition("://")[2]
    slash = rest.find("/")
    return "" if slash < 0 else rest[slash:].rstrip("/")


def _is_below(path: bytes, prefix: bytes) -> bool:
    return path == prefix or path.startswith(prefix + b"/")


def _strip(scope: Scope, base: str, raw_path: bytes) -> Scope:
    """Return the scope as the admin application expects it: paths below the issuer's own path."""
    return {**scope, "path": scope["path"].removeprefix(base), "raw_path": raw_path.removeprefix(base.encode())}

"""A guard in front of any ASGI application: no request reaches it that does not carry what its path needs.

It depends on nothing but this package. What it cannot decide it refuses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Final
from urllib.parse import urlsplit

from watchword.errors import BadSettings, InsufficientScope, MethodNotAllowed, OAuthError, WatchwordError
from watchword.protocol import names
from watchword.protocol.metadata import InvalidMetadata, build_resource_metadata, well_known_url
from watchword.resource.caller import CURRENT_CALLER
from watchword.resource.credentials import find_scheme
from watchword.resource.paths import read_path
from watchword.resource.refusal import Refusal, build_refusal
from watchword.resource.rules import WEBSOCKET, Needs, Rule, RuleBook
from watchword.resource.verifier import Admission, Verifier

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY: Final = "watchword.caller"
"""Where the caller stands in the scope of a request that was let in."""

_UNKNOWN: Final = Needs((), is_public=False)
_log = logging.getLogger("watchword.resource")


class Guard:
    """An ASGI application that lets through to ``app`` what the rules allow.

    Without ``rules`` every path needs a token; with them, a request that none covers is refused. ``scopes`` are needed
    everywhere besides. ``public`` paths (patterns as in ``Rule``) need nothing. The caller is ``scope["watchword.caller"]``
    and ``current_caller()``. An ``OAuthError`` that the application raises before it answers is answered here, too, so
    that ``current_caller().require("write:data")`` is all a handler needs; the 500 that a framework makes of it is dropped.

    ``resource_metadata`` is the RFC 9728 document to serve and to name in challenges; its ``resource`` must be the
    verifier's audience. Left out, it is made of what is known here if the audience is a URL.

    Raises:
        BadSettings: guard.rule, guard.realm, guard.resource_metadata.
    """

    def __init__(
        self,
        app: App,
        verifier: Verifier,
        *,
        rules: Iterable[Rule] = (),
        scopes: Iterable[str] = (),
        public: Iterable[str] = (),
        resource_metadata: Mapping[str, object] | None = None,
        realm: str = "",
    ) -> None:
        self._app = app
        self._root = getattr(app, "root_path", None)
        self._verifier = verifier
        self._rules = RuleBook(rules, scopes=scopes, public=public)
        self._realm = _check_realm(realm or verifier.audience)
        self._document = _check_metadata(resource_metadata, verifier) or _build_metadata(verifier, self._rules.scopes)
        self._metadata_url = _metadata_url(self._document)
        self._metadata_path = urlsplit(self._metadata_url).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._serve_http(scope, receive, send)
        elif kind == "websocket":
            await self._serve_websocket(scope, receive, send)
        else:
            raise ValueError("a guard lets through no kind of connection that it does not know")

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._metadata_path and scope["path"] == self._metadata_path:
            await _send_refusal(send, self._metadata_answer(scope), method=str(scope["method"]))
            return
        method = str(scope["method"])
        outcome = await self._decide(scope, "" if method == WEBSOCKET else method)
        if isinstance(outcome, Refusal):
            await _send_refusal(send, outcome, method=str(scope["method"]))
            return
        outgoing = _Outgoing(send, outcome.nonce if outcome is not None else "")
        try:
            await self._pass_on(outcome, scope, receive, outgoing)
        except OAuthError as error:
            if outgoing.has_started:
                raise
            outgoing.forget()
            await _send_refusal(send, self._refuse(error, _UNKNOWN, scope), method=str(scope["method"]))
        finally:
            await outgoing.release()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = await self._decide(scope, WEBSOCKET)
        if isinstance(outcome, Refusal):
            await receive()
            await _refuse_websocket(scope, send, outcome)
            return
        outgoing = _Outgoing(send)
        try:
            await self._pass_on(outcome, scope, receive, outgoing)
        except OAuthError as error:
            if outgoing.has_started:
                raise
            await _refuse_websocket(scope, send, self._refuse(error, _UNKNOWN, scope))

    async def _decide(self, scope: Scope, method: str) -> Admission | Refusal | None:
        """Return who may pass (nobody, on a public path), or the answer to one who may not. It lets no exception out."""
        needs = _UNKNOWN
        try:
            found = self._rules.find_needs(method, read_path(self._as_routed(scope)))
            needs = found or _UNKNOWN
            if needs.is_public:
                return None
            admission = await self._verifier.admit(scope, scopes=needs.scopes)
        except Exception as error:  # noqa: BLE001 -- whatever went wrong in deciding, nobody passes
            return self._refuse(error, needs, scope)
        return admission if found else self._refuse(InsufficientScope("guard.no_rule", scope=()), needs, scope)

    def _as_routed(self, scope: Scope) -> Scope:
        """Return the scope as the application will route it: FastAPI's ``root_path`` replaces that of the server."""
        return {**scope, "root_path": self._root} if isinstance(self._root, str) and self._root else scope

    async def _pass_on(self, admission: Admission | None, scope: Scope, receive: Receive, send: Send) -> None:
        if admission is None:
            await self._app(scope, receive, send)
            return
        mark = CURRENT_CALLER.set(admission.caller)
        try:
            await self._app({**scope, SCOPE_KEY: admission.caller}, receive, send)
        finally:
            CURRENT_CALLER.reset(mark)

    def _refuse(self, error: Exception, needs: Needs, scope: Scope) -> Refusal:
        if isinstance(error, WatchwordError):
            _log.info("a request is refused: %s", error.reason)
        else:
            _log.error("a request is refused: the verifier failed", exc_info=error)
        return build_refusal(
            error,
            realm=self._realm,
            resource_metadata=self._metadata_url,
            scopes=needs.scopes,
            possession=self._verifier.possession,
            scheme=find_scheme(scope),
        )

    def _metadata_answer(self, scope: Scope) -> Refusal:
        if scope["method"] not in ("GET", "HEAD"):
            return self._refuse(MethodNotAllowed("request.method", allow="GET, HEAD"), _UNKNOWN, scope)
        headers = (("content-type", "application/json"), ("cache-control", "public, max-age=3600"))
        return Refusal(200, headers, json.dumps(self._document, separators=(",", ":")).encode())


class _Outgoing:
    """Sends, and remembers whether the answer has begun.

    A 500 is held back until more than one body follows or the application has returned: it is what frameworks answer for
    whatever a handler has raised, before they raise it on. ``nonce`` is for the caller's next proof.
    """

    __slots__ = ("_held", "_nonce", "_send", "has_started")

    def __init__(self, send: Send, nonce: str = "") -> None:
        self._send = send
        self._nonce = nonce
        self._held: list[Message] = []
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if self._nonce and message["type"] == "http.response.start":
            message = _with_nonce(message, self._nonce)
        is_start = message["type"] == "http.response.start" and message.get("status") == 500
        is_whole_body = message["type"] == "http.response.body" and not message.get("more_body")
        if is_start or (self._held and is_whole_body):
            self._held.append(message)
            return
        await self.release()
        self.has_started = True
        await self._send(message)

    async def release(self) -> None:
        """Send what was held back."""
        held, self._held = self._held, []
        for message in held:
            self.has_started = True
            await self._send(message)

    def forget(self) -> None:
        """Never send what was held back: there is another answer."""
        self._held = []


def _with_nonce(message: Message, nonce: str) -> Message:
    """RFC 9449 §8.2 and §9: with the answer, so that nobody has to be refused for want of it; and not for another's eyes."""
    headers = [*_pairs(message.get("headers"))]
    headers += [(names.DPOP_NONCE_HEADER.encode(), nonce.encode()), (b"cache-control", b"no-store")]
    return {**message, "headers": headers}


def _pairs(headers: object) -> Iterable[tuple[bytes, bytes]]:
    return headers if isinstance(headers, Iterable) else ()


async def _refuse_websocket(scope: Scope, send: Send, answer: Refusal) -> None:
    extensions = scope.get("extensions")
    if isinstance(extensions, Mapping) and "websocket.http.response" in extensions:
        await _send_refusal(send, answer, prefix="websocket.")
    else:
        await send({"type": "websocket.close", "code": 1008})


async def _send_refusal(send: Send, answer: Refusal, *, method: str = "GET", prefix: str = "") -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": f"{prefix}http.response.start", "status": answer.status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": b"" if method == "HEAD" else answer.body})


def _check_realm(realm: str) -> str:
    if not (realm.isascii() and realm.isprintable()):
        raise BadSettings("guard.realm", detail="printable ASCII: it stands in a header")
    return realm


def _check_metadata(document: Mapping[str, object] | None, verifier: Verifier) -> Mapping[str, object] | None:
    """Return the document as it is to be served, if tokens for its resource are accepted here (RFC 9728 §3.3)."""
    if document is None:
        return None
    servers = document.get("authorization_servers")
    if document.get("resource") != verifier.audience or not isinstance(servers, (list, tuple)):
        raise BadSettings("guard.resource_metadata", detail="resource must be the verifier's audience")
    if verifier.issuer not in servers:
        raise BadSettings("guard.resource_metadata", detail="authorization_servers must name the verifier's issuer")
    return dict(document)


def _build_metadata(verifier: Verifier, scopes: tuple[str, ...]) -> Mapping[str, object] | None:
    try:
        return build_resource_metadata(
            resource=verifier.audience,
            authorization_servers=(verifier.issuer,),
            scopes_supported=scopes,
            dpop_signing_alg_values_supported=verifier.possession.dpop_algorithms,
            dpop_bound_access_tokens_required=verifier.possession.is_required,
        )
    except InvalidMetadata:
        return None  # a plain name: no URL at which a document about it could stand


def _metadata_url(document: Mapping[str, object] | None) -> str:
    return well_known_url(str(document["resource"]), names.PATH_RESOURCE_METADATA) if document else ""

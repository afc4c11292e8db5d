"""``GET /oauth/events``: the revocation feed over HTTP, as server-sent events or by long polling."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from watchword.asgi.bugs import place_of
from watchword.asgi.messages import Receive, Response, Scope, Send, send_response
from watchword.asgi.oauth_errors import JSON, NO_STORE, render_fault, render_refusal
from watchword.asgi.overload import Slots
from watchword.errors import Fault, InvalidRequest, OAuthError, Overloaded, RateLimited
from watchword.protocol import names
from watchword.resource.credentials import find_scheme, find_token
from watchword.resource.possession import Possession
from watchword.resource.refusal import build_refusal
from watchword.server.audit import Audit
from watchword.server.entry import Request
from watchword.server.feed import Feed, Listener
from watchword.server.feed_access import Reader
from watchword.server.limits import RequestLimits
from watchword.server.request_head import check_certificate_header, check_head

LONGEST_WAIT: Final = 60
"""Seconds of one long poll, at most."""

REALM: Final = "watchword events"
_EVENT_STREAM: Final = b"text/event-stream"
_POSITION: Final = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,18})")
_HEADERS: Final = (
    (b"content-type", _EVENT_STREAM),
    *NO_STORE,
    (b"x-accel-buffering", b"no"),  # nginx: pass on at once what comes
)
_BACK_WITHIN: Final = 1500  # milliseconds over which those who are sent away come back

_NO_PLACE: Final = frozenset({"feed.readers", "feed.agent_readers"})

log = structlog.get_logger("watchword.http")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedParts:
    """What the feed is served with."""

    feed: Feed
    possession: Possession
    audit: Audit
    limits: RequestLimits
    slots: Slots
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request asks for. ``wait`` is in seconds; nothing for a stream."""

    generation: int
    position: int
    wait: float | None


class FeedEndpoint:
    """Lets a reader in, then gives it what comes until its token ends, it leaves, or this process stops."""

    def __init__(self, parts: FeedParts) -> None:
        self._parts = parts

    def close(self) -> None:
        """End all streams: this process stops."""
        self._parts.feed.close()

    async def serve(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, however long that takes."""
        answering = _Answering(scope, receive, send, request.id)
        try:
            wish, reader = await self._admit(request, scope)
            feed = self._parts.feed
            async with (
                feed.listen(reader, generation=wish.generation, position=wish.position) as listener,
                answering.watching(listener),
            ):
                if wish.wait is None:
                    await _stream(feed, listener, answering)
                else:
                    await _poll(feed, listener, answering, wish.wait)
        except OAuthError as refusal:
            self._count(refusal)
            await answering.refuse(self._refusal(refusal, request, scope))
        except Exception as error:  # noqa: BLE001 -- the last resort, as everywhere: never a 500
            self._count(error)
            _log_failure(error, request)
            await answering.refuse(render_fault(request))

    async def _admit(self, request: Request, scope: Scope) -> tuple[_Wish, Reader]:
        try:
            with self._parts.slots:
                return await self._judge(request, scope)
        except OAuthError as refusal:
            async with self._parts.audit.trail(request, "feed.read"):
                raise refusal from None

    async def _judge(self, request: Request, scope: Scope) -> tuple[_Wish, Reader]:
        parts = self._parts
        await parts.limits.admit_peer(request.peer.address, request.received_at)
        check_head(request, methods=("GET",), hosts=parts.hosts)
        check_certificate_header(request)
        wish = _read_wish(request)
        scheme, token = find_token(scope)
        reader = await parts.feed.access.admit(token, request.received_at)
        if parts.possession.is_asked(scheme, reader.token.confirmation):
            await parts.possession.prove(scope, token, reader.token.confirmation)
        return wish, reader

    def _count(self, error: Exception) -> None:
        if isinstance(error, (RateLimited, Overloaded)) and error.reason in _NO_PLACE:
            self._parts.limits.observe(error.reason.replace(".", "_"))

    def _refusal(self, refusal: OAuthError, request: Request, scope: Scope) -> Response:
        log.info(
            "refused", request_id=request.id, reason=refusal.reason, status=refusal.status, peer=request.peer.address
        )
        if isinstance(refusal, RateLimited):
            return render_refusal(refusal, request)
        scheme = find_scheme(scope)
        built = build_refusal(
            refusal, realm=REALM, scopes=(names.EVENTS_READ,), possession=self._parts.possession, scheme=scheme
        )
        return Response(
            built.status, built.body, tuple((name.encode(), value.encode()) for name, value in built.headers)
        )


class _Answering:
    """The one answer of a request: begun or not."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._common = ((b"x-content-type-options", b"nosniff"), (b"x-request-id", request_id.encode()))
        self._has_begun = self._is_over = False

    @asynccontextmanager
    async def watching(self, listener: Listener) -> AsyncIterator[None]:
        """Have the listener end when the client goes."""
        leaving = asyncio.create_task(self._wait_for_end(listener), name="watchword-feed-reader")
        try:
            yield
        finally:
            leaving.cancel()

    async def _wait_for_end(self, listener: Listener) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        listener.end("left")

    async def begin(self) -> None:
        self._has_begun = True
        headers = [*_HEADERS, *self._common]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        self._is_over = is_last
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})

    async def whole(self, response: Response) -> None:
        self._has_begun = self._is_over = True
        finished = Response(response.status, response.body, (*response.headers, *self._common))
        await send_response(self._scope, self._send, finished)

    async def refuse(self, response: Response) -> None:
        """Give this answer instead, or, where one has begun, end it."""
        if not self._has_begun:
            await self.whole(response)
        elif not self._is_over:
            await self.write(_farewell(), is_last=True)


async def _stream(feed: Feed, listener: Listener, answering: _Answering) -> None:
    await answering.begin()
    while (found := await feed.next(listener)) is not None:
        await answering.write(found.frame)
    if listener.ending != "left":
        await answering.write(_farewell(), is_last=True)


async def _poll(feed: Feed, listener: Listener, answering: _Answering, seconds: float) -> None:
    """Answer with what is new at once, or as soon as there is something; with a beat when the time is over."""
    try:
        async with asyncio.timeout(seconds):
            while not feed.has_news(listener) and not listener.ending:
                await listener.wait()
    except TimeoutError:
        pass
    found = await feed.next(listener)
    if found is None:
        raise Overloaded("feed.closing")
    members = {"events": [found.token], "position": _position(listener), "moreAvailable": feed.has_news(listener)}
    body = json.dumps(members, separators=(",", ":")).encode()
    await answering.whole(Response(200, body, (JSON, *NO_STORE)))


def _position(listener: Listener) -> str:
    return f"{listener.generation}-{listener.position}"


def _farewell() -> bytes:
    """Ask the reader to come back, not at the same moment as all the others."""
    return b"retry: %d\n\n" % (100 + secrets.randbelow(_BACK_WITHIN))


def _read_wish(request: Request) -> _Wish:
    """Return where the reader stands, and in which form it reads.

    Raises:
        InvalidRequest: feed.query, feed.position, feed.wait
    """
    pairs = [pair.partition("=")[::2] for pair in request.query.decode("latin-1").split("&") if pair]
    parameters = dict(pairs)
    if len(parameters) != len(pairs) or names.ACCESS_TOKEN in parameters:
        raise InvalidRequest("feed.query")
    generation, position = _read_position(request, parameters)
    return _Wish(generation, position, _read_wait(request, parameters))


def _read_position(request: Request, parameters: dict[str, str]) -> tuple[int, int]:
    last = request.header_values(b"last-event-id")
    text = last[0].decode("latin-1") if last else parameters.get("after", "")
    if len(last) > 1 or (text and _POSITION.fullmatch(text) is None):
        raise InvalidRequest("feed.position")
    if not text:
        return 0, 0
    generation, _, position = text.partition("-")
    return int(generation), int(position)


def _read_wait(request: Request, parameters: dict[str, str]) -> float | None:
    text = parameters.get("wait")
    if text is None:
        accepted = b",".join(request.header_values(b"accept")).lower()
        return 0.0 if b"application/json" in accepted and _EVENT_STREAM not in accepted else None
    if re.fullmatch(r"[0-9]{1,3}", text) is None or int(text) > LONGEST_WAIT:
        raise InvalidRequest("feed.wait", facts={"limit": str(LONGEST_WAIT)})
    return float(text)


def _log_failure(error: Exception, request: Request) -> None:
    if isinstance(error, Overloaded):
        return
    if isinstance(error, Fault):
        log.error("fault", request_id=request.id, reason=error.reason, detail=error.detail)
    else:
        log.error("bug", request_id=request.id, kind=type(error).__name__, place=place_of(error))

"""One connection to a revocation feed: asked for with the API's own token, and read until it ends. WHATWG server-sent events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from watchword.errors import WatchwordError
from watchword.ports.http import HttpRequest, Stream, StreamingTransport, Transport
from watchword.protocol import jose, names
from watchword.protocol.event_stream import EVENT_STREAM, EventStreamReader
from watchword.protocol.security_event import MAX_SIZE
from watchword.resource.feed_state import Position

UNKNOWN_LIFE: Final = timedelta(minutes=5)
"""How long a token lives that does not say it to us."""

RENEW_AT: Final = 0.9
"""The part of its life after which another connection is made with another token. A ``Login`` has a new one by then."""


class ServerLogin(Protocol):
    """What is needed of a ``watchword.Login``: the API's own, at its own issuer."""

    @property
    def issuer(self) -> str:
        """Who issues its tokens, and whose feed is read."""
        ...

    def headers(
        self, method: str, url: str, *, scope: str | None = None, resource: str | None = None
    ) -> dict[str, str]:
        """Return ``authorization``, and of a bound token ``dpop``, of one request."""
        ...

    def heed(self, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Learn from an answer; say whether the request should be sent again."""
        ...

    def invalidate(self, token: str) -> None:
        """Never use this token again."""
        ...

    def transport(self) -> Transport:
        """Return the way out that shows what the login has to show."""
        ...


class FeedBroken(WatchwordError):
    """No feed, or no longer: feed.status, feed.content, feed.transport (it cannot read what has no end), feed.ended."""


class FeedAddress:
    """Where a feed is, who reads it, and how."""

    def __init__(
        self, login: ServerLogin, *, url: str | None, transport: Transport | None, patience: timedelta
    ) -> None:
        self.login: Final = login
        self.audience: Final = login.issuer + names.PATH_EVENTS
        self.url: Final = url or self.audience
        self._transport = transport
        self._patience = patience

    def dial(self, start: Position | None, now: datetime) -> FeedConnection:
        """Return a connection whose events continue from ``start``, or begin with a snapshot.

        Raises:
            WatchwordError: of the login, of the transport; FeedBroken.
        """
        transport = self._transport or self.login.transport()
        if not isinstance(transport, StreamingTransport):
            raise FeedBroken("feed.transport", detail=type(transport).__name__)
        stream, token = self._ask(transport, start)
        if stream.status in (401, 403):
            self.login.invalidate(token)
        if stream.status != 200:
            stream.close()
            raise FeedBroken("feed.status", detail=f"{self.url} answered {stream.status}")
        kind = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != EVENT_STREAM:
            stream.close()
            raise FeedBroken("feed.content", detail=f"{self.url} answered with {kind or 'nothing'}")
        return FeedConnection(stream, _renewal(token, now))

    def _ask(self, transport: StreamingTransport, start: Position | None) -> tuple[Stream, str]:
        """Ask, and once more where the answer says how: a nonce that a proof must repeat. RFC 9449 §9."""
        for attempt in (1, 2):
            headers = self.login.headers("GET", self.url, scope=names.EVENTS_READ, resource=self.audience)
            token = headers["authorization"].partition(" ")[2]
            headers |= {"accept": EVENT_STREAM, "cache-control": "no-store"}
            if start is not None:
                headers["last-event-id"] = f"{start[0]}-{start[1]}"
            stream = transport.stream(HttpRequest(method="GET", url=self.url, headers=headers), patience=self._patience)
            is_again = self.login.heed(self.url, stream.status, stream.headers)
            if attempt == 2 or not is_again:
                return stream, token
            stream.close()
        raise AssertionError("two attempts")


class FeedConnection:
    """A connection that is open. From ``renew_at`` on there should be another, with a token that lives longer."""

    def __init__(self, stream: Stream, renew_at: datetime) -> None:
        self._stream = stream
        self.renew_at = renew_at

    def tokens(self) -> Iterator[str]:
        """Yield one signed event after the other until the connection ends.

        Raises:
            TransportError, InvalidStream
        """
        reader = EventStreamReader(max_size=MAX_SIZE)
        with closing(self._stream):
            while piece := self._stream.read():
                for event in reader.feed(piece):
                    yield event.data

    def close(self) -> None:
        """End it; who reads is woken."""
        self._stream.close()


def _renewal(token: str, now: datetime) -> datetime:
    try:
        unverified = jose.parse_compact(token, typ=names.TYP_ACCESS_TOKEN)
        ends = datetime.fromtimestamp(jose.numeric_date(jose.unverified_claims(unverified).get(names.EXP)), UTC)
    except jose.InvalidJws:  # opaque to us: it is our issuer's business what it is
        ends = now + UNKNOWN_LIFE
    return now + max(ends - now, timedelta(0)) * RENEW_AT

"""A reader of the feed in process: the application is asked over ASGI, and what it sends is taken piece by piece."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from watchword.asgi.peer import SHOWN, Shown
from watchword.protocol import names
from watchword.protocol.jwks import parse_jwks
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.protocol.security_event import FeedEvent, check_security_event, parse_security_event
from watchword.server.revocations import revoke
from watchword.testing.server import InProcessServer, Registered

SECONDS = 10
ALGORITHMS = frozenset({"ES256"})


def add_feed(server: InProcessServer) -> None:
    """Register what is read from."""
    server.add_resource("events", ("events:read",), identifier=server.issuer + names.PATH_EVENTS)


def add_api(server: InProcessServer, name: str = "api", **facts: Any) -> Registered:
    """Register a resource server."""
    facts.setdefault("serves", ("my-api",))
    return server.add_agent(name, permissions={"events": ("events:read",)}, **facts)


def token_of(server: InProcessServer, api: Registered) -> str:
    answer = server.token(api, scope=names.EVENTS_READ)
    assert answer.status == 200, answer.body
    return str(answer.json["access_token"])


def revoke_one(server: InProcessServer, target: str, kind: RevocationKind = RevocationKind.AGENT) -> None:
    now = server.clock()
    server.commit(revoke(kind, target, cutoff=now, now=now))


def read(server: InProcessServer, token: str) -> FeedEvent:
    """Return what an event says, checked as an API checks it."""
    unverified = parse_security_event(token)
    keys = parse_jwks(server.ask("GET", names.PATH_JWKS).json)
    key = keys.find(str(unverified.header["kid"]), str(unverified.header["alg"]))
    assert key is not None
    audience = server.issuer + names.PATH_EVENTS
    return check_security_event(unverified, key=key, issuer=server.issuer, audience=audience, algorithms=ALGORITHMS)


class Stream:
    """``with Stream(server, token) as stream``: an open stream."""

    def __init__(
        self, server: InProcessServer, token: str = "", *, query: str = "", shown: Shown | None = None, **headers: str
    ) -> None:
        self.server = server
        if token:
            headers.setdefault("authorization", f"Bearer {token}")
        self._headers = [(b"host", server.host.encode())]
        self._headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self._query = query.encode()
        self._extensions = {} if shown is None else {SHOWN: shown}
        self._buffer = b""
        self.retry = 0

    def __enter__(self) -> Stream:
        self.server.run(self._open())
        first = self._take()
        self.status = int(first["status"])
        self.headers = {name.decode(): value.decode() for name, value in first["headers"]}
        return self

    def __exit__(self, *_: object) -> None:
        self.server.run(self._close())

    async def _open(self) -> None:
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._left = asyncio.Event()
        requests = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await self._left.wait()
            return {"type": "http.disconnect"}

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": names.PATH_EVENTS,
            "raw_path": names.PATH_EVENTS.encode(),
            "query_string": self._query,
            "headers": self._headers,
            "client": ("192.0.2.9", 50000),
            "server": ("127.0.0.1", 8020),
            "extensions": self._extensions,
        }
        self._task = asyncio.create_task(self.server.app(scope, receive, self._sent.put))  # type: ignore[arg-type]

    async def _close(self) -> None:
        self._left.set()
        await asyncio.wait_for(self._task, SECONDS)

    def _take(self) -> dict[str, Any]:
        return self.server.run(asyncio.wait_for(self._sent.get(), SECONDS))

    @property
    def json(self) -> Any:
        return json.loads(self._take()["body"])

    def next(self) -> tuple[str, FeedEvent]:
        """Return the id and the content of the next event."""
        lines = self.block()
        assert lines[1] == "event: revocations"
        return lines[0].removeprefix("id: "), read(self.server, lines[2].removeprefix("data: "))

    def news(self) -> FeedEvent:
        """Return the next event that is no beat."""
        while True:
            event = self.next()[1]
            if event.after != event.sequence:
                return event

    def block(self) -> list[str]:
        message = self._take()
        return [*message["body"].decode().rstrip("\n").split("\n"), "" if message["more_body"] else "end"]

    def end(self) -> int:
        """Return after how many milliseconds the reader is to come again, once the stream has ended."""
        while (lines := self.block())[-1] != "end":
            pass
        return int(lines[0].removeprefix("retry: "))


def kinds(event: FeedEvent) -> list[tuple[str, str]]:
    return [(str(one.kind), one.target) for one in event.revocations]


def targets(*revocations: Revocation) -> list[str]:
    return [one.target for one in revocations]

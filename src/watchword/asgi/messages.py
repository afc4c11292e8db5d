"""ASGI's own vocabulary, typed, and the two halves of a message: reading a bounded body, sending a complete answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

WHOLE = "watchword.whole"
"""The ASGI extension by which our own listeners take a complete answer in one piece (``whole.py``)."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. Header names are lower case. One ``is_shared`` may be given to many: it names nobody's request."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
    is_shared: bool = False


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the body, or its first ``limit + 1`` bytes when it is longer: enough to be refused, no more is read."""
    if _announced_length(scope) > limit:
        return bytes(limit + 1)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > limit or not message.get("more_body", False):
            return b"".join(parts)[: limit + 1]


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def send_response(scope: Scope, send: Send, response: Response) -> None:
    """Send a complete answer, in one piece where that is offered; a HEAD gets the headers of the GET."""
    headers = [*response.headers]
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    body = b"" if scope["method"] == "HEAD" else response.body
    offered = scope.get("extensions", {}).get(WHOLE)
    if offered is not None:
        await offered["send"](response.status, headers, body)
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""One request to an ASGI application, and what came back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from watchword.asgi.messages import App, Message


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header that stands at most once."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise AssertionError(f"{name} stands {len(values)} times")
        return values[0] if values else None

    @property
    def json(self) -> Any:  # noqa: ANN401 -- a JSON document
        """The body as JSON."""
        return json.loads(self.body)


async def exchange(app: App, scope: dict[str, Any], body: bytes) -> Answer:
    """Send a request whose body comes in one piece; return the answer."""
    sent: list[Message] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    headers = tuple((name.decode(), value.decode()) for name, value in start.get("headers", ()))
    return Answer(start["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]))

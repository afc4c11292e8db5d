"""Server-sent events, read strictly enough for a feed: WHATWG HTML, section 9.2, "Server-sent events"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watchword.errors import WatchwordError

EVENT_STREAM: Final = "text/event-stream"


class InvalidStream(WatchwordError):
    """An event is larger than was agreed, or is no text: stream.size, stream.encoding."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event with its data; ``event`` is its type, ``id`` where it stands in the stream."""

    data: str
    event: str = "message"
    id: str = ""


class EventStreamReader:
    """Makes events of the pieces in which they come. ``max_size`` is in bytes: of what one event may be at most."""

    def __init__(self, *, max_size: int) -> None:
        self._max_size = max_size
        self._rest = bytearray()
        self._searched = 0
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that this piece completes. Comments, unknown fields and events without data are passed over.

        Raises:
            InvalidStream: stream.size, stream.encoding.
        """
        self._rest += piece
        found: list[ServerSentEvent] = []
        while (end := self._rest.find(b"\n", self._searched)) >= 0:
            line = bytes(self._rest[:end]).removesuffix(b"\r")
            del self._rest[: end + 1]
            self._searched = 0
            if line:
                self._lines.append(line)
                self._size += len(line)
            elif self._lines:
                found += _build(self._lines)
                self._lines, self._size = [], 0
        self._searched = len(self._rest)
        if self._size + len(self._rest) > self._max_size:
            raise InvalidStream("stream.size")
        return found


def _build(lines: list[bytes]) -> list[ServerSentEvent]:
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        try:
            name, _, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise InvalidStream("stream.encoding") from None
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name in ("event", "id"):
            fields[name] = value
    if not data:
        return []
    return [ServerSentEvent("\n".join(data), fields.get("event") or "message", fields.get("id", ""))]

"""One client's connection: HTTP/1.1 with bounds on time and size, read strictly, closed so that nothing is lost.

Time is watched by one sweep over all connections, not by a timer each: ``deadline`` says until when what the client owes
must have come. A refusal here is made before there is a request, so it has no audit event; it is counted by its reason.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httptools
import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from watchword.asgi.bounds import Bounds
from watchword.asgi.early_refusals import render_early
from watchword.asgi.transport import Exit, Flow
from watchword.asgi.wire import WireProtocol

DRAIN_IDLE_SECONDS: Final = 1
"""How long an idle connection may still ask after the server was told to stop."""

_PIECE: Final = 4096
"""How many bytes are parsed at a time: no more requests are found in them than can be kept."""

LINGER_SECONDS: Final = 2
"""How long bytes are read and thrown away after a refusal, so that the answer is not lost in a reset."""


@dataclass(slots=True)
class Reception:
    """What all connections of one listener share."""

    config: uvicorn.Config
    bounds: Bounds
    count_refused: Callable[[str], None]
    state: ServerState = field(default_factory=ServerState)
    is_draining: bool = False

    def connection(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def renew_date(self, date: str) -> None:
        """Say this date on every answer from now on. RFC 9110 §6.6.1."""
        self.state.default_headers = [(b"date", date.encode())]


class Connection(WireProtocol):
    """An asyncio protocol. ``deadline`` is in the loop's time."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(reception.config, reception.state, {})
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._reception = reception
        self._bounds = reception.bounds
        self._is_in_head = False
        self._is_deaf = False
        self._is_leaving = False
        self._has_ended = False
        self._held = b""
        self._outstanding = ""
        self._running: RequestResponseCycle | None = None
        self._head_size = self._unfinished = 0
        self._refusal = "unreadable"
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin to wait for a request; with too many connections already, say so and wait for nothing."""
        super().connection_made(transport)
        self.flow = self._flow = Flow(self.transport)
        self._exit = Exit(self.transport, self._leave)
        self._wait()
        if len(self.connections) > self._bounds.connections:
            self._refuse("full")

    def data_received(self, data: bytes) -> None:
        """Parse, a piece at a time; hold what is behind the requests that may wait."""
        self._held += data
        self._parse()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio's own signature
        """A client that has sent all it wants to say still gets its answer."""
        latest = self._latest
        self._has_ended = True
        if latest is None or latest.response_complete or latest.more_body or self.scheme == "https":
            return None
        latest.keep_alive = False
        self._is_deaf = True
        return True

    def pause_writing(self) -> None:
        """The client does not read: it has so long to begin."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self.is_resuming:
            return
        self._is_in_head, self._head_size, self._unfinished = True, 0, 0
        if self._is_idle:
            self._wait()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        super().on_url(url)
        if len(self.url) > self._bounds.url:
            self._stop("url_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the head, a trailer."""
        if self.is_resuming:
            return
        if not self._is_in_head:  # a trailer: it would be taken for a header by whoever reads the list later
            self._stop("unreadable")
        super().on_header(name, value)
        self._unfinished = 0
        self._head_size += len(name) + len(value)
        if self._head_size > self._bounds.head or len(self.headers) > self._bounds.headers:
            self._stop("head_too_large")

    def on_headers_complete(self) -> None:
        """The head is there: judge its framing, then hand it on."""
        if self.is_resuming:
            super().on_headers_complete()
            return
        self._is_in_head = False
        super().on_headers_complete()
        self.cycle.transport = self._exit  # type: ignore[assignment]  # what a response uses of a transport
        if self._reception.is_draining:
            self.cycle.keep_alive = False
        self._wait()

    def on_message_complete(self) -> None:
        """The request is there to its end."""
        super().on_message_complete()
        if self.parser.should_upgrade():
            return
        self.cycle.more_body = False  # also when the answer did not wait for it
        self._wait()

    def on_response_complete(self) -> None:
        """Begin with what has come meanwhile, or wait for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._is_leaving:
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, application = self.pipeline.pop()
            self._start_asgi_task(cycle, application)
        elif self._outstanding:
            self._say(self._outstanding)
            return
        self._wait()
        if self._held:
            self._parse()

    def expire(self) -> None:
        """The deadline has passed: end what is overdue."""
        if self._is_leaving or self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self._is_in_head:
            self._refuse("head_late")
        elif self._latest is not None and self._latest.more_body:
            self._refuse("body_late")
        else:
            self.transport.close()

    def drain(self) -> None:
        """Answer what is under way and then close; what is idle may still ask, once, for a moment."""
        if not self._is_idle:
            self.cycle.keep_alive = False
        elif not self._is_in_head:
            self.deadline = min(self.deadline, self.loop.time() + DRAIN_IDLE_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def _latest(self) -> RequestResponseCycle | None:
        return self.cycle  # uvicorn's type does not say that there is none at first

    @property
    def _is_idle(self) -> bool:
        return self._latest is None or self._latest.response_complete

    def _wait(self) -> None:
        """Give the client the time it has for what it owes now; while an answer is being made it owes nothing."""
        bounds = self._bounds
        if self._is_leaving or self.flow.write_paused:
            self._wait_for(bounds.write_timeout)
        elif self._is_idle:
            self._wait_for(self._idle_seconds())
        elif self.cycle.more_body and not self.pipeline:
            self._wait_for(bounds.body_timeout)
        else:
            self.deadline = math.inf

    def _idle_seconds(self) -> float:
        if self._is_in_head:
            return self._bounds.header_timeout
        if self._latest is None:
            return DRAIN_IDLE_SECONDS if self._reception.is_draining else self._bounds.header_timeout
        return self._bounds.body_timeout if self._latest.more_body else self._bounds.keep_alive_timeout

    def _wait_for(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _stop(self, reason: str) -> None:
        """Leave the parser."""
        self._refusal = reason
        raise ValueError(reason)

    def _parse(self) -> None:
        at = 0
        while at < len(self._held) and len(self.pipeline) < self._bounds.pipelined and not self._is_deaf:
            piece = self._held[at : at + _PIECE]
            at += len(piece)
            self._parse_piece(piece)
        self._held = b"" if self._is_deaf else self._held[at:]
        self._flow.is_full = bool(self._held)
        if self._held:
            self._flow.pause_reading()

    def _parse_piece(self, piece: bytes) -> None:
        was_in_head = self._is_in_head
        try:
            self.feed(piece)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if was_in_head and self._is_in_head:
                self._count_unfinished(len(piece))

    def _count_unfinished(self, size: int) -> None:
        """Count what the parser holds back until the header it belongs to is complete."""
        self._unfinished += size
        if self._unfinished > self._bounds.head:
            self._refuse("head_too_large" if self.headers else "url_too_long")

    def _refuse(self, reason: str) -> None:
        """Read no further. A refusal is said in its turn: never before, or instead of, the answer to an earlier request."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._reception.count_refused(reason)
        if not self._forget_unfinished():
            return
        if self._running is None or self._running.response_complete:
            self._say(reason)
        else:
            self._outstanding = reason

    def _forget_unfinished(self) -> bool:
        """Drop the request whose body was still arriving; tell whether it may still be answered."""
        cycle = self._latest
        if cycle is None or not cycle.more_body:
            return True
        if self.pipeline:
            self.pipeline.popleft()
            return True
        is_answered = cycle.response_started
        cycle.disconnected = True
        cycle.message_event.set()
        self._running = None
        if is_answered:
            self._leave()
        return not is_answered

    def _say(self, reason: str) -> None:
        self.transport.write(render_early(reason))
        self._leave()

    def _leave(self) -> None:
        """Close; who has not been heard out gets time to read what was said before the connection is gone."""
        self._is_leaving = True
        has_more = self._is_deaf or self._is_in_head or (self._latest is not None and self._latest.more_body)
        if self._has_ended or not has_more or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            self._wait()
            return
        self._is_deaf = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait_for(LINGER_SECONDS)

"""HTTP/1.1 as it stands on the wire, read so that no proxy in front can have read it otherwise. RFC 9112."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchword.asgi.framing import is_plain
from watchword.asgi.messages import WHOLE
from watchword.asgi.peer import SHOWN
from watchword.asgi.transport import Transport
from watchword.asgi.whole import send_whole

_FRAMING: Final = (b"content-length", b"transfer-encoding")


class WireProtocol(HttpToolsProtocol):
    """Refuses what the parser alone would let through (``framing.py``).

    An ``Upgrade`` is ignored (RFC 9110 §7.8). Java's HTTP client sends one with its every request over plain HTTP, and the
    parser would leave the body after it unread: a second one reads on from there.
    """

    is_resuming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection. What a client has shown in the handshake is the same for all of its requests."""
        super().connection_made(cast("asyncio.Transport", Transport(transport)))
        shown = getattr(transport.get_extra_info("ssl_object"), "shown", None)
        self._shown = {} if shown is None else {SHOWN: shown}

    def feed(self, data: bytes) -> None:
        """Read what has arrived.

        Raises:
            httptools.HttpParserError: it cannot be read, or a callback has stopped the reading.
        """
        while True:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._read_on()

    def _read_on(self) -> None:
        """Have the body of the request, and all that follows, read by a parser that knows of no upgrade."""
        framing = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self.is_resuming = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    def on_message_begin(self) -> None:
        """Begin a request, unless it is the one that is under way."""
        if not self.is_resuming:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if not self.is_resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self.is_resuming:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the application begin, if the head can be meant in one way only.

        Raises:
            ValueError: it cannot; ``feed`` raises then.
        """
        if self.is_resuming:
            self.is_resuming = False
            return
        if not is_plain(self.parser.get_http_version(), self.url, self.headers):
            raise ValueError("unreadable")
        super().on_headers_complete()
        self.scope["extensions"] = {WHOLE: {"send": partial(send_whole, self.cycle)}, **self._shown}

    def on_message_complete(self) -> None:
        """End the request, unless its body has not been read yet."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

"""HTTP/1.1 as it stands on the wire, read so that no proxy in front can have read it otherwise. RFC 9112."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING: Final = (b"content-length", b"transfer-encoding")


class _Transport:
    """A transport of which nothing is wanted any more after its end.

    An application may still be at work for a client that has gone, or that has sent something after its request which ended the
    connection. Its answer is for nobody; uvloop would raise into it, as if it were at fault.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def write(self, data: bytes) -> None:
        """Send, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Read no further, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, if there is still somebody."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- all else is the transport's own
        return getattr(self._transport, name)


class HttpProtocol(HttpToolsProtocol):
    """Refuses, with 400 and the end of the connection, what the parser alone would let through.

    That is: a target in another form than origin form, for no other says which of its two hosts is meant (§3.2.1); another
    version than 1.0 and 1.1 (§2.3); another transfer coding than ``chunked`` alone (§6.1).

    An ``Upgrade`` is ignored (RFC 9110 §7.8). Java's HTTP client sends one with its every request over plain HTTP, and the
    parser would leave the body after it unread: a second one reads on from there.
    """

    _is_resuming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        super().connection_made(cast("asyncio.Transport", _Transport(transport)))

    def data_received(self, data: bytes) -> None:
        """Read what has arrived."""
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _feed(self, data: bytes) -> None:
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
        self._is_resuming = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    def on_message_begin(self) -> None:
        """Begin a request, unless it is the one that is under way."""
        if not self._is_resuming:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if not self._is_resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self._is_resuming:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the application begin, if the head can be meant in one way only.

        Raises:
            ValueError: it cannot; the parser's owner answers.
        """
        if self._is_resuming:
            self._is_resuming = False
            return
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise ValueError("request target")
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("version")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise ValueError("transfer coding")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless its body has not been read yet."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

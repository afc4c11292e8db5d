"""Asking others over HTTP: what the client side and the resource side need, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from watchword.errors import WatchwordError


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. Header names are lower case. The body and ``authorization`` never show in a repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """The answer. Header names are lower case; a repeated header is joined with ``, ``."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportError(WatchwordError):
    """No usable answer: reasons ``http.connect``, ``http.timeout``, ``http.too_large``, ``http.redirect``, ``http.insecure``,
    ``http.protocol``, ``http.certificate``, ``http.name``, ``http.address``, ``http.port``."""


class Transport(Protocol):
    """Sends one request and reads the answer to its end.

    Follows no redirect, inflates nothing, reads at most its size limit, gives up after its time limit, speaks https only,
    plain http to loopback addresses excepted.

    Raises:
        TransportError
    """

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send from a thread that may block."""
        ...

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Send from an event loop."""
        ...


class Stream(Protocol):
    """An answer whose body goes on and on. Header names are lower case. Read by one thread, closed by any."""

    @property
    def status(self) -> int:
        """The status of the answer."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; a repeated one is joined with ``, ``."""
        ...

    def read(self) -> bytes:
        """Return what has come since, waiting for it; ``b""`` at the end.

        Raises:
            TransportError: nothing came for as long as was to be waited, the connection broke, or the stream was closed.
        """
        ...

    def close(self) -> None:
        """End it. Idempotent; a thread that reads is woken."""
        ...


@runtime_checkable
class StreamingTransport(Transport, Protocol):
    """A transport that also reads what has no end."""

    def stream(self, request: HttpRequest, *, patience: timedelta) -> Stream:
        """Send, and return the answer as soon as its head is here; blocks. ``patience`` is for every piece, the head included.

        Of a body there is no limit: who reads it sets one.

        Raises:
            TransportError
        """
        ...

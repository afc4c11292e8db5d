"""An answer without an end, read piece by piece from a thread that may block. Implements ``ports.http.Stream``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TypeVar

import httpx2

from watchword.adapters.outbound_failures import check_head, submit, within
from watchword.ports.http import HttpRequest, TransportError

Result = TypeVar("Result")


class OpenStream:
    """One answer on a transport's event loop. Each piece is asked for: who reads slowly is sent no more than he reads."""

    def __init__(self, response: httpx2.Response, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers.items())
        self._response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_raw()
        self._loop = loop
        self._patience = patience
        self._waiting: Future[bytes] | None = None
        self._closed = threading.Event()

    @classmethod
    def open(
        cls, client: httpx2.AsyncClient, loop: asyncio.AbstractEventLoop, request: HttpRequest, *, patience: float
    ) -> OpenStream:
        """Send the request and wait for the head of its answer.

        Raises:
            TransportError
        """
        response = _result(submit(within(patience, _send(client, request, patience)), loop))
        stream = cls(response, loop, patience)
        try:
            check_head(response)
        except TransportError:
            stream.close()
            raise
        return stream

    def read(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""
        if self._closed.is_set():
            raise TransportError("http.connect", detail="the stream was closed")
        self._waiting = submit(within(self._patience, self._next()), self._loop)
        if self._closed.is_set():  # by another thread, which may not have seen for what we wait
            self._waiting.cancel()
        return _result(self._waiting)

    def close(self) -> None:
        """Close the connection; who reads is woken."""
        self._closed.set()
        if self._waiting is not None:
            self._waiting.cancel()
        with suppress(TransportError):
            submit(_close(self._response), self._loop)

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")


async def _send(client: httpx2.AsyncClient, request: HttpRequest, patience: float) -> httpx2.Response:
    built = client.build_request(
        request.method,
        request.url,
        headers={**request.headers, "accept-encoding": "identity"},
        content=request.body or None,
        timeout=httpx2.Timeout(patience, read=None),
    )
    return await client.send(built, stream=True)


async def _close(response: httpx2.Response) -> None:
    with suppress(httpx2.HTTPError, httpx2.StreamError):
        await response.aclose()


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except CancelledError:
        pass
    except BaseException:
        future.cancel()
        raise
    raise TransportError("http.connect", detail="the stream was closed")

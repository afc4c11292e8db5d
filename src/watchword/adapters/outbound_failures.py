"""What goes wrong on the way out, in our own words: no exception that holds a request, and with it its secret, gets further."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from watchword.ports.http import TransportError

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """Return what comes of this in time.

    Raises:
        TransportError: and nothing else that a request can lead to.
    """
    import httpx2

    task = asyncio.current_task()
    if task is not None:  # who has gone does not look at how it ended, and that is no defect to be logged
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        async with asyncio.timeout(seconds):
            return await work
    except asyncio.CancelledError:  # by close(), or by a caller who has gone and does not look any more
        failure = TransportError("http.connect", detail="the transport was closed")
    except (TimeoutError, httpx2.TimeoutException):
        failure = TransportError("http.timeout", detail=f"no complete answer within {seconds:g} s")
    except (httpx2.ConnectError, httpx2.ProxyError) as error:
        failure = TransportError("http.connect", detail=str(error))
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        failure = TransportError("http.protocol", detail=f"{type(error).__name__}: {error}")
    raise failure  # outside of the handlers: those exceptions hold the request, and with it its secret


def check_head(response: httpx2.Response) -> None:
    """Return if the body of this answer may be read.

    Raises:
        TransportError: http.redirect, http.protocol (it is compressed, though that was not asked for).
    """
    if 300 <= response.status_code < 400 and response.status_code != 304:
        raise TransportError("http.redirect", detail=f"status {response.status_code}")
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise TransportError("http.protocol", detail="the answer is compressed, though identity was asked for")


def submit(work: Coroutine[object, object, Result], loop: asyncio.AbstractEventLoop) -> Future[Result]:
    """Have the loop do this.

    Raises:
        TransportError: http.connect: the loop is closed.
    """
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
    raise TransportError("http.connect", detail="the transport was closed meanwhile")

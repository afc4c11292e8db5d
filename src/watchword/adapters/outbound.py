"""The one way out: fetches over HTTP that trust nobody. Implements ``ports.http.Transport`` on httpx2.

All requests of a transport run on one event loop in a thread of its own. So threads and tasks of any loop share one pool
of connections, nobody's cancellation or closed loop breaks another's request, and the time limit holds for blocking
callers too: a socket's own timeouts start anew with every byte that drips in.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import os
import ssl
import threading
import weakref
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from watchword import __version__, forking
from watchword.adapters.outbound_certificate import OwnCertificate
from watchword.adapters.outbound_failures import check_head, submit, within
from watchword.adapters.outbound_guard import Guard, Pinned, Pinner
from watchword.ports.http import HttpRequest, HttpResponse, Stream, TransportError
from watchword.protocol.url import InvalidUrl, check_secure_url, parse_url

if TYPE_CHECKING:
    import httpx2

MAX_SIZE: Final = 1_048_576
"""Bytes of an answer's body."""

_CONNECT_TIMEOUT = timedelta(seconds=5)
_TOTAL_TIMEOUT = timedelta(seconds=10)
_KEPT_CONNECTIONS = 20
_inherited: list[object] = []


@dataclass(frozen=True, slots=True)
class _Lane:
    """An event loop in a thread, and the client whose connections live on it."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    client: httpx2.AsyncClient
    pinner: Pinner | None
    stop: weakref.finalize[[asyncio.AbstractEventLoop, threading.Thread, httpx2.AsyncClient, int], OutboundTransport]


class OutboundTransport:
    """Fetches with limits: https only (http to loopback), no redirects, no compression, no cookies, bounded size and time.

    Certificates are checked against the system's trust store, or ``SSL_CERT_FILE``/``SSL_CERT_DIR``; proxies are those of
    the environment. A forked child makes connections of its own.

    With a ``guard`` it goes where others say, and so not everywhere: https only, to the ports and addresses of the rules,
    each connection for one request, to the very address that was judged, past every proxy. A ``certificate``, a
    file and one with its key, is shown to servers that ask for one. ``plain_hosts`` are spoken to over plain http: a cloud's
    metadata server, which knows nothing else and is reached on the machine itself.
    """

    def __init__(
        self,
        *,
        connect_timeout: timedelta = _CONNECT_TIMEOUT,
        total_timeout: timedelta = _TOTAL_TIMEOUT,
        max_size: int = MAX_SIZE,
        guard: Guard | None = None,
        certificate: tuple[Path, Path] | None = None,
        plain_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._connect_timeout = connect_timeout.total_seconds()
        self._total_timeout = total_timeout.total_seconds()
        self._max_size = max_size
        self._guard = guard
        self._plain_hosts = plain_hosts
        self._certificate = OwnCertificate(*certificate) if certificate is not None else None
        self._lock = threading.Lock()
        self._lane: _Lane | None = None
        forking.register(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a transport is not pickled: build it in the process that uses it")

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send from a thread that may block."""
        future = self._start(request)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """Send from an asyncio event loop."""
        return await asyncio.wrap_future(self._start(request))

    def stream(self, request: HttpRequest, *, patience: timedelta) -> Stream:
        """Send, and return the answer as soon as its head is here, from a thread that may block.

        Raises:
            TransportError: also http.address: where others say where to go, nothing goes on without an end.
        """
        from watchword.adapters.outbound_stream import OpenStream

        if self._guard is not None:
            raise TransportError("http.address", detail="a guarded transport has no streams")
        lane = self._prepare(request)
        return OpenStream.open(lane.client, lane.loop, request, patience=patience.total_seconds())

    def close(self) -> None:
        """Close all connections. Idempotent; the next request opens new ones."""
        with self._lock:
            lane, self._lane = self._lane, None
        if lane is not None:
            lane.stop()

    def renew_after_fork(self) -> None:
        """Leave the parent's connections to the parent: neither used nor closed here."""
        self._lock = threading.Lock()
        if self._lane is not None:
            self._lane.stop.detach()
            _inherited.append(self._lane)
            self._lane = None

    def _start(self, request: HttpRequest) -> Future[HttpResponse]:
        lane = self._prepare(request)
        return submit(within(self._total_timeout, _exchange(lane, request, self._max_size)), lane.loop)

    def _prepare(self, request: HttpRequest) -> _Lane:
        try:
            if parse_url(request.url).host not in self._plain_hosts:
                check_secure_url(request.url, allow_loopback_http=True)
        except InvalidUrl as error:
            raise TransportError("http.insecure", detail=error.reason) from None
        if self._certificate is not None:
            self._certificate.refresh()
        return self._open_lane()

    def _open_lane(self) -> _Lane:
        with self._lock:
            if (
                self._lane is None or not self._lane.stop.alive
            ):  # the process ends, and somebody still has something to say
                self._lane = self._build_lane()
            return self._lane

    def _build_lane(self) -> _Lane:
        client = _build_client(self._connect_timeout, self._total_timeout, self._guard, self._certificate)
        pinner = Pinner(self._guard.rules) if self._guard is not None else None
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(loop,), name="watchword-outbound", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is nearly gone
            loop.close()
            raise TransportError("http.connect", detail=str(error)) from None
        return _Lane(loop, thread, client, pinner, weakref.finalize(self, _stop, loop, thread, client, os.getpid()))


_default: Final = OutboundTransport()


def default_transport() -> OutboundTransport:
    """Return the transport that everything in this process shares unless it is given another."""
    return _default


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _build_client(
    connect_timeout: float, total_timeout: float, guard: Guard | None, certificate: OwnCertificate | None
) -> httpx2.AsyncClient:
    import httpx2

    kept = _KEPT_CONNECTIONS if guard is None else 0  # a kept one was proved to be another host at the same address
    return httpx2.AsyncClient(
        headers={"user-agent": f"watchword/{__version__}", "accept": "application/json"},
        timeout=httpx2.Timeout(total_timeout, connect=connect_timeout),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=kept),
        verify=True if guard is None and certificate is None else _build_context(guard, certificate),
        trust_env=guard is None,
        cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
        mounts={"http://": None},  # plain http stays on this machine: never through a proxy
        follow_redirects=False,
    )


def _build_context(guard: Guard | None, certificate: OwnCertificate | None) -> ssl.SSLContext:
    """Return the context of every other fetch, with the certificate authorities of the guard's file beside the others.

    Raises:
        TransportError: http.connect, http.certificate: a file cannot be used.
    """
    import httpx2

    context = httpx2.create_ssl_context()
    if certificate is not None:
        certificate.show(context)
    ca_file = None if guard is None else guard.ca_file
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TransportError("http.connect", detail=f"{ca_file}: {error}") from None
    return context


async def _exchange(lane: _Lane, request: HttpRequest, max_size: int) -> HttpResponse:
    places = [Pinned(request.url, {}, {})] if lane.pinner is None else await lane.pinner.pin(request.url)
    return await _send_to_the_first(lane.client, request, places, max_size)


async def _send_to_the_first(
    client: httpx2.AsyncClient, request: HttpRequest, places: list[Pinned], max_size: int
) -> HttpResponse:
    """Send to the first of these places that can be connected to."""
    import httpx2

    *others, last = places
    for place in others:
        with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
            return await _send(client, request, place, max_size)
    return await _send(client, request, last, max_size)


async def _send(client: httpx2.AsyncClient, request: HttpRequest, place: Pinned, max_size: int) -> HttpResponse:
    headers = {**request.headers, **place.headers, "accept-encoding": "identity"}
    async with client.stream(
        request.method, place.url, headers=headers, content=request.body or None, extensions=dict(place.extensions)
    ) as response:
        return await _read(response, max_size)


async def _read(response: httpx2.Response, max_size: int) -> HttpResponse:
    check_head(response)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_size:
            raise TransportError("http.too_large", detail=f"over {max_size} bytes")
    return HttpResponse(status=response.status_code, headers=dict(response.headers.items()), body=bytes(body))


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: httpx2.AsyncClient, made_in: int) -> None:
    """Cancel what is under way, close the connections, end the thread. Never in a forked child."""
    if os.getpid() != made_in or loop.is_closed():
        return

    async def wind_up() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await client.aclose()
        loop.stop()

    asyncio.run_coroutine_threadsafe(wind_up(), loop)
    if thread is not threading.current_thread():
        thread.join(timeout=2)  # bounded: this may run in a garbage collection, under locks of whoever caused it

"""Serving ASGI applications on sockets in one event loop: several listeners, one end for all."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, cast

import uvicorn

from watchword.asgi.bounds import Bounds
from watchword.asgi.connection import Connection, Reception
from watchword.asgi.messages import App
from watchword.asgi.repeating import RepeatingReception
from watchword.asgi.shared_answers import SharedAnswers
from watchword.asgi.shedding import Refusal, nothing
from watchword.asgi.sockets import let_nobody_in
from watchword.asgi.tls import Certificate
from watchword.asgi.watched_files import WatchedFiles

TICK_SECONDS: Final = 0.25
DRAIN_SECONDS: Final = 30
_LAST_ACCEPTS_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.02
_TICKS_PER_SECOND: Final = round(1 / TICK_SECONDS)
_ENDS_PER_TURN: Final = 16


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the listening socket it is served on; with a certificate, over TLS.

    ``version`` counts the changes of the application's public answers (``shared_answers.py``). Without it, none is kept.
    ``refusal`` gives the answer to a request that is refused unread (``shedding.py``).
    """

    app: App
    socket: socket.socket
    certificate: Certificate | None = None
    version: Callable[[], int] | None = None
    refusal: Refusal = nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What stops a server besides ``stopped``, and what it is asked to do beside serving.

    ``lifeline`` is a file descriptor: its end of file stops the server. ``tick`` is called four times a second, ``count_refused``
    with the reason of each connection that was refused. ``watched`` are read again when they change, and on SIGHUP. ``leaving``
    is called when the server begins to stop.
    """

    bounds: Bounds = field(default_factory=Bounds)
    drain_seconds: float = DRAIN_SECONDS
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
    lifeline: int | None = None
    tick: Callable[[int], None] = lambda _connections: None
    count_refused: Callable[[str], None] = lambda _reason: None
    watched: tuple[WatchedFiles[Any], ...] = ()
    leaving: Callable[[], None] = lambda: None


async def serve(
    listeners: Sequence[Listener],
    *,
    ready: Callable[[], None],
    orders: Orders | None = None,
    stopped: asyncio.Event | None = None,
) -> None:
    """Serve until told to stop, then let requests under way finish. Calls ``ready`` once all listeners accept."""
    loop, orders, stopped = asyncio.get_running_loop(), orders or Orders(), stopped or asyncio.Event()
    for name in orders.signals:
        loop.add_signal_handler(name, stopped.set)
    watched = _watched(listeners, orders)
    for each in watched:
        each.catch_up()
    if watched:
        loop.add_signal_handler(signal.SIGHUP, _reload, watched)
    orphaned = asyncio.Event()
    if orders.lifeline is not None:
        loop.add_reader(orders.lifeline, _orphan, orders.lifeline, orphaned, stopped)
    receptions = [_reception(listener, orders) for listener in listeners]
    servers = [await _listen(listener, each) for listener, each in zip(listeners, receptions, strict=True)]
    ticking = asyncio.create_task(_tick(watched, receptions, orders))
    try:
        orders.tick(0)
        ready()
        await stopped.wait()
        if orders.lifeline is None or orphaned.is_set():  # else the sockets go on being served by others
            for listener in listeners:
                let_nobody_in(listener.socket)
        orders.leaving()
        await _stop(servers, receptions, orders.drain_seconds)
    finally:
        ticking.cancel()
        for server in servers:
            server.close()


def _orphan(lifeline: int, orphaned: asyncio.Event, stopped: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(lifeline)
    orphaned.set()
    stopped.set()


def _watched(listeners: Iterable[Listener], orders: Orders) -> list[WatchedFiles[Any]]:
    return [*(one.certificate for one in listeners if one.certificate is not None), *orders.watched]


def _reload(watched: Iterable[WatchedFiles[Any]]) -> None:
    for each in watched:
        each.reload()


def _reception(listener: Listener, orders: Orders) -> Reception:
    config = uvicorn.Config(
        listener.app,
        http="httptools",
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    config.load()
    reception = Reception(config, orders.bounds, orders.count_refused)
    if listener.version is not None:
        answers = SharedAnswers(listener.version)
        reception = RepeatingReception(
            config, orders.bounds, orders.count_refused, answers=answers, refusal=listener.refusal
        )
    reception.renew_date(formatdate(usegmt=True))
    return reception


async def _listen(listener: Listener, reception: Reception) -> asyncio.Server:
    secure: dict[str, object] = {}
    if listener.certificate is not None:
        secure = {
            "ssl": listener.certificate.context,
            "ssl_handshake_timeout": reception.bounds.header_timeout,
            "ssl_shutdown_timeout": reception.bounds.write_timeout,
        }
    loop = asyncio.get_running_loop()
    return await loop.create_server(reception.connection, sock=listener.socket, **secure)  # type: ignore[call-overload,no-any-return]  # named above


async def _tick(watched: Sequence[WatchedFiles[Any]], receptions: Sequence[Reception], orders: Orders) -> None:
    """Look after time: overdue connections, the Date header, renewed certificates."""
    loop, number = asyncio.get_running_loop(), 0
    while True:
        now = loop.time()
        await _expire([one for one in _connections(receptions) if one.deadline <= now])
        if number % _TICKS_PER_SECOND == 0:
            for reception in receptions:
                reception.renew_date(formatdate(usegmt=True))
            for each in watched:
                each.watch()
        orders.tick(len(_connections(receptions)))
        number += 1
        await asyncio.sleep(TICK_SECONDS)


async def _expire(overdue: Sequence[Connection]) -> None:
    """End what is overdue, a few in each turn: who opened thousands at once does not make the others wait for their end."""
    for number, connection in enumerate(overdue, 1):
        if connection.deadline <= asyncio.get_running_loop().time():  # still: the client may have gone on meanwhile
            connection.expire()
        if number % _ENDS_PER_TURN == 0:
            await asyncio.sleep(0)


def _connections(receptions: Iterable[Reception]) -> list[Connection]:
    return [cast("Connection", one) for reception in receptions for one in reception.state.connections]


async def _stop(servers: Sequence[asyncio.Server], receptions: Sequence[Reception], seconds: float) -> None:
    """Let in who has been let in by the system, then nobody; answer what was asked, with "no more" on every answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    for reception in receptions:
        reception.is_draining = True
    for connection in _connections(receptions):
        connection.drain()
    await asyncio.sleep(_LAST_ACCEPTS_SECONDS)
    for server in servers:
        server.close()
    await _until(lambda: not _connections(receptions), deadline)
    for connection in _connections(receptions):
        connection.transport.abort()
    tasks = [task for reception in receptions for task in reception.state.tasks]
    await _until(lambda: all(task.done() for task in tasks), deadline)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(is_done: Callable[[], bool], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while not is_done() and loop.time() < deadline:  # noqa: ASYNC110 -- connections tell nobody when they end
        await asyncio.sleep(_POLL_SECONDS)

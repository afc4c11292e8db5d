"""Serving ASGI applications on sockets: uvicorn with httptools, several listeners in one loop, one signal for all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from watchword.asgi.messages import App
from watchword.asgi.wire import HttpProtocol
from watchword.errors import BadSettings

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the listening socket it is served on; with a certificate, over TLS."""

    app: App
    socket: socket.socket
    certificate: Path | None = None
    private_key: Path | None = None


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. ``host`` without brackets; ``port`` 0 lets the system choose.

    Raises:
        BadSettings: listen.occupied, listen.address
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        reason = "listen.occupied" if error.errno == errno.EADDRINUSE else "listen.address"
        place = f"{host}:{port}"
        raise BadSettings(
            reason, detail=f"cannot listen on {place}: {error.strerror}; choose another address or port"
        ) from error
    bound.setblocking(False)
    return bound


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to us and says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


async def serve(listeners: Sequence[Listener], *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then let requests under way finish. Calls ``ready`` once all accept."""
    servers = [_Server(_config(listener)) for listener in listeners]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    async with asyncio.TaskGroup() as tasks:
        for server, listener in zip(servers, listeners, strict=True):
            tasks.create_task(server.serve(sockets=[listener.socket]))
        for server in servers:
            await server.accepting.wait()
        ready()


def _config(listener: Listener) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_certfile=listener.certificate,
        ssl_keyfile=listener.private_key,
    )

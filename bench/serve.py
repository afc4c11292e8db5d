"""Our server, altered for a comparison: ``python -m bench.serve VARIANT DATA HOST:PORT``. Run by the harness alone.

``unaudited`` serves as usual from the same store, but records nothing. ``uncached`` remembers no registration. ``no-op`` is
the same HTTP server with an application that reads the request and gives a fixed answer of a token response's size.
With ``rotating`` another key signs every second.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

import uvloop

from watchword import compose, serving, stores
from watchword.adapters.sqlite import SqliteStore
from watchword.asgi.listeners import Listener
from watchword.asgi.listeners import serve as serve_listeners
from watchword.asgi.messages import Receive, Response, Scope, Send, read_body, send_response
from watchword.asgi.sockets import bind
from watchword.config import load_settings
from watchword.ports.audit import AuditEvent
from watchword.ports.store import Basis, Change
from watchword.server.key_rotation import KeyRotation
from watchword.server.key_schedule import KeyTimes
from watchword.server.offices import Job
from watchword.server.registrations import Registrations

_SECOND = timedelta(seconds=1)

_ANSWER = Response(
    200,
    b'{"access_token":"' + b"x" * 430 + b'","token_type":"Bearer","expires_in":600,"scope":"read:data"}',
    (
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"pragma", b"no-cache"),
        (b"x-request-id", b"0123456789abcdef"),
        (b"x-content-type-options", b"nosniff"),
    ),
)


class UnauditedStore(SqliteStore):
    """Reads as usual and records nothing: what the durable audit trail costs is the difference."""

    async def commit(self, event: AuditEvent, changes: Sequence[Change] = (), *, basis: Basis | None = None) -> None:
        """Say that it is durable. It is not."""


async def answer_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a decision."""
    if scope["type"] == "http":
        await read_body(scope, receive, 65_536)
        await send_response(scope, send, _ANSWER)


async def _serve_nothing(address: str) -> None:
    host, _, port = address.rpartition(":")
    await serve_listeners((Listener(answer_nothing, bind(host, int(port))),), ready=lambda: None)


async def _serve_unaudited(data: Path, address: str) -> None:
    with patch.object(stores, "SqliteStore", UnauditedStore):
        await _serve(data, address)


async def _serve_uncached(data: Path, address: str) -> None:
    with patch.object(compose, "Registrations", partial(Registrations, capacity=0)):
        await _serve(data, address)


async def _serve_rotating(data: Path, address: str) -> None:
    times = KeyTimes(period=_SECOND, max_age=_SECOND / 4, longest_lifetime=_SECOND, skew=_SECOND / 4)

    def build_jobs(core: compose.Core) -> tuple[Job, ...]:
        return (KeyRotation(core.signer, times, every=_SECOND / 10).job,)

    with patch.object(serving, "build_jobs", build_jobs):
        await _serve(data, address)


async def _serve(data: Path, address: str) -> None:
    settings = load_settings({"data": data, "listen": address, "management": "127.0.0.1:0"}).settings
    await serving.serve(settings, ready=lambda _: None)


def main(variant: str, data: str, address: str) -> None:
    """Serve until SIGTERM."""
    work = {
        "no-op": lambda: _serve_nothing(address),
        "unaudited": lambda: _serve_unaudited(Path(data), address),
        "rotating": lambda: _serve_rotating(Path(data), address),
        "uncached": lambda: _serve_uncached(Path(data), address),
    }
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work[variant]())


if __name__ == "__main__":
    main(*sys.argv[1:])

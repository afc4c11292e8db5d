"""The revocation feed with many readers: how soon the last of them knows, what one of them costs."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.figures import Report, Row
from bench.processes import Child, free_port
from bench.servers import Bench
from watchword.bootstrap import initialise
from watchword.compose import build_core, local_context
from watchword.config import load_settings
from watchword.operations.agents import CreateAgent, create_agent
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.store import Store
from watchword.protocol.revocation import RevocationKind
from watchword.sealing import find_master_key
from watchword.server.revocations import revoke
from watchword.stores import open_store

READERS: Final = 2000
KILLS: Final = 20
PATIENCE: Final = 60.0
_CALM_SECONDS: Final = 5
_FILES: Final = 3 * READERS
_MANY: Final = str(2 * READERS)
_SETTINGS: Final = {
    f"WATCHWORD_SERVER__{name}": _MANY for name in ("FEED_CONNECTIONS", "FEED_CONNECTIONS_PER_AGENT", "MAX_CONNECTIONS")
}


@dataclass(slots=True)
class _Told:
    """When each reader was first at each position."""

    at: dict[bytes, dict[int, float]] = field(default_factory=dict)

    def note(self, position: bytes, reader: int) -> None:
        self.at.setdefault(position, {}).setdefault(reader, time.perf_counter())

    async def everybody(self, position: bytes) -> Sequence[float]:
        """Return when each was there, once all are."""
        until = time.perf_counter() + PATIENCE
        while len(self.at.get(position, {})) < READERS:
            if time.perf_counter() > until:
                raise RuntimeError(f"{len(self.at.get(position, {}))} of {READERS} readers are at {position!r}")
            await asyncio.sleep(0.005)
        return list(self.at[position].values())


def feed(bench: Bench) -> Report:
    """Revocations, told to many readers of one worker. Readers and server share the machine, and the readers are slower."""
    report = Report(f"feed: {READERS} readers of one worker, {KILLS} revocations")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    report.add(asyncio.run(_measure(bench.scratch / "feed")))
    return report


async def _measure(data: Path) -> list[Row]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    await initialise(data, issuer)
    settings = load_settings({"data": data}).settings
    store = await open_store(settings)
    context = local_context(build_core(issuer, store, find_master_key(settings)))
    api = await create_agent(context, CreateAgent(name="api", serves=("*",)))
    basic = b64encode(f"{api.agent.client_id}:{api.client_secret}".encode()).decode()
    argv = [sys.executable, "-m", "watchword", "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
    argv += ["--management", "127.0.0.1:0"]
    server = Child(argv, env={**os.environ, **_SETTINGS}, cwd=data, log=data.parent / "feed.log")
    try:
        server.wait_for(port)
        return await _read(server, store, port, await _token(port, basic))
    finally:
        server.stop()
        await store.close()


async def _read(server: Child, store: Store, port: int, token: str) -> list[Row]:
    before, told = server.worker_rss(), _Told()
    readers = [asyncio.create_task(_follow(port, token, told, number)) for number in range(READERS)]
    try:
        await told.everybody(b"1-0")
        await asyncio.sleep(2)
        memory = (server.worker_rss() - before) * 1024 / READERS
        cpu = server.cpu_seconds()
        await asyncio.sleep(_CALM_SECONDS)
        calm = (server.cpu_seconds() - cpu) / _CALM_SECONDS
        delays: list[float] = []
        for number in range(1, KILLS + 1):
            acknowledged = await _kill(store, f"agent-{number}")
            delays += [at - acknowledged for at in await told.everybody(b"1-%d" % number)]
            await asyncio.sleep(0.2)
    finally:
        for reader in readers:
            reader.cancel()
    delays.sort()
    return [
        Row(name="memory of a reader", value=memory, unit="KiB", at_most=40),
        Row(name="CPU of one core while nothing happens but signs of life", value=calm * 100, unit="%", at_most=25),
        Row(name="acknowledged to told, median", value=delays[len(delays) // 2] * 1000, unit="ms"),
        Row(name="  p99", value=delays[len(delays) * 99 // 100] * 1000, unit="ms", at_most=1000),
    ]


async def _token(port: int, basic: str) -> str:
    body = "grant_type=client_credentials"
    head = f"Authorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{head}\r\n\r\n{body}".encode()
    )
    answer = await reader.read()
    writer.close()
    return answer.partition(b'"access_token":"')[2].partition(b'"')[0].decode()


async def _follow(port: int, token: str, told: _Told, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}"
    writer.write(f"GET /oauth/events HTTP/1.1\r\n{head}\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"id: "):
                told.note(line[4:].strip(), number)
    finally:
        writer.close()


async def _kill(store: Store, client_id: str) -> float:
    """Revoke in another process than the one that tells; return when that was acknowledged."""
    now = datetime.now(UTC)
    event = AuditEvent(
        id=secrets.token_hex(8),
        time=now,
        action="bench.kill",
        outcome=Outcome.SUCCESS,
        reason="killed",
        actor="local:bench",
    )
    await store.commit(event, [revoke(RevocationKind.AGENT, client_id, cutoff=now, now=now)])
    return time.perf_counter()

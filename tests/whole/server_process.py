"""One ``watchword serve`` at a time, with the settings a test wants, its log read as events, its processes by number."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.processes import PLAIN, RunningServer, environment, has_logged
from watchword.bootstrap import initialise
from watchword.cli.profiles import OperatorProfile, write_profile
from watchword.client.profiles import DEFAULT
from watchword.compose import build_core, local_context
from watchword.config import FILE_NAME, load_settings
from watchword.operations.resources import CreateResource, create_resource
from watchword.sealing import find_master_key
from watchword.stores import open_store
from watchword.testing.process import ServerProcess, free_port

PROGRAM = (sys.executable, "-m", "watchword")
SECONDS = 30


def initialised(folder: Path, issuer: str, *, has_resource: bool = False) -> Path:
    """Make a new store where the test is to have it, as ``watchword init`` does, but without the start of a process."""
    data, place = folder / "data", ServerProcess.new_place()
    token = asyncio.run(_initialise(data, issuer, place.database or None, has_resource=has_resource))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", environment(folder)["XDG_CONFIG_HOME"])
        write_profile(DEFAULT, OperatorProfile(url=issuer, token=token), overwrite=True)
    if place.cache:
        with (data / FILE_NAME).open("a") as settings:
            settings.write(f"cache = {json.dumps(place.cache)}\n")
    return data


async def _initialise(data: Path, issuer: str, database: str | None, *, has_resource: bool) -> str:
    made = await initialise(data, issuer, database=database)
    if has_resource:
        settings = load_settings({"data": data}).settings
        store = await open_store(settings)
        context = local_context(build_core(issuer, store, find_master_key(settings)))
        await create_resource(context, CreateResource(name="my-api", scopes=("read:data", "write:data")))
        await store.close()
    return made.operator_token


def until(is_so: Callable[[], bool], what: str = "it") -> None:
    """Return once it is so; fail if that takes too long."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen in {SECONDS} s"
        time.sleep(0.02)


class Serving:
    """``watchword serve`` with these arguments until the block ends. ``settings`` are those of the section ``server``.

    Another ``program`` takes the arguments of watchword, and serves as it does.
    """

    def __init__(
        self, folder: Path, arguments: Sequence[str] = (), *, program: Sequence[str] = PROGRAM, **settings: object
    ) -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        variables = {f"WATCHWORD_SERVER__{name.upper()}": str(value) for name, value in settings.items()}
        command = [*program, "serve", "--data", str(folder / "data"), "--management", "127.0.0.1:0", *arguments]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environment(folder, **variables), cwd=folder, stdout=output, stderr=output
            )

    def __enter__(self) -> Serving:
        until(self._is_ready, "ready")
        return self

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return has_logged("ready", self.log.read_text())

    def __exit__(self, *_: object) -> None:
        workers = self.workers() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(SECONDS)

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the events of its log that have this name."""
        lines = [line for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def logged(self, name: str) -> dict[str, object]:
        (found,) = self.events(name)
        return found

    def workers(self) -> list[int]:
        """Return the process ids of the workers that run now."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = str(self.logged("ready")["listen"]).rpartition(":")
        return host, int(port)

    @property
    def server(self) -> RunningServer:
        """The same with its command line."""
        issuer = str(self.logged("ready")["issuer"])
        return RunningServer(issuer=issuer, data=self.folder / "data", home=self.folder, program=PROGRAM)

    def probe(self, path: str) -> httpx2.Response:
        """Ask the management listener."""
        return httpx2.get(f"http://{self.logged('ready')['management']}{path}", verify=PLAIN)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of all series of this name with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.probe("/metrics").text.splitlines() if line.partition("{")[0].split()[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(each in line for each in wanted))


@contextlib.contextmanager
def serving_here(folder: Path, arguments: Sequence[str] = (), **settings: object) -> Iterator[Serving]:
    """Serve a fresh store with the resource my-api on a free port of this machine."""
    issuer = f"http://127.0.0.1:{free_port()}"
    initialised(folder, issuer, has_resource=True)
    with Serving(folder, ["--listen", urlsplit(issuer).netloc, *arguments], **settings) as server:
        yield server


def exchange(address: tuple[str, int], raw: bytes, *, seconds: float = SECONDS) -> bytes:
    """Send bytes as they are; return all that comes back until the server closes the connection."""
    with socket.create_connection(address, timeout=seconds) as connection:
        with contextlib.suppress(ConnectionError):  # it may close before it has read all
            connection.sendall(raw)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes; an end without manners is none."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received

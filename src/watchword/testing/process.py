"""A server in a process of its own: made, started, killed and started again on the same store, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote_plus, urlencode

from watchword.testing.child import START_SECONDS, STOP_SECONDS, Child

FORM: Final = "application/x-www-form-urlencoded"
DATABASE: Final = "WATCHWORD_SERVER__DATABASE"
CACHE: Final = "WATCHWORD_SERVER__CACHE"

FAIL_AT_WILL: Final = {
    "WATCHWORD_LIMITS__LOGIN_FAILURES": "999999999/1s",
    "WATCHWORD_LIMITS__PEER_FAILURES": "999999999/1s",
}
"""The environment of a server that is to judge every bad request by itself, however many come from one address."""


@dataclass(frozen=True, slots=True)
class AgentSecret:
    """An agent as ``create_agent`` gives it."""

    client_id: str
    client_secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The ``Authorization`` header of RFC 6749 §2.3.1."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return "Basic " + b64encode(pair.encode()).decode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new server keeps what it knows: the URL of a database in place of a file, and of a cache, if it has one."""

    database: str = ""
    cache: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """What ``watchword init`` is told; it writes down where the database is."""
        return ("--database", self.database) if self.database else ()

    @property
    def environment(self) -> dict[str, str]:
        """What ``watchword serve`` is told besides."""
        return {CACHE: self.cache} if self.cache else {}


class ServerProcess:
    """``watchword serve`` on loopback. Everything it keeps is below ``folder``; ``log`` is what it has said.

    ``new_place`` says where each new store is, unless the environment names a database. Tests that run a server on every store
    put another in its place.
    """

    new_place: ClassVar[Callable[[], Place]] = Place  # a class, or a staticmethod

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "watchword"),
        beside: ServerProcess | None = None,
        issuer: str = "",
    ) -> None:
        """Make a new store below ``folder``, or be another node ``beside`` one on the same store.

        ``options`` and ``environment`` are for ``serve``; ``issuer`` is where clients reach it, unless that is where it listens.
        """
        self.folder = folder
        self.data: Path = beside.data if beside else folder / "data"
        self.log = folder / "serve.log"
        self.host, self.port = "127.0.0.1", free_port()
        self.issuer: str = beside.issuer if beside else issuer or f"http://{self.host}:{self.port}"
        self._program = tuple(program)
        self._options = tuple(options)
        self.place: Place = (
            beside.place if beside else Place() if DATABASE in (environment or {}) else type(self).new_place()
        )
        self._environment = _clean_environment(folder) | self.place.environment | dict(environment or {})
        self._child = Child("the server", self.log)
        self.operator_token: str = beside.operator_token if beside else ""
        if beside is None:
            made = self.command(
                "init", "--data", str(self.data), "--issuer", self.issuer, "-o", "json", *self.place.options
            )
            self.operator_token = json.loads(made)["operator_token"]

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that ``start`` has started."""
        return self._child.pid

    @property
    def pids(self) -> list[int]:
        """That process and those it has started: the supervisor and its workers. Linux only."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, for whatever reason."""
        return self._child.is_running

    def command(self, *arguments: str) -> str:
        """Run another command; return what it prints on stdout."""
        done = subprocess.run(  # noqa: S603 -- our own program
            [sys.executable, "-m", "watchword", *arguments],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"watchword {' '.join(arguments)} exited {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self) -> float:
        """Start it; return the seconds until it said that it was ready."""
        serve = [
            "serve",
            "--data",
            str(self.data),
            "--listen",
            f"{self.host}:{self.port}",
            "--management",
            "127.0.0.1:0",
        ]
        offset = self.log.stat().st_size if self.log.exists() else 0
        return self._child.start(
            [*self._program, *serve, *self._options],
            is_ready=lambda: bool(self.logged("ready", offset)),
            cwd=self.folder,
            env=self._environment,
        )

    def logged(self, event: str, offset: int = 0) -> list[dict[str, Any]]:
        """Return the lines of its log, from a byte on, that have this event."""
        lines = self.log.read_bytes()[offset:].splitlines() if self.log.exists() else []
        parsed = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        return [line for line in parsed if line.get("event") == event]

    def kill(self) -> None:
        """End it and all its workers in the middle of whatever they do."""
        self._child.kill()

    def stop(self) -> None:
        """Let it finish, and wait for it."""
        self._child.stop()

    def management(self, path: str) -> tuple[int, str]:
        """Ask the management listener of the present run."""
        host, _, port = str(self.logged("ready")[-1]["management"]).rpartition(":")
        status, body = exchange(HTTPConnection(host, int(port), timeout=STOP_SECONDS), "GET", path)
        return status, body.decode()

    def admin(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the admin API as its first operator; ``path`` is below ``/admin/v1``. Returns status and JSON."""
        headers = {"Authorization": f"Bearer {self.operator_token}", "Content-Type": "application/json"}
        text = None if body is None else json.dumps(body).encode()
        status, answer = exchange(self.connect(), method, f"/admin/v1{path}", text, headers)
        return status, json.loads(answer) if answer else None

    def create_agent(self, name: str, *, conditions: Mapping[str, object] | None = None) -> AgentSecret:
        """Register an agent that may ``read:data`` of ``my-api``, which is made when it is missing."""
        if self.admin("GET", "/resources/my-api")[0] == 404:
            self.admin("POST", "/resources", {"name": "my-api", "scopes": ["read:data", "write:data"]})
        permission = {"resource": "my-api", "scopes": ["read:data"], "conditions": dict(conditions or {})}
        status, made = self.admin("POST", "/agents", {"name": name, "permissions": [permission]})
        if status != 201:
            raise AssertionError(made)
        return AgentSecret(made["client_id"], made["client_secret"])

    def connect(self) -> HTTPConnection:
        """Return a connection to the public listener."""
        return HTTPConnection(self.host, self.port, timeout=STOP_SECONDS)

    def token(self, agent: AgentSecret, connection: HTTPConnection | None = None) -> tuple[int, Any]:
        """Ask for a token; return status and JSON. A given connection is kept open."""
        form = urlencode({"grant_type": "client_credentials", "scope": "read:data"}).encode()
        headers = {"Authorization": agent.basic, "Content-Type": FORM}
        asked = connection or self.connect()
        status, body = exchange(asked, "POST", "/oauth/token", form, headers, is_kept=connection is not None)
        return status, json.loads(body)


def exchange(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    is_kept: bool = False,
) -> tuple[int, bytes]:
    """Send one request; return status and body.

    Raises:
        OSError: the connection ended before the answer was complete.
    """
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except HTTPException as error:
        raise ConnectionError("no complete answer") from error
    finally:
        if not is_kept:
            connection.close()


def free_port() -> int:
    """Return a port of this machine that nobody listens on, from below those that Linux gives to outgoing connections.

    One of those could be taken by anybody's client between this answer and the server's start.
    """
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(outgoing.read_text().split()[0]) if outgoing.exists() else 32_768
    while True:
        port = secrets.choice(range(9000, max(lowest, 10_000)))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _clean_environment(home: Path) -> dict[str, str]:
    """This process's environment without its settings for watchword, and nowhere to keep anything but ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    return kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}

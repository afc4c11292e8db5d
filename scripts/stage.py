"""Where a story is acted out: one folder, the processes started in it, and what has been found true so far."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from watchword.testing.oidc_issuer import OidcIssuer

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
WATCHWORD = [sys.executable, "-m", "watchword"]
START_SECONDS = 20

BOLD, DIM, GREEN, RED, PLAIN = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else [""] * 5
)


class Failed(Exception):
    """Something went otherwise than the story says."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the summary."""

    step: str
    claim: str
    wanted: str
    got: str


@dataclass(frozen=True, slots=True)
class Agent:
    """What registering an agent gave."""

    client_id: str
    client_secret: str = field(repr=False)


def tell(*lines: str) -> None:
    for line in lines:
        print(f"    {line}", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """The processes and folders of one run, and what has been found true so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.issuer = f"http://127.0.0.1:{free_port()}"
        self.api = f"http://127.0.0.1:{free_port()}"
        self.outside = OidcIssuer(folder / "outside")
        self.http = httpx2.Client(timeout=10)
        self.server_environment: dict[str, str] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.checks: list[Check] = []
        self.step = ""

    def env(self, **more: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
        home = {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")}
        return own | home | self.outside.settings | more

    def check(self, claim: str, wanted: object, got: object) -> None:
        self.checks.append(Check(self.step, claim, str(wanted), str(got)))
        if str(wanted) != str(got):
            raise Failed(f"{claim}: expected {wanted}, got {got}")

    def start(self, name: str, command: list[str], ready: Callable[[str], bool], **env: str) -> None:
        """Start a process that stays, and wait until ``ready``, told what it has printed, says so."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.env(**env), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.processes.append(process)
        deadline = time.monotonic() + START_SECONDS
        while not ready(log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} did not start\n{log.read_text(errors='replace')}")
            time.sleep(0.02)

    def run(self, command: list[str], *, code: int | None = 0, **env: str) -> str:
        """Run a process that ends, and return what it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.env(**env), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if code is not None and done.returncode != code:
            raise Failed(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def watchword(self, *arguments: str, data: Path | None = None, code: int = 0) -> str:
        """Run the command line on the store, as an operator on the server's machine does."""
        return self.run([*WATCHWORD, "--data", str(data or self.data), *arguments], code=code)

    def operator(self, *arguments: str, code: int = 0) -> dict[str, object]:
        """Run a command and return its JSON; show it as it would be typed."""
        tell(f"{DIM}$ watchword {' '.join(arguments)}{PLAIN}")
        answer = json.loads(self.watchword("-o", "json", *arguments, code=code))
        assert isinstance(answer, dict)
        return answer

    def register(self, name: str, resource: str, scope: str) -> Agent:
        made = self.operator("agent", "create", name, "--resource", resource, "--scope", scope)
        return Agent(str(made["client_id"]), str(made["client_secret"]))

    def agent(self, program: str, *arguments: str, **env: str) -> tuple[int, str]:
        """Run an agent in a process of its own; return the status it was answered with, and the rest of the answer."""
        printed = self.run([sys.executable, str(EXAMPLES / program), *arguments], code=None, **env).strip()
        tell(f"{program} {' '.join(arguments[:2])}  ->  {printed}")
        status, _, rest = printed.partition(" ")
        return int(status) if status.isdigit() else 0, rest

    def token(self, agent: Agent, scope: str) -> str:
        """Return a token, got with one plain HTTP request."""
        answer = self.http.post(
            f"{self.issuer}/oauth/token",
            data={"grant_type": "client_credentials", "scope": scope},
            auth=(agent.client_id, agent.client_secret),
        )
        if answer.status_code != 200:
            raise Failed(f"no token for {agent.client_id}: {answer.status_code} {answer.text}")
        return str(answer.json()["access_token"])

    def read_note(self, token: str) -> httpx2.Response:
        return self.http.get(f"{self.api}/note", headers={"authorization": f"Bearer {token}"})

    def close(self) -> None:
        self.http.close()
        self.outside.stop()
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

"""watchword as a stranger runs it: through its command line, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchword.testing.process import Place, ServerProcess, free_port

START_SECONDS = 30
COMMAND_SECONDS = 60

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: trusts nobody. Each would read the system's authorities otherwise, which takes 25 ms."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment without its settings for watchword, with ``home`` for what a command would keep."""
    kept = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("WATCHWORD_")
    }
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        **more,
    }


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float = COMMAND_SECONDS) -> str:
    """Return what a command prints on stdout; a failure shows both its streams."""
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server in a process of its own, with the store that its command line reaches."""

    issuer: str
    data: Path
    home: Path
    program: tuple[str, ...]
    place: Place = field(default_factory=Place)

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/oauth/token"

    @property
    def jwks_uri(self) -> str:
        return f"{self.issuer}/.well-known/jwks.json"

    def watchword(self, *arguments: str) -> dict[str, object]:
        """Run an administrative command on the server's store and return its JSON."""
        command = [*self.program, "--data", str(self.data), "-o", "json", *arguments]
        answer = json.loads(run(command, env=environment(self.home), cwd=self.home))
        assert isinstance(answer, dict)
        return answer


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent and its only secret."""

    client_id: str
    client_secret: str


def create_agent(server: RunningServer, name: str, *options: str) -> Agent:
    """Register an agent for my-api through the command line."""
    made = server.watchword("agent", "create", name, "--resource", "my-api", *options)
    return Agent(str(made["client_id"]), str(made["client_secret"]))


@contextmanager
def serving(
    folder: Path, program: Sequence[str] = (sys.executable, "-m", "watchword"), **settings: str
) -> Iterator[RunningServer]:
    """Serve a fresh store below ``folder`` until the block ends, with these settings in its environment."""
    issuer = f"http://127.0.0.1:{free_port()}"
    place = ServerProcess.new_place()
    server = RunningServer(issuer=issuer, data=folder / "data", home=folder, program=tuple(program), place=place)
    env = environment(folder, **place.environment) | settings
    run([*program, "init", "--data", str(server.data), "--issuer", issuer, *place.options], env=env, cwd=folder)
    listen = issuer.removeprefix("http://")
    command = [*program, "serve", "--data", str(server.data), "--listen", listen, "--management", "127.0.0.1:0"]
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_until_ready(process, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def has_logged(event: str, printed: str) -> bool:
    """Tell whether a line of the server's log, one JSON object each, is this event."""
    return any(json.loads(line).get("event") == event for line in printed.splitlines() if re.fullmatch(r"\{.*\}", line))


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not has_logged("ready", log.read_text()):
        assert process.poll() is None, f"the server ended with {process.returncode}\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the server was not ready in {START_SECONDS} s\n{log.read_text()}"
        time.sleep(0.02)

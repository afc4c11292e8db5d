"""Tokens over kept connections of mutual TLS beside those for a secret over plain HTTP. The load is a small program in Go: of
the usual ones none shows a certificate."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from cryptography import x509

from bench.figures import Report, Row
from bench.processes import LOAD_CORE, SERVER_CORE, free_port, pinned
from bench.programs import CACHE, MissingProgram
from bench.servers import Bench
from watchword.testing.certificates import SERVER, Authority
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

CONNECTIONS: Final = 32
_SOURCE: Final = Path(__file__).with_name("load_go")
_ENDLESS: Final = "999999999/1s"


def mutual_tls(bench: Bench) -> Report:
    """A certificate of an authority, with a list of revoked ones, at every request; 32 kept connections, ES256."""
    report = Report("mutual_tls: ES256, tls_client_auth over kept connections beside a secret over plain HTTP")
    try:
        program = _build()
    except MissingProgram as error:
        report.missing.append(str(error))
        return report
    with ExitStack() as stack:
        plain, mutual = _serve(stack, bench.scratch)
        rounds = [(_load(bench, program, plain), _load(bench, program, mutual)) for _ in range(bench.rounds)]
    report.add([Row(name="a secret over plain HTTP", value=statistics.median(one for one, _ in rounds), unit="/s")])
    report.add([Row(name="a certificate over TLS", value=statistics.median(one for _, one in rounds), unit="/s")])
    ratio = statistics.median(mine / other for other, mine in rounds)
    report.add([Row(name="a certificate / a secret, rate", value=ratio, unit="x", at_least=0.5)])
    return report


def _build() -> Path:
    go = shutil.which("go")
    if go is None:
        raise MissingProgram("go: not installed")
    program = CACHE / "load_go"
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([go, "build", "-o", str(program), "."], cwd=_SOURCE, capture_output=True, text=True)
    if done.returncode:
        raise MissingProgram(f"go: {done.stderr.strip()[-300:]}")
    return program


def _serve(stack: ExitStack, scratch: Path) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Start a server; return how to ask it in both ways."""
    folder = scratch / "mutual_tls"
    folder.mkdir()
    authority, port = Authority(), free_port()
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "revoked.pem").write_bytes(authority.list_revoked())
    served = authority.issue("localhost", names=[x509.IPAddress(ip_address("127.0.0.1"))], usage=SERVER).write(
        folder, "served"
    )
    settings = {
        "WATCHWORD_SERVER__MTLS_LISTEN": f"127.0.0.1:{port}",
        "WATCHWORD_SERVER__MTLS_CERT": str(served[0]),
        "WATCHWORD_SERVER__MTLS_KEY": str(served[1]),
        "WATCHWORD_SERVER__CLIENT_CA": str(folder / "clients.pem"),
        "WATCHWORD_SERVER__CLIENT_CRL": str(folder / "revoked.pem"),
        "WATCHWORD_LIMITS__PEER": _ENDLESS,
        "WATCHWORD_LIMITS__AGENT": _ENDLESS,
    }
    python = pinned(SERVER_CORE, [sys.executable, "-m", "watchword"])
    server = stack.enter_context(ServerProcess(folder, environment={**FAIL_AT_WILL, **settings}, program=python))
    local = ("--data", str(server.data))
    server.command(*local, "resource", "create", "my-api", "--scope", "read:data")
    create = (*local, "-o", "json", "agent", "create", "--resource", "my-api", "--scope", "read:data")
    named = json.loads(server.command(*create, "named", "--auth", "tls_client_auth", "--subject-dn", "CN=named"))
    secret = json.loads(server.command(*create, "plain"))
    certificate, key = authority.issue("named").write(folder, "named")
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    basic = b64encode(f"{secret['client_id']}:{secret['client_secret']}".encode()).decode()
    plain = {"URL": f"{server.issuer}/oauth/token", "BODY": urlencode(form), "AUTHORIZATION": f"Basic {basic}"}
    mutual = {
        "URL": f"https://127.0.0.1:{port}/oauth/token",
        "BODY": urlencode({**form, "client_id": named["client_id"]}),
        "CERT": str(certificate),
        "KEY": str(key),
        "CA": str(folder / "clients.pem"),
    }
    return plain, mutual


def _load(bench: Bench, program: Path, way: Mapping[str, str]) -> float:
    numbers = {"CONNECTIONS": str(CONNECTIONS), "SECONDS": str(bench.seconds)}
    done = subprocess.run(
        pinned(LOAD_CORE, [str(program)]),
        env={**os.environ, **numbers, **way},
        capture_output=True,
        text=True,
        check=True,
    )
    rate, failures = done.stdout.split()
    if int(failures):
        raise RuntimeError(f"{failures} requests failed: {done.stderr[-300:]}")
    return float(rate)

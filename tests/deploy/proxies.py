"""nginx and HAProxy with the configurations of ``deploy/``, started by a test in front of nodes of its own.

The files are used as they are shipped but for names, ports, paths and the longest waits for slow clients. What is to be replaced
must be there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

from tests.processes import Agent
from watchword.testing.certificates import Authority

ROOT = Path(__file__).parents[2]
HOST = "localhost"
CLIENT = "127.0.0.2"
"""The address that tests come from: not the proxy's, which is trusted."""
SECONDS = 30
FORM = "application/x-www-form-urlencoded"

Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Front:
    """A proxy that ends TLS on a port of this machine."""

    name: str
    port: int
    folder: Path
    trusted: ssl.SSLContext
    process: subprocess.Popen[bytes] = field(init=False)
    command: list[str] = field(default_factory=list)
    mtls_port: int = 0

    @property
    def issuer(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"

    def requests(self) -> list[str]:
        """The lines of its access log: one for each request that it has seen."""
        lines = self.access_log.read_text(errors="replace").splitlines() if self.access_log.exists() else []
        return [line for line in lines if " upstream=" in line]

    def oddities(self) -> str:
        """What its logs tell of requests that did not go as they should, and of itself."""
        lines = [line for path in self.folder.glob("*.log") for line in path.read_text(errors="replace").splitlines()]
        return "\n".join([line for line in lines if '" 200 ' not in line][-40:])

    def passed_on(self) -> int:
        """How many requests it has passed on to a node, as it believes itself."""
        missing = "upstream=-" if self.name == "nginx" else "/<NOSRV>"
        return sum(missing not in line for line in self.requests())

    def connect(self, source: str = CLIENT) -> HTTPSConnection:
        return HTTPSConnection(HOST, self.port, timeout=SECONDS, context=self.trusted, source_address=(source, 0))

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        connection: HTTPSConnection | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request; a given connection is kept. Underscores in the names of headers are hyphens."""
        asked = connection or self.connect()
        try:
            if asked.sock is None:
                asked.connect()
            with contextlib.suppress(OSError):  # it may be answered before it has been read to its end
                asked.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = asked.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            if connection is None:
                asked.close()

    def token(self, agent: Agent, connection: HTTPSConnection | None = None, **headers: str) -> Answer:
        form = {"grant_type": "client_credentials", "scope": "read:data", "client_id": agent.client_id}
        body = urlencode({**form, "client_secret": agent.client_secret}).encode()
        return self.ask("POST", "/oauth/token", body, connection=connection, Content_Type=FORM, **headers)

    def exchange(self, raw: bytes, patience: float = 1.0) -> bytes:
        """Send bytes as they are over TLS; return what comes until the other side closes, or says no more for a while."""
        with self.raw_connection() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(raw)
            received = b""
            connection.settimeout(patience)
            with contextlib.suppress(OSError):
                while piece := connection.recv(65_536):
                    received += piece
            return received

    def raw_connection(self) -> ssl.SSLSocket:
        connection = self.connect()
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock

    def reload(self) -> None:
        """Let it read its configuration again, and go on."""
        os.kill(self.process.pid, signal.SIGHUP if self.name == "nginx" else signal.SIGUSR2)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/.well-known/jwks.json").status == 200
        return False


@contextlib.contextmanager
def front(name: str, port: int, nodes: Sequence[Node], folder: Path, *, mtls_port: int = 0) -> Iterator[Front]:
    """Run this proxy in front of these nodes, which are listening, until the block ends; with a port for certificates, too."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"needs {name}")
    folder.mkdir()
    running = Front(name, port, folder, _certificate(folder), mtls_port=mtls_port)
    command = {"nginx": _nginx, "haproxy": _haproxy}[name](running, nodes)
    running.command = [program, *command]
    with (folder / "access.log" if name == "haproxy" else folder / "out.log").open("wb") as output:
        running.process = subprocess.Popen(
            running.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not running.answers():
            assert running.process.poll() is None, said(folder)
            assert time.monotonic() < deadline, said(folder)
            time.sleep(0.05)
        yield running
    finally:
        running.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(10)
        running.process.kill()
        running.process.wait()


def said(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log")))


def replaced(text: str, values: Mapping[str, str]) -> str:
    """The text with each of these replaced: none may be missing."""
    for old, new in values.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def _certificate(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "fullchain.pem").write_bytes(chain)
    (folder / "privkey.pem").write_bytes(certificate.private_key_pem.bytes())
    (folder / "both.pem").write_bytes(chain + certificate.private_key_pem.bytes())
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def _two(nodes: Sequence[Node]) -> tuple[str, str]:
    """Where the two nodes of the file are. Where there is one, the second is where nobody listens."""
    (host, port), (other_host, other_port) = nodes[0], nodes[1] if len(nodes) > 1 else ("127.0.0.1", 1)
    return f"{host}:{port}", f"{other_host}:{other_port}"


def _nginx(running: Front, nodes: Sequence[Node]) -> list[str]:
    folder = running.folder
    first, second = _two(nodes)
    shipped = (ROOT / "deploy" / "nginx" / "watchword.conf").read_text()
    values = {
        "listen 443 ": f"listen 127.0.0.1:{running.port} ",
        "auth.example.com": HOST,
        "/etc/watchword/tls/fullchain.pem": str(folder / "fullchain.pem"),
        "/etc/watchword/tls/privkey.pem": str(folder / "privkey.pem"),
        "/var/log/nginx/watchword.log": str(folder / "access.log"),
        "client_header_timeout 10s": "client_header_timeout 4s",
        "client_body_timeout 20s": "client_body_timeout 5s",
        "server 127.0.0.1:8020 ": f"server {first} ",
        "server 127.0.0.1:8021 ": f"server {second} ",
    }
    (folder / "watchword.conf").write_text(replaced(shipped, values) + _nginx_mtls(running, values))
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off;\n{user}worker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n{temporary}include {folder}/watchword.conf;\n}}\n"
    )
    return ["-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _haproxy(running: Front, nodes: Sequence[Node]) -> list[str]:
    first, second = _two(nodes)
    shipped = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
    values = {
        "bind :443 ": f"bind 127.0.0.1:{running.port} ",
        "auth.example.com.pem": "both.pem",
        "auth.example.com": HOST,
        "/etc/watchword/tls/both.pem": str(running.folder / "both.pem"),
        "timeout http-request 10s": "timeout http-request 4s",
        "node1 127.0.0.1:8020": f"node1 {first}",
        "node2 127.0.0.1:8021": f"node2 {second}",
    }
    (running.folder / "haproxy.cfg").write_text(replaced(shipped, values))
    return ["-W", "-f", str(running.folder / "haproxy.cfg"), *_haproxy_mtls(running)]


def _nginx_mtls(running: Front, values: Mapping[str, str]) -> str:
    if not running.mtls_port:
        return ""
    shipped = (ROOT / "deploy" / "nginx" / "watchword-mtls.conf").read_text()
    same = {old: new for old, new in values.items() if old in shipped and "443 " not in old}
    return replaced(shipped, {"listen 8443 ": f"listen 127.0.0.1:{running.mtls_port} ", **same})


def _haproxy_mtls(running: Front) -> list[str]:
    if not running.mtls_port:
        return []
    shipped = (ROOT / "deploy" / "haproxy" / "mtls.cfg").read_text()
    (running.folder / "agents.pem").write_bytes(Authority("Agents").pem)
    values = {
        "bind :8443 ": f"bind 127.0.0.1:{running.mtls_port} ",
        "auth.example.com.pem": "both.pem",
        "auth.example.com": HOST,
        "/etc/watchword/tls/both.pem": str(running.folder / "both.pem"),
        "/etc/watchword/tls/agents.pem": str(running.folder / "agents.pem"),
    }
    (running.folder / "mtls.cfg").write_text(replaced(shipped, values))
    return ["-f", str(running.folder / "mtls.cfg")]

"""The servers that take turns, each started on a port of its own, asked once, and its token decoded before it is believed."""

from __future__ import annotations

import base64
import getpass
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from bench.load import Target
from bench.processes import SERVER_CORE, Child, free_port
from bench.programs import AUTHGENT, FLASK, PEERS, find_program, node_peers, python_peer
from bench.stores import BODY, ISSUER, RESOURCE, SCOPES, Prepared
from watchword.protocol.client_secret import build_basic

OURS: Final = "watchword"
UNAUDITED: Final = "watchword, nothing recorded"
ROTATING: Final = "watchword, keys rotate"
ON_DATABASE: Final = "watchword, PostgreSQL"
PROVING: Final = "watchword, DPoP"
SIGNING: Final = "watchword, private_key_jwt"
SIGNING_AND_PROVING: Final = "watchword, private_key_jwt and DPoP"
NO_OP: Final = "no-op, same HTTP server"
BEFORE: Final = "watchword, other revision"
OIDC_PROVIDER: Final = "oidc-provider"
AUTHLIB: Final = "Authlib on Flask"
AUTHGENT_SERVER: Final = "authgent-server"
NGINX: Final = "nginx"

TOKEN_PATH: Final = "/oauth/token"
JWKS_PATH: Final = "/.well-known/jwks.json"

_ROOT = str(Path(__file__).parents[1])
_CLIENT_ID = "agent-0000003"
_SECRET = "s3crets3crets3crets3crets3cret12"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are put, and how long is measured."""

    scratch: Path
    rounds: int
    seconds: float
    other_revision: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a server is started."""

    name: str
    argv: Callable[[int], Sequence[str]]
    env: Callable[[int], Mapping[str, str]] = lambda _port: {}
    path: str = TOKEN_PATH
    body: str = BODY
    authorizations: Sequence[str] = ()
    renew: Callable[[], Sequence[str]] | None = None
    connections: int = 32
    cores: int | str = SERVER_CORE


@contextmanager
def running(bench: Bench, server: Server) -> Iterator[Target]:
    """Start a server, wait until it listens, and stop it in the end."""
    port = free_port()
    log = bench.scratch / f"{port}.log"
    child = Child(server.argv(port), env=server.env(port), cwd=bench.scratch, log=log, cores=server.cores)
    try:
        child.wait_for(port)
        target = Target(
            name=server.name,
            child=child,
            url=f"http://127.0.0.1:{port}{server.path}",
            body=server.body,
            authorizations=server.authorizations,
            renew=server.renew,
            connections=server.connections,
        )
        ask(target)
        child.settle()
        yield replace(target, rss_ready=child.rss())
    finally:
        child.stop()


def ask(target: Target) -> bytes:
    """Return one answer.

    Raises:
        OSError: there is none, or it is not 2xx.
    """
    request = urllib.request.Request(target.url, data=target.body.encode() or None)
    for value in target.authorizations[:1]:
        request.add_header("Authorization", value)
    with urllib.request.urlopen(request, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def decode_token(target: Target) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims of a token of this server: a rate of anything else would mean nothing."""
    token = str(json.loads(ask(target))["access_token"])
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


def ours(prepared: Prepared, *, source: Path | None = None, connections: int = 32) -> Server:
    """Return watchword as shipped; with ``source``, of the checkout whose ``src`` that is."""
    return Server(
        name=BEFORE if source else OURS,
        argv=lambda port: [*_serve(prepared), "--listen", f"127.0.0.1:{port}", "--management", "127.0.0.1:0"],
        env=lambda _port: {"PYTHONPATH": str(source)} if source else {},
        authorizations=prepared.authorizations,
        connections=connections,
    )


def ours_proving(prepared: Prepared, proofs: Callable[[], Sequence[str]]) -> Server:
    """Return watchword whose agents prove a key with every request: ``proofs`` makes as many as one load can need."""

    def renew() -> Sequence[str]:
        return [f"{prepared.authorizations[0]}\t{proof}" for proof in proofs()]

    return replace(ours(prepared), name=PROVING, renew=renew)


def ours_signing(prepared: Prepared, name: str, lines: Callable[[], Sequence[str]]) -> Server:
    """Return watchword whose agents sign an assertion for every request."""
    return replace(ours(prepared), name=name, renew=lines)


def ours_elsewhere(prepared: Prepared, *, connections: int = 32) -> Server:
    """Return watchword with a store that was moved into a database."""
    return replace(ours(prepared, connections=connections), name=ON_DATABASE)


def _serve(prepared: Prepared) -> list[str]:
    return [sys.executable, "-m", "watchword", "--data", str(prepared.data), "serve"]


def ours_altered(prepared: Prepared, variant: str, name: str, *, connections: int = 32) -> Server:
    """Return a variant of ``bench.serve``."""
    return Server(
        name=name,
        argv=lambda port: [sys.executable, "-m", "bench.serve", variant, str(prepared.data), f"127.0.0.1:{port}"],
        env=lambda _port: {"PYTHONPATH": os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])},
        authorizations=prepared.authorizations,
        connections=connections,
    )


def oidc_provider(algorithm: str) -> Server:
    """Return oidc-provider.

    Raises:
        MissingProgram
    """
    home = node_peers()
    return Server(
        name=OIDC_PROVIDER,
        argv=lambda _port: [str(home / "node_modules/.bin/node"), str(home / "oidc_provider.mjs")],
        env=lambda port: {"BENCH_PEER": _setup(port, algorithm), "NODE_ENV": "production"},
        authorizations=[build_basic(_CLIENT_ID, _SECRET)],
    )


def authlib_flask(algorithm: str) -> Server:
    """Return Authlib on Flask under gunicorn: one worker with four threads, like every other server one process.

    Raises:
        MissingProgram
    """
    programs = python_peer("flask", FLASK)
    options = ["-k", "gthread", "-w", "1", "--threads", "4", "--keep-alive", "75", "--chdir", str(PEERS)]
    return Server(
        name=AUTHLIB,
        argv=lambda port: [str(programs / "gunicorn"), *options, "-b", f"127.0.0.1:{port}", "authlib_flask:app"],
        env=lambda port: {"BENCH_PEER": _setup(port, algorithm)},
        authorizations=[build_basic(_CLIENT_ID, _SECRET)],
    )


def _setup(port: int, algorithm: str) -> str:
    return json.dumps(
        {
            "port": port,
            "algorithm": algorithm,
            "issuer": ISSUER,
            "resource": RESOURCE,
            "scopes": SCOPES,
            "client_id": _CLIENT_ID,
            "client_secret": _SECRET,
        }
    )


def authgent() -> Server:
    """Return authgent-server with its rate limit lifted. Its client registers itself (``register_at_authgent``).

    Raises:
        MissingProgram
    """
    programs = python_peer("authgent", AUTHGENT)
    return Server(
        name=AUTHGENT_SERVER,
        argv=lambda port: [str(programs / "authgent-server"), "run", "--host", "127.0.0.1", "--port", str(port)],
        env=lambda port: {
            "AUTHGENT_SECRET_KEY": os.urandom(32).hex(),
            "AUTHGENT_SERVER_URL": f"http://127.0.0.1:{port}",
            "AUTHGENT_TOKEN_RATE_LIMIT": "1000000000",
        },
        path="/.well-known/oauth-authorization-server",
        body="",
        connections=1,
    )


def register_at_authgent(target: Target) -> Target:
    """Return the target with the request of a client that has just registered itself."""
    base = target.url.removesuffix("/.well-known/oauth-authorization-server")
    request = urllib.request.Request(
        f"{base}/register",
        data=json.dumps({"client_name": "bench", "scope": "read:data"}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        client = json.loads(answer.read())
    body = {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
    }
    return replace(target, url=f"{base}/token", body=urlencode(body))


def nginx(bench: Bench, document: bytes) -> Server:
    """Return nginx with one worker that answers with these bytes from a file.

    Raises:
        MissingProgram
    """
    program = find_program("nginx")
    root = bench.scratch / "nginx"
    (root / "www").mkdir(parents=True, exist_ok=True)
    (root / "www" / "jwks.json").write_bytes(document)

    def argv(port: int) -> list[str]:
        (root / "nginx.conf").write_text(_NGINX.format(root=root, port=port, user=getpass.getuser()), encoding="utf-8")
        return [str(program), "-p", str(root), "-c", str(root / "nginx.conf")]

    return Server(name=NGINX, argv=argv, path="/jwks.json", body="")


_NGINX = """
user {user};
daemon off;
worker_processes 1;
error_log {root}/error.log;
pid {root}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  open_file_cache max=16;
  default_type application/json;
  types {{ application/json json; }}
  {temporary}
  server {{
    listen 127.0.0.1:{port} backlog=512;
    root {root}/www;
    add_header Cache-Control "public, max-age=300";
    add_header Access-Control-Allow-Origin "*";
  }}
}}
""".replace(
    "{temporary}",
    " ".join(f"{kind}_temp_path {{root}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
)

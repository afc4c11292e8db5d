"""private_key_jwt by other people's clients: openid-client, oauth4webapi, Authlib, and the MCP SDKs of two languages."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from tests import rule
from tests.interop.claims import check_claims, read_unverified
from tests.interop.programs import HERE, Node
from tests.interop.verifying import with_joserfc
from tests.processes import Agent, RunningServer
from watchword.protocol.private_keys import PrivateKey, generate_private_key, to_pem


@pytest.fixture(scope="session")
def key() -> PrivateKey:
    return generate_private_key("ES256")


def register(server: RunningServer, name: str, key: PrivateKey, folder: Path, *options: str) -> Agent:
    """Register an agent through the command line, which is given the public half."""
    file = folder / f"{name}.pub"
    file.write_text(json.dumps(dict(key.public_jwk)))
    said = ("--auth", "private_key_jwt", "--public-key", str(file), "--scope", "read:data", *options)
    made = server.watchword(
        "agent", "create", name, *(("--resource", "my-api") if "--resource" not in said else ()), *said
    )
    return Agent(str(made["client_id"]), "")


@pytest.mark.parametrize("library", ["openid-client", "oauth4webapi"])
@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS256", "Ed25519"])
def test_clients_of_node_sign(
    node: Node, running_server: RunningServer, tmp_path: Path, library: str, algorithm: str
) -> None:
    key = generate_private_key(algorithm)
    agent = register(running_server, f"{library}-{algorithm}".lower(), key, tmp_path)
    jwk = json.loads(_jwk_of(key))
    env = {
        "LIBRARY": library,
        "ISSUER": running_server.issuer,
        "CLIENT_ID": agent.client_id,
        "JWK": json.dumps({**jwk, "kid": key.kid}),
        "ALG": algorithm,
        "SCOPE": "read:data",
    }
    printed = node.run("program.mjs", (HERE / "node" / "private_key_jwt.mjs").read_text(), folder=tmp_path, **env)
    check_claims(with_joserfc(json.loads(printed)["access_token"], running_server), running_server, agent)


def _jwk_of(key: PrivateKey) -> str:
    name = {"Ed25519": "EdDSA"}.get(key.algorithm, key.algorithm)
    return str(jwt.get_algorithm_by_name(name).to_jwk(key.key))


@pytest.fixture(autouse=True)
def _allow_plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def authlib(server: RunningServer, agent: Agent, key: PrivateKey, **claims: object) -> dict[str, object]:
    """Its own assertions live for an hour, and for the token endpoint; claims, which it keeps, say otherwise."""
    with AuthlibSession(
        agent.client_id,
        ECKey.import_key(to_pem(key)),
        token_endpoint_auth_method="private_key_jwt",
        scope="read:data",
    ) as session:
        soon = {"exp": int(time.time()) + 60}
        method = PrivateKeyJWT(server.token_endpoint, claims={**soon, **claims}, alg=key.algorithm)
        session.register_client_auth_method(method)
        return dict(session.fetch_token(server.token_endpoint, grant_type="client_credentials"))


@rule("R10070-3-03")
def test_authlib_signs_for_the_token_endpoint_unless_it_is_told_the_issuer(
    running_server: RunningServer, key: PrivateKey, tmp_path: Path
) -> None:
    agent = register(running_server, "authlib", key, tmp_path)
    token = authlib(running_server, agent, key, aud=running_server.issuer)
    check_claims(with_joserfc(str(token["access_token"]), running_server), running_server, agent)
    with pytest.raises(Exception, match="issuer, not the token endpoint"):
        authlib(running_server, agent, key)
    with pytest.raises(Exception, match="300 seconds at most"):
        authlib(running_server, agent, key, aud=running_server.issuer, exp=int(time.time()) + 3600)
    running_server.watchword("agent", "update", "authlib", "--allow", "token_endpoint_audience")
    token = authlib(running_server, agent, key)
    check_claims(with_joserfc(str(token["access_token"]), running_server), running_server, agent)


class McpServer(BaseHTTPRequestHandler):
    """As much of a protected MCP server as its client must see: who protects it, and whether a token came."""

    issuer = ""

    def do_GET(self) -> None:
        here = f"http://127.0.0.1:{self.server.server_port}"
        if self.path.startswith("/.well-known/oauth-protected-resource"):
            self._answer(
                200,
                {"resource": f"{here}/mcp", "authorization_servers": [self.issuer], "scopes_supported": ["read:data"]},
            )
        elif self.path.startswith("/mcp") and self.headers["authorization"]:
            self._answer(200, {"token": self.headers["authorization"]})
        elif self.path.startswith("/mcp"):
            where = f'Bearer resource_metadata="{here}/.well-known/oauth-protected-resource/mcp"'
            self._answer(401, {}, ("www-authenticate", where))
        else:
            self._answer(404, {})

    do_POST = do_GET  # noqa: N815 -- the library's name

    def _answer(self, status: int, document: object, *headers: tuple[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def mcp_server(issuer: str) -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (McpServer,), {"issuer": issuer}))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/mcp"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@rule("MCPCC-01", "MCPCC-02")
def test_the_mcp_sdk_for_typescript_signs(
    node: Node, running_server: RunningServer, key: PrivateKey, tmp_path: Path
) -> None:
    with mcp_server(running_server.issuer) as url:
        running_server.watchword("resource", "create", "mcp-node", "--identifier", url, "--scope", "read:data")
        agent = register(running_server, "mcp-node", key, tmp_path, "--resource", "mcp-node")
        env = {
            "LIBRARY": "mcp",
            "ISSUER": running_server.issuer,
            "CLIENT_ID": agent.client_id,
            "JWK": json.dumps({**json.loads(_jwk_of(key)), "kid": key.kid}),
            "ALG": "ES256",
            "SCOPE": "read:data",
            "RESOURCE": url,
        }
        printed = node.run("program.mjs", (HERE / "node" / "private_key_jwt.mjs").read_text(), folder=tmp_path, **env)
    claims = read_unverified(json.loads(printed)["access_token"])
    assert (claims["client_id"], claims["aud"], claims["scope"]) == (agent.client_id, url, "read:data")


@rule("MCPCC-01", "MCPCC-02")
def test_the_mcp_sdk_for_python_signs(running_server: RunningServer, key: PrivateKey, tmp_path: Path) -> None:
    import httpx2

    pytest.importorskip("mcp", reason="suite interop/mcp: the MCP SDK is not installed")
    from mcp.client.auth.extensions.client_credentials import PrivateKeyJWTOAuthProvider, SignedJWTParameters

    class Kept:
        """Where the SDK keeps what it got."""

        tokens = client = None

        async def get_tokens(self):
            return self.tokens

        async def set_tokens(self, tokens):
            self.tokens = tokens

        async def get_client_info(self):
            return self.client

        async def set_client_info(self, client):
            self.client = client

    async def call(url: str, client_id: str) -> str:
        signed = SignedJWTParameters(
            issuer=client_id, subject=client_id, signing_key=to_pem(key), signing_algorithm="ES256"
        )
        provider = PrivateKeyJWTOAuthProvider(
            server_url=url,
            storage=Kept(),
            client_id=client_id,
            assertion_provider=signed.create_assertion_provider(),
            scope="read:data",
            issuer=running_server.issuer,
        )
        async with httpx2.AsyncClient(auth=provider) as client:
            return str((await client.get(url)).json()["token"])

    with mcp_server(running_server.issuer) as url:
        running_server.watchword("resource", "create", "mcp-python", "--identifier", url, "--scope", "read:data")
        agent = register(running_server, "mcp-python", key, tmp_path, "--resource", "mcp-python")
        scheme, token = asyncio.run(call(url, agent.client_id)).split()
    claims = read_unverified(token)
    assert (scheme, claims["client_id"], claims["aud"]) == ("Bearer", agent.client_id, url)

"""Mutual TLS as it is used: a running server, curl, our SDK, a thief with a ticket, files renewed while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
import trustme
from OpenSSL import SSL

from tests import rule
from tests.whole.server_process import until
from tests.whole.test_listening import refusal
from watchword import (
    ClientCertificate,
    ClientSecretBasic,
    Login,
    LoginRefused,
    LoginUnavailable,
    PrivateKeyJwt,
    TlsClientAuth,
)
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.confirmation import x5t_s256
from watchword.protocol.private_keys import generate_private_key
from watchword.testing.certificates import Authority, Held, self_signed
from watchword.testing.process import ServerProcess, free_port

SERVER = trustme.CA()
PINNED = self_signed("pinned")
VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@dataclass(frozen=True, slots=True)
class Scene:
    """A server with a listener for certificates, the authority of its clients, and two of them."""

    server: ServerProcess
    folder: Path
    port: int
    authority: Authority
    named: str
    pinned: str

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}/oauth/token"

    def form(self, client_id: str) -> dict[str, str]:
        return {"grant_type": "client_credentials", "client_id": client_id, "scope": "read:data"}


def write_server_pair(folder: Path) -> tuple[str, str]:
    made = SERVER.issue_cert("127.0.0.1", "localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for position, blob in enumerate(made.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=position > 0)
    SERVER.cert_pem.write_to_path(folder / "ca.pem")
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.fixture(scope="module")
def scene(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("mtls")
    authority = Authority()
    certificate, key = write_server_pair(folder)
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "revoked.pem").write_bytes(authority.list_revoked())
    port = free_port()
    variables = {
        "WATCHWORD_SERVER__MTLS_LISTEN": f"127.0.0.1:{port}",
        "WATCHWORD_SERVER__MTLS_CERT": certificate,
        "WATCHWORD_SERVER__MTLS_KEY": key,
        "WATCHWORD_SERVER__CLIENT_CA": str(folder / "clients.pem"),
        "WATCHWORD_SERVER__CLIENT_CRL": str(folder / "revoked.pem"),
    }
    with ServerProcess(folder, environment=variables, options=["--workers", "2"]) as server:
        local = ("--data", str(server.data))
        server.command(*local, "resource", "create", "my-api", "--scope", "read:data")
        PINNED.write(folder, "pinned")
        create = (*local, "-o", "json", "agent", "create", "--resource", "my-api", "--scope", "read:data", "--auth")
        named = json.loads(server.command(*create, "tls_client_auth", "--subject-dn", "CN=named", "named"))
        pinned = server.command(
            *create, "self_signed_tls_client_auth", "--certificate", str(folder / "pinned.pem"), "pinned"
        )
        yield Scene(server, folder, port, authority, named["client_id"], json.loads(pinned)["client_id"])


def claims(token: str) -> dict[str, object]:
    made: dict[str, object] = json.loads(b64url_decode(token.split(".")[1].encode()))
    return made


def context(version: int, held: Held | None) -> SSL.Context:
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    if held is not None:
        made.use_certificate(held.certificate)
        made.use_privatekey(held.key)
    return made


def ask(
    scene: Scene, client: SSL.Context, client_id: str, session: SSL.Session | None = None
) -> tuple[int, SSL.Session | None]:
    """Ask for a token on a new connection; return the status, and the session that could be resumed."""
    with socket.create_connection(("127.0.0.1", scene.port), timeout=20) as plain:
        plain.setblocking(True)
        return exchange(scene, SSL.Connection(client, plain), client, client_id, session)


def exchange(
    scene: Scene, connection: SSL.Connection, client: SSL.Context, client_id: str, session: SSL.Session | None
) -> tuple[int, SSL.Session | None]:
    if session is not None:
        session._context = client  # type: ignore[attr-defined]  # it was another's
        connection.set_session(session)
    connection.set_connect_state()
    connection.set_tlsext_host_name(b"localhost")
    body = urlencode(scene.form(client_id)).encode()
    head = f"POST /oauth/token HTTP/1.1\r\nHost: localhost:{scene.port}\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body)
    answer = connection.recv(65_536)
    return int(answer.split(b" ", 2)[1]), connection.get_session()


@rule("M10", "R8705-3-01")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_that_was_stolen_without_the_key_does_not_log_in(scene: Scene, version: str) -> None:
    status, session = ask(scene, context(VERSIONS[version], PINNED), scene.pinned)
    assert (status, session is not None) == (200, True)
    status, _ = ask(scene, context(VERSIONS[version], None), scene.pinned, session)
    assert status == 401
    events = scene.server.admin("GET", f"/audit/events?client_id={scene.pinned}&newest_first=true&limit=1")[1]
    assert events["items"][0]["event"]["reason"] == "client.no_credentials"
    assert ask(scene, context(VERSIONS[version], PINNED), scene.pinned)[0] == 200


def curl(scene: Scene, client_id: str, held: Held, *options: str) -> dict[str, str]:
    program = shutil.which("curl")
    if program is None:
        if os.environ.get("WATCHWORD_TEST_REQUIRE_ALL"):
            pytest.fail("curl is missing")
        pytest.skip("curl is missing")
    certificate, key = held.write(scene.folder, "curl")
    command = [program, "-sS", "--cacert", str(scene.folder / "ca.pem"), "--cert", str(certificate), "--key", str(key)]
    fields = [part for name, value in scene.form(client_id).items() for part in ("-d", f"{name}={value}")]
    done = subprocess.run(
        [*command, *options, *fields, scene.endpoint], capture_output=True, text=True, timeout=30, check=True
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@rule("R8705-2.1-01", "R8705-2.2-01", "M11")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_logs_in_with_a_certificate(scene: Scene, version: str) -> None:
    options = ("--tlsv" + version, "--tls-max", version)
    for client_id, held in ((scene.named, scene.authority.issue("named")), (scene.pinned, PINNED)):
        answer = curl(scene, client_id, held, *options)
        assert claims(answer["access_token"])["cnf"] == {"x5t#S256": x5t_s256(held.der)}
    assert curl(scene, scene.named, PINNED, *options)["error"] == "invalid_client"


@rule("R8705-5-01")
def test_our_client_goes_where_certificates_are_asked_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(scene.folder / "ca.pem"))
    held = scene.authority.issue("named")
    files = held.write(scene.folder, "sdk")
    login = Login(
        issuer=scene.server.issuer, client=TlsClientAuth(scene.named, *files), resource="my-api", scope="read:data"
    )
    token = login.token()
    assert claims(token)["cnf"] == {"x5t#S256": x5t_s256(held.der)}
    login.invalidate(token)
    renewed = scene.authority.issue("named")
    renewed.write(scene.folder, "sdk")
    login.transport().close()  # type: ignore[attr-defined]  # a kept connection would show what it showed
    assert claims(asyncio.run(login.atoken()))["cnf"] == {"x5t#S256": x5t_s256(renewed.der)}
    other = TlsClientAuth(scene.pinned, *files)
    with pytest.raises(LoginRefused):
        Login(issuer=scene.server.issuer, client=other, resource="my-api", scope="read:data").token()


def token_in_time(login: Login) -> str:
    """Return a token; a memory that has just begun is not sure of any assertion for some seconds, and says 503."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return login.token()
        except LoginUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@rule("R8705-3-01", "M9")
def test_who_logs_in_with_a_key_or_a_secret_shows_a_certificate_beside_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(scene.folder / "ca.pem"))
    local = ("--data", str(scene.server.data), "-o", "json", "agent", "create", "--resource", "my-api")
    local += ("--scope", "read:data", "--mtls-bound")
    key = generate_private_key("ES256")
    (scene.folder / "key.jwk").write_text(json.dumps(dict(key.public_jwk)))
    with_key = ("--auth", "private_key_jwt", "--public-key", str(scene.folder / "key.jwk"))
    signer = json.loads(scene.server.command(*local, *with_key, "signer"))["client_id"]
    made = json.loads(scene.server.command(*local, "keeper"))
    held = self_signed("nowhere registered")
    certificate = ClientCertificate(*held.write(scene.folder, "beside"))
    for client in (PrivateKeyJwt(signer, key), ClientSecretBasic(made["client_id"], made["client_secret"])):
        common = {"issuer": scene.server.issuer, "client": client, "resource": "my-api", "scope": "read:data"}
        login = Login(**common, certificate=certificate)
        bound = claims(token_in_time(login))["cnf"]
        assert bound["x5t#S256"] == x5t_s256(held.der)
        assert ("jkt" in bound) is isinstance(client, PrivateKeyJwt)
        with pytest.raises(LoginRefused) as caught:
            Login(**common).token()
        assert "certificate" in str(caught.value)


@rule("C14")
def test_over_plain_http_a_client_of_certificates_is_nobody(scene: Scene) -> None:
    answer = httpx2.post(f"{scene.server.issuer}/oauth/token", data=scene.form(scene.pinned))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@rule("M10", "M1", "O10", "KF-64")
def test_who_is_trusted_is_read_again_while_the_server_runs(scene: Scene) -> None:
    held = scene.authority.issue("named")
    assert "access_token" in curl(scene, scene.named, held)
    scene.authority.revoke(held)
    (scene.folder / "revoked.pem").write_bytes(scene.authority.list_revoked())
    os.kill(scene.server.pid, signal.SIGHUP)
    until(lambda: curl(scene, scene.named, held).get("error") == "invalid_client", "the list is read")
    assert "access_token" in curl(scene, scene.named, scene.authority.issue("named"))
    (scene.folder / "clients.pem").write_text("rubbish")
    os.kill(scene.server.pid, signal.SIGHUP)
    until(lambda: "listen.client_ca" in scene.server.log.read_text(), "the refusal is logged")
    assert "access_token" in curl(scene, scene.named, scene.authority.issue("named"))


@rule("O10")
def test_the_certificate_of_the_listener_is_renewed_while_it_runs(scene: Scene) -> None:
    before = ssl.get_server_certificate(("127.0.0.1", scene.port))
    write_server_pair(scene.folder)
    os.kill(scene.server.pid, signal.SIGHUP)
    until(lambda: ssl.get_server_certificate(("127.0.0.1", scene.port)) != before, "the new one is shown")


@rule("M12", "KF-70")
@pytest.mark.parametrize("spoil", ["missing", "empty", "rubbish", "client"])
@pytest.mark.places("sqlite", why="it ends before it looks at a store")
def test_without_its_authorities_the_server_does_not_start(tmp_path: Path, spoil: str) -> None:
    certificate, key = write_server_pair(tmp_path)
    contents = {"empty": b"", "rubbish": b"rubbish", "client": PINNED.pem[:-60]}
    if spoil in contents:
        (tmp_path / "clients.pem").write_bytes(contents[spoil])
    with_data = ServerProcess(tmp_path)
    code, said = refusal(
        with_data.folder,
        *("--listen", "127.0.0.1:0", "--mtls-listen", "127.0.0.1:0", "--client-ca", str(tmp_path / "clients.pem")),
        *("--tls-cert", certificate, "--tls-key", key),
    )
    assert code != 0
    assert "clients.pem" in said

"""Certificates behind the proxies of ``deploy/``: passed on as they were shown, and never from anybody else."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from OpenSSL import SSL

from tests import rule
from tests.deploy.conftest import PROXIES
from tests.deploy.proxies import CLIENT, FORM, HOST, Front, front
from tests.processes import RunningServer, environment, free_port, run
from tests.whole.server_process import PROGRAM, Serving
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.confirmation import x5t_s256
from watchword.testing.certificates import Authority, Held, self_signed

AUTHORITY = Authority("Agents")
PINNED = self_signed("pinned")
DIALECTS = {"nginx": "nginx", "haproxy": "rfc9440"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A proxy with a port for certificates, the node behind it, and two agents."""

    proxy: Front
    node: Serving
    command: RunningServer
    named: str
    pinned: str

    def event(self) -> dict[str, object]:
        """The newest event of the token endpoint."""
        command = [*PROGRAM, "--data", str(self.command.data), "audit", "export", "--format", "jsonl"]
        lines = run(command, env=environment(self.command.home), cwd=self.command.home).splitlines()
        events = [json.loads(line)["event"] for line in lines]
        found: dict[str, object] = next(one for one in reversed(events) if one["action"] == "token.issue")
        return found


@pytest.fixture(scope="module", params=PROXIES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    name = str(request.param)
    folder = tmp_path_factory.mktemp(f"mtls-{name}")
    (folder / "clients.pem").write_bytes(AUTHORITY.pem)
    PINNED.write(folder, "pinned")
    port, mtls_port = free_port(), free_port()
    issuer = f"https://{HOST}:{port}"
    command = RunningServer(issuer=issuer, data=folder / "data", home=folder, program=PROGRAM)
    run([*PROGRAM, "init", "--data", str(command.data), "--issuer", issuer], env=environment(folder), cwd=folder)
    settings = {
        "issuer": issuer,
        "trusted_proxies": "127.0.0.1/32",
        "client_certificate_header": DIALECTS[name],
        "client_ca": folder / "clients.pem",
        "mtls_url": f"https://{HOST}:{mtls_port}",
    }
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(Serving(folder, ["--listen", "127.0.0.1:0"], **settings))
        proxy = stack.enter_context(front(name, port, [node.address], folder / "front", mtls_port=mtls_port))
        command.watchword("resource", "create", "my-api", "--scope", "read:data")
        create = ("agent", "create", "--resource", "my-api", "--scope", "read:data", "--auth")
        named = command.watchword(*create, "tls_client_auth", "--subject-dn", "CN=named", "named")
        pem = str(folder / "pinned.pem")
        pinned = command.watchword(*create, "self_signed_tls_client_auth", "--certificate", pem, "pinned")
        yield Scene(proxy, node, command, str(named["client_id"]), str(pinned["client_id"]))


def ask(
    scene: Scene, client_id: str, held: Held | None, tmp_path: Path, port: int = 0, **headers: str
) -> tuple[int, dict[str, str]]:
    trust = ssl.create_default_context(cafile=str(scene.proxy.folder / "ca.pem"))
    if held is not None:
        held.load_into(trust, tmp_path)
    connection = http.client.HTTPSConnection(
        HOST, port or scene.proxy.mtls_port, timeout=30, context=trust, source_address=(CLIENT, 0)
    )
    form = urlencode({"grant_type": "client_credentials", "client_id": client_id, "scope": "read:data"})
    connection.request("POST", "/oauth/token", form, {"Content-Type": FORM, **headers})
    answer = connection.getresponse()
    body: dict[str, str] = json.loads(answer.read())
    connection.close()
    return answer.status, body


@rule("R9440-2-01", "R8705-3-01", "M8")
def test_what_is_shown_to_the_proxy_logs_in_and_binds(scene: Scene, tmp_path: Path) -> None:
    for client_id, held in ((scene.named, AUTHORITY.issue("named")), (scene.pinned, PINNED)):
        status, body = ask(scene, client_id, held, tmp_path)
        assert status == 200, body
        claims = json.loads(b64url_decode(body["access_token"].split(".")[1].encode()))
        assert claims["cnf"] == {"x5t#S256": x5t_s256(held.der)}
        assert scene.event()["peer"] == CLIENT


@rule("M1", "M2", "M6")
def test_what_it_is_worth_the_node_says(scene: Scene, tmp_path: Path) -> None:
    refused = [
        (scene.named, PINNED, "client.credential"),
        (scene.pinned, AUTHORITY.issue("named"), "client.credential"),
        (scene.named, self_signed("named"), "certificate.authority"),
        (scene.named, Authority("Agents").issue("named"), "certificate.chain"),
        (scene.named, None, "client.no_credentials"),
    ]
    for client_id, held, reason in refused:
        assert ask(scene, client_id, held, tmp_path)[0] == 401
        assert scene.event()["reason"] == reason


@rule("R9440-4-01", "M8", "KF-69")
@pytest.mark.parametrize("name", ["Client-Cert", "client_cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert"])
def test_what_a_client_says_of_its_certificate_ends_at_the_proxy(scene: Scene, tmp_path: Path, name: str) -> None:
    for value in (f":{b64encode(PINNED.der).decode()}:", quote(PINNED.pem.decode(), safe="")):
        for port in (scene.proxy.port, scene.proxy.mtls_port):
            assert ask(scene, scene.pinned, None, tmp_path, port, **{name: value})[0] == 401
            assert scene.event()["reason"] == "client.no_credentials"
    assert ask(scene, scene.pinned, PINNED, tmp_path, **{name: "rubbish"})[0] == 200


@rule("R9440-2-02", "R8705-6.5-01", "M8", "KF-69")
def test_who_goes_past_the_proxy_is_refused_with_such_a_header(scene: Scene) -> None:
    node = http.client.HTTPConnection(*scene.node.address, timeout=30, source_address=(CLIENT, 0))
    form = urlencode({"grant_type": "client_credentials", "client_id": scene.pinned, "scope": "read:data"})
    headers = {"Content-Type": FORM, "Host": HOST}
    spelt = {"nginx": quote(PINNED.pem.decode(), safe=""), "haproxy": f":{b64encode(PINNED.der).decode()}:"}
    name = {"nginx": "X-SSL-Client-Cert", "haproxy": "Client-Cert"}[scene.proxy.name]
    node.request("POST", "/oauth/token", form, {**headers, name: spelt[scene.proxy.name]})
    answer = node.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]) == (400, "invalid_request")
    event = scene.event()
    assert (event["reason"], event["peer"]) == ("certificate_header.untrusted", CLIENT)
    node.close()


@rule("M10")
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=("1.2", "1.3"))
def test_a_stolen_session_does_not_log_in_behind_the_proxy(scene: Scene, version: int) -> None:
    def log_in(held: Held | None, session: SSL.Session | None) -> tuple[int, SSL.Session | None]:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if held is not None:
            context.use_certificate(held.certificate)
            context.use_privatekey(held.key)
        with socket.create_connection(("127.0.0.1", scene.proxy.mtls_port), timeout=20) as plain:
            plain.setblocking(True)
            connection = SSL.Connection(context, plain)
            if session is not None:
                session._context = context
                connection.set_session(session)
            connection.set_connect_state()
            connection.set_tlsext_host_name(HOST.encode())
            form = urlencode(
                {"grant_type": "client_credentials", "client_id": scene.pinned, "scope": "read:data"}
            ).encode()
            head = f"POST /oauth/token HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {FORM}\r\nContent-Length: {len(form)}\r\n\r\n"
            connection.sendall(head.encode() + form)
            return int(connection.recv(65_536).split(b" ", 2)[1]), connection.get_session()

    status, session = log_in(PINNED, None)
    assert (status, session is not None) == (200, True)
    assert log_in(None, session)[0] == 401

"""Other people's clients with a certificate: Go's crypto/tls, openid-client, oauth4webapi."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests import rule
from tests.interop.claims import read_unverified
from tests.interop.programs import HERE, Go, Node
from tests.processes import RunningServer, environment, free_port, run
from tests.whole.server_process import PROGRAM, Serving
from watchword.protocol.confirmation import x5t_s256
from watchword.testing.certificates import Authority, Held, self_signed

METHODS = ("tls_client_auth", "self_signed_tls_client_auth")
AUTHORITY = Authority()
CERTIFICATES = {METHODS[0]: AUTHORITY.issue("named"), METHODS[1]: self_signed("pinned")}


@dataclass(frozen=True, slots=True)
class Scene:
    """A server with a listener for certificates, and an agent of each method."""

    issuer: str
    endpoint: str
    folder: Path
    agents: dict[str, str]

    def environment(self, method: str) -> dict[str, str]:
        held: Held = CERTIFICATES[method]
        certificate, key = held.write(self.folder, method)
        files = {"CERT": str(certificate), "KEY": str(key), "CA": str(self.folder / "ca.pem")}
        named = {"ISSUER": self.issuer, "TOKEN_ENDPOINT": self.endpoint, "CLIENT_ID": self.agents[method]}
        return {**files, **named, "SCOPE": "read:data"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("mtls")
    made = trustme.CA()
    served = made.issue_cert("127.0.0.1", "localhost")
    served.private_key_pem.write_to_path(folder / "key.pem")
    served.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "clients.pem").write_bytes(AUTHORITY.pem)
    pinned, _ = CERTIFICATES[METHODS[1]].write(folder, "pinned")
    port, mtls = free_port(), free_port()
    issuer = f"http://127.0.0.1:{port}"
    command = RunningServer(issuer=issuer, data=folder / "data", home=folder, program=PROGRAM)
    run([*PROGRAM, "init", "--data", str(command.data), "--issuer", issuer], env=environment(folder), cwd=folder)
    settings = {
        "mtls_listen": f"127.0.0.1:{mtls}",
        "mtls_cert": folder / "cert.pem",
        "mtls_key": folder / "key.pem",
        "client_ca": folder / "clients.pem",
    }
    with Serving(folder, ["--listen", f"127.0.0.1:{port}"], **settings):
        command.watchword("resource", "create", "my-api", "--scope", "read:data")
        create = ("agent", "create", "--resource", "my-api", "--scope", "read:data", "--auth")
        named = command.watchword(*create, METHODS[0], "--subject-dn", "CN=named", "named")
        other = command.watchword(*create, METHODS[1], "--certificate", str(pinned), "pinned")
        agents = {METHODS[0]: str(named["client_id"]), METHODS[1]: str(other["client_id"])}
        yield Scene(issuer, f"https://127.0.0.1:{mtls}/oauth/token", folder, agents)


def check_bound(token: str, method: str) -> None:
    assert read_unverified(token)["cnf"] == {"x5t#S256": x5t_s256(CERTIFICATES[method].der)}


@rule("R8705-2.1-01", "R8705-2.2-01")
@pytest.mark.parametrize("method", METHODS)
def test_go_logs_in_with_a_certificate(go: Go, scene: Scene, tmp_path: Path, method: str) -> None:
    answer = json.loads(go.run_command("mutualtls", folder=tmp_path, env=scene.environment(method)))
    check_bound(answer["access_token"], method)
    assert answer["token_type"] == "Bearer"


@rule("R8705-2.1-01", "R8705-2.2-01", "R8705-5-01")
@pytest.mark.parametrize("library", ["openid-client", "oauth4webapi"])
@pytest.mark.parametrize("method", METHODS)
def test_node_logs_in_with_a_certificate_where_the_metadata_say(
    node: Node, scene: Scene, tmp_path: Path, method: str, library: str
) -> None:
    program = (HERE / "node" / "mutual_tls.mjs").read_text()
    printed = node.run("program.mjs", program, folder=tmp_path, LIBRARY=library, **scene.environment(method))
    answer = json.loads(printed)
    check_bound(answer["tokens"]["access_token"], method)
    assert answer["asked"][-1] == scene.endpoint

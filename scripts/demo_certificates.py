"""The part of the story that is about certificates: an agent logs in with one, and its token is worth nothing without."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from cryptography import x509
from stage import Stage, free_port, tell

import watchword
from watchword.protocol.confirmation import x5t_s256
from watchword.testing.certificates import SERVER, Authority, self_signed

HERE = Path(__file__).resolve().parent
SERVED = "server-tls"


def make_certificates(stage: Stage) -> list[str]:
    """Make what the server and the API show, and the agents' authority; return the options of the server."""
    authority = Authority("Demo", now=datetime.now(UTC).replace(microsecond=0))
    (stage.folder / "ca.pem").write_bytes(authority.pem)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate, key = authority.issue("127.0.0.1", names=names, usage=SERVER).write(stage.folder, SERVED)
    files = ["--client-ca", str(stage.folder / "ca.pem")]
    settings = {"WATCHWORD_SERVER__MTLS_CERT": str(certificate), "WATCHWORD_SERVER__MTLS_KEY": str(key)}
    stage.server_environment.update(settings)
    return ["--mtls-listen", f"127.0.0.1:{free_port()}", *files]


def a_certificate_opens_and_binds(stage: Stage) -> None:
    api = f"https://127.0.0.1:{free_port()}"
    served = [str(stage.folder / f"{SERVED}.{end}") for end in ("pem", "key")]
    command = [sys.executable, str(HERE / "mtls_api.py"), "127.0.0.1", api.rpartition(":")[2], *served]
    stage.start("mtls-api", command, lambda printed: "ready" in printed, ISSUER=stage.issuer)
    owner, thief = self_signed("crawler"), self_signed("crawler")
    files = owner.write(stage.folder, "crawler")
    ways = ("--auth", "self_signed_tls_client_auth", "--certificate", str(files[0]))
    made = stage.operator("agent", "create", "crawler", "--resource", "my-api", "--scope", "read:data", *ways)
    with trusting(stage.folder / "ca.pem"):
        client = watchword.TlsClientAuth(str(made["client_id"]), *files)
        login = watchword.Login(issuer=stage.issuer, client=client, resource="my-api", scope="read:data")
        token = login.token()
        tell(f"crawler's token is bound to its certificate, {x5t_s256(owner.der)}")
        with httpx2.Client(auth=login.auth(), verify=client.ssl_context()) as own:
            stage.check("crawler reads over mutual TLS", 200, own.get(f"{api}/note").status_code)
        stolen = {"authorization": f"Bearer {token}"}
        for name, context in (
            (
                "its token with another certificate of the same name",
                thief.load_into(ssl.create_default_context(), stage.folder),
            ),
            ("its token without a certificate", ssl.create_default_context()),
        ):
            with httpx2.Client(verify=context) as other:
                answer = other.get(f"{api}/note", headers=stolen)
            tell(f"{name}: {answer.status_code} {answer.headers.get('www-authenticate', '').partition(',')[0]}")
            stage.check(name, 401, answer.status_code)
    stage.check("its token where nobody asks for certificates", 401, stage.read_note(token).status_code)
    form = {"grant_type": "client_credentials", "client_id": str(made["client_id"]), "scope": "read:data"}
    answer = stage.http.post(f"{stage.issuer}/oauth/token", data=form)
    stage.check("crawler's name alone gets no token", "invalid_client", answer.json().get("error"))


@contextlib.contextmanager
def trusting(authority: Path) -> Iterator[None]:
    """Have this process trust the authority of the servers, as an agent's machine is told to."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority)
    try:
        yield
    finally:
        os.environ.pop("SSL_CERT_FILE")
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before

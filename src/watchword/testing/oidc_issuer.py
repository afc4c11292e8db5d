"""An outside issuer in a process of its own: OpenID Connect discovery and keys over TLS, and tokens for whoever asks.

``python -m watchword.testing.oidc_issuer FOLDER PORT`` is the process. It stands for a cluster or a CI system in tests of
federation; it trusts its callers, and is for loopback only.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from cryptography import x509

from watchword.clock import system_clock
from watchword.protocol.foreign_keys import OPENID_CONFIGURATION
from watchword.protocol.jose import PrivateKey, build_compact, generate_private_key
from watchword.testing.certificates import SERVER, Authority
from watchword.testing.child import Child
from watchword.testing.process import free_port

HOST: Final = "127.0.0.1"
LIFETIME_SECONDS: Final = 300


class OidcIssuer:
    """One issuer. ``ca_file`` is the authority of its certificate; ``settings`` lets a server ask it, though it is not public."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.issuer = f"https://{HOST}:{self.port}"
        self.ca_file = folder / "ca.pem"
        authority = Authority("Issuer's Root")
        self.ca_file.write_bytes(authority.pem)
        authority.issue(HOST, names=[x509.IPAddress(ipaddress.ip_address(HOST))], usage=SERVER).write(folder, "issuer")
        self._folder = folder
        self._child = Child("the issuer", folder / "issuer.log")

    def __enter__(self) -> OidcIssuer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def settings(self) -> dict[str, str]:
        """What ``watchword serve`` must be told to ask it."""
        return {
            "WATCHWORD_SERVER__OUTBOUND_NETWORKS": f"{HOST}/32",
            "WATCHWORD_SERVER__OUTBOUND_PORTS": str(self.port),
            "WATCHWORD_SERVER__OUTBOUND_CA_FILE": str(self.ca_file),
        }

    def start(self) -> None:
        """Start it, with new keys."""
        command = [sys.executable, "-m", "watchword.testing.oidc_issuer", str(self._folder), str(self.port)]
        self._child.start(command, is_ready=self._is_up, cwd=self._folder)

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def token(self, **claims: object) -> str:
        """Return a token with these claims; ``iss``, ``iat``, ``exp`` and ``jti`` are added where they are not given."""
        return str(self._ask("POST", "/token", claims)["token"])

    def rotate(self) -> None:
        """Replace its key."""
        self._ask("POST", "/rotate", {})

    def _is_up(self) -> bool:
        try:
            return bool(self._ask("GET", OPENID_CONFIGURATION))
        except OSError:
            return False

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection(HOST, self.port, context=context, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


class _Issuing(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.issuer = f"https://{HOST}:{port}"
        self.key: PrivateKey = generate_private_key("ES256")
        self.given = 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "issuer.pem", folder / "issuer.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def sign(self, claims: Mapping[str, object]) -> str:
        now = int(system_clock().timestamp())
        self.given += 1
        added = {"iss": self.issuer, "iat": now, "exp": now + LIFETIME_SECONDS, "jti": f"{now}-{self.given}"}
        header = {"alg": "ES256", "kid": self.key.kid, "typ": "JWT"}
        return build_compact(header, {**added, **claims}, self.key.sign)


class _Handler(BaseHTTPRequestHandler):
    server: _Issuing
    timeout = 10

    def do_GET(self) -> None:
        issuer = self.server.issuer
        documents: dict[str, object] = {
            OPENID_CONFIGURATION: {"issuer": issuer, "jwks_uri": f"{issuer}/keys"},
            "/keys": {"keys": [dict(self.server.key.public_jwk)]},
        }
        self._answer(documents.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path == "/rotate":
            self.server.key = generate_private_key("ES256")
        self._answer({"token": self.server.sign(body)} if self.path == "/token" else {})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until told to stop."""
    folder, port = sys.argv[1:]
    _Issuing(Path(folder), int(port)).serve_forever()


if __name__ == "__main__":
    main()

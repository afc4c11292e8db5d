"""Google Cloud KMS and Azure Key Vault for a test: servers written from their published REST references, with real keys.

Nobody has compared them with the real ones. They answer what those are documented to answer, and refuse what those would.
"""

from __future__ import annotations

import base64
import functools
import json
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

Answer = tuple[int, dict[str, Any]]


class Refused(Exception):
    """The answer is this one."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        super().__init__(status)
        self.answer = status, content


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@dataclass
class Cloud:
    """``refuses`` is the answer that everything gets that asks for a signature or a key."""

    refuses: Answer | None = None
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    spoils: dict[str, Any] = field(default_factory=dict)
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                try:
                    status, content = cloud.answer(self.command, self.path, dict(self.headers), body)
                except Refused as refused:
                    status, content = refused.answer
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST  # noqa: N815 -- the name that http.server looks for

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lend(self, seconds: int | str = 3600) -> dict[str, Any]:
        """Return the answer of who lends tokens."""
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return {"access_token": token, "expires_in": seconds, "token_type": "Bearer"}

    def admit(self, headers: dict[str, str]) -> None:
        """Refuse who has no token of ours."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self.knows(token):
            raise Refused(401, {"error": {"status": "UNAUTHENTICATED", "code": "Unauthorized", "message": "no"}})
        if self.refuses is not None:
            raise Refused(*self.refuses)

    def knows(self, token: str) -> bool:
        return token in self.tokens

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        headers = {name.lower(): value for name, value in headers.items()}
        if headers.get("content-type") == "application/x-www-form-urlencoded":
            self.forms.append(parse_qs(body.decode()))
            return self.identify(path, headers)
        content = json.loads(body or b"{}")
        self.asked.append((method, path, content))
        status, said = self.serve(method, path, headers, content)
        return status, {**said, **self.spoils}

    def identify(self, path: str, headers: dict[str, str]) -> Answer:
        raise NotImplementedError

    def serve(self, method: str, path: str, headers: dict[str, str], content: dict[str, Any]) -> Answer:
        raise NotImplementedError


class GoogleKms(Cloud):
    """cloudkms.googleapis.com/v1, and the metadata server. A new key is pending at the first look."""

    account: rsa.RSAPublicKey | None = None
    lifetime = 3600

    def knows(self, token: str) -> bool:
        import jwt

        if token.count(".") != 2 or self.account is None:
            return super().knows(token)
        claims = jwt.decode(token, self.account, algorithms=["RS256"], audience="https://cloudkms.googleapis.com/")
        return claims["iss"] == claims["sub"] == "watchword@project.iam.gserviceaccount.com"

    def serve(self, method: str, path: str, headers: dict[str, str], content: dict[str, Any]) -> Answer:
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            return (200, self.lend(self.lifetime)) if headers.get("metadata-flavor") == "Google" else (403, {})
        self.admit(headers)
        parts = urlsplit(path)
        name, _, verb = parts.path.removeprefix("/v1/").partition(":")
        if method == "POST" and not verb:
            return self._create(name, parse_qs(parts.query)["cryptoKeyId"][0], content)
        version = name.removesuffix("/publicKey")
        if version not in self.keys:
            raise Refused(404, {"error": {"code": 404, "status": "NOT_FOUND", "message": f"{version} not found."}})
        state = self.states[version]
        if method == "GET" and name == version:
            self.states[version] = "ENABLED" if state == "PENDING_GENERATION" else state
            return 200, {"name": version, "state": state}
        if state != "ENABLED":
            message = f"{version} is not enabled, current state is: {state}."
            raise Refused(400, {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": message}})
        return self._sign(version, content) if verb == "asymmetricSign" else self._public(version)

    def _create(self, folder: str, name: str, content: dict[str, Any]) -> Answer:
        algorithm = content["versionTemplate"]["algorithm"]
        assert (folder.rpartition("/")[2], content["purpose"]) == ("cryptoKeys", "ASYMMETRIC_SIGN")
        assert content["versionTemplate"]["protectionLevel"] in ("SOFTWARE", "HSM")
        version = f"{folder}/{name}/cryptoKeyVersions/1"
        self.keys[version] = (algorithm, _make(algorithm, len(self.keys)))
        self.states[version] = "PENDING_GENERATION"
        return 200, {"name": f"{folder}/{name}", **content}

    def _public(self, version: str) -> Answer:
        pem = self.keys[version][1].public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )  # fmt: skip
        return 200, {"name": version, "pem": pem.decode(), "pemCrc32c": str(checksum(pem))}

    def _sign(self, version: str, content: dict[str, Any]) -> Answer:
        algorithm, key = self.keys[version]
        if algorithm == "EC_SIGN_ED25519":
            data = base64.b64decode(content["data"])
            assert content["dataCrc32c"] == str(checksum(data))
            signature, verified = key.sign(data), "verifiedDataCrc32c"
        else:
            ((name, text),) = content["digest"].items()
            assert algorithm.endswith(name.upper())
            given = base64.b64decode(text)
            assert content["digestCrc32c"] == str(checksum(given))
            signature, verified = _sign_hash(key, name, given, "PSS" in algorithm), "verifiedDigestCrc32c"
        said = {"signature": base64.b64encode(signature).decode(), "signatureCrc32c": str(checksum(signature))}
        return 200, {"name": version, **said, verified: True, "protectionLevel": "SOFTWARE"}


class AzureVault(Cloud):
    """A vault of vault.azure.net, version 7.4; login.microsoftonline.com; and the metadata server."""

    def identify(self, path: str, headers: dict[str, str]) -> Answer:
        form = self.forms[-1]
        assert path == "/tenant/oauth2/v2.0/token"
        assert form["grant_type"] == ["client_credentials"]
        is_known = form.get("client_secret") == ["a secret"] or form.get("client_assertion") == ["a token"]
        return (200, self.lend()) if is_known else (401, {"error": "invalid_client"})

    def serve(self, method: str, path: str, headers: dict[str, str], content: dict[str, Any]) -> Answer:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/metadata/identity/oauth2/token":
            is_right = headers.get("metadata") == "true" and query["api-version"] == "2018-02-01" and query["resource"]
            return (200, self.lend("3600")) if is_right else (400, {})
        self.admit(headers)
        assert query == {"api-version": "7.4"}
        name, _, verb = parts.path.rpartition("/")
        return self._create(name, content) if verb == "create" else self._sign(name, content)

    def _create(self, name: str, content: dict[str, Any]) -> Answer:
        assert content["key_ops"] == ["sign", "verify"]
        key = _make(str(content.get("crv", "RSA")).replace("-", ""), len(self.keys))
        path = f"{name}/{secrets.token_hex(16)}"
        self.keys[path], self.states[path] = key, "enabled"
        return 200, {"key": {"kid": self.url + path, "kty": content["kty"], **_members(key)}, "attributes": {}}

    def _sign(self, path: str, content: dict[str, Any]) -> Answer:
        if path not in self.keys:
            raise Refused(404, {"error": {"code": "KeyNotFound", "message": "no"}})
        if self.states[path] == "disabled":
            error = {"code": "Forbidden", "message": "disabled", "innererror": {"code": "KeyDisabled"}}
            raise Refused(403, {"error": error})
        given, algorithm = base64.urlsafe_b64decode(content["value"] + "=="), content["alg"]
        name = "sha" + algorithm[2:]
        signature = _sign_hash(self.keys[path], name, given, algorithm == "PS256")
        if algorithm.startswith("ES"):
            size = {"ES256": 32, "ES384": 48}[algorithm]
            signature = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))
        return 200, {"kid": self.url + path, "value": _text(signature)}


def checksum(data: bytes) -> int:
    """CRC32C, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value ^ 0xFFFFFFFF


def _make(name: str, number: int) -> Any:
    if "P256" in name or "P384" in name:
        return ec.generate_private_key(ec.SECP256R1() if "P256" in name else ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate() if "ED25519" in name else _make_rsa(number % 2)


@functools.cache
def _make_rsa(_number: int) -> rsa.RSAPrivateKey:
    """Two take turns: to find one takes a while."""
    return rsa.generate_private_key(65537, 3072)


def _sign_hash(key: Any, name: str, given: bytes, is_pss: bool) -> bytes:
    hashed: Any = Prehashed({"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[name])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(given, ec.ECDSA(hashed))
    return bytes(
        key.sign(given, padding.PSS(padding.MGF1(hashes.SHA256()), 32) if is_pss else padding.PKCS1v15(), hashed)
    )


def _members(key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = key.key_size // 8
        x, y = (_text(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        return {"crv": f"P-{key.key_size}", "x": x, "y": y}
    return {"n": _text(numbers.n.to_bytes(384, "big")), "e": _text(numbers.e.to_bytes(3, "big"))}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

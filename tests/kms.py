"""AWS KMS for a test: moto's server over HTTP, made to say no as the real one does, and to sign as it does."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.models import kms_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

ACCOUNT = "123456789012"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-only", "AWS_EC2_METADATA_DISABLED": "true"}
REGION = "eu-west-1"

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        pass


@dataclass
class MotoKms:
    """``refuses`` is the error code that every call gets; ``asked`` is what was asked, each an action and its parameters."""

    refuses: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _server: BaseWSGIServer | None = None
    _app: _Wsgi = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))

    def __enter__(self) -> MotoKms:
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key(self, arn: str) -> Any:
        """Return moto's own record of a key."""
        return kms_backends[ACCOUNT][REGION].keys[arn.rpartition("/")[2]]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        parameters = json.loads(body or b"{}")
        self.asked.append((action, parameters))
        return self._judge(action, parameters)(environ, start) if action else self._app(environ, start)

    def _judge(self, action: str, parameters: dict[str, Any]) -> _Wsgi:
        if self.refuses:
            return _refusal(self.refuses)
        if action != "Sign":
            return self._app
        try:
            key = self.key(parameters["KeyId"])
        except KeyError:
            return _refusal("NotFoundException")
        if key.key_state == "PendingDeletion":
            return _refusal("KMSInvalidStateException")
        if not key.enabled:
            return _refusal("DisabledException")
        is_right = parameters["MessageType"] == "RAW" and "PSS" not in parameters["SigningAlgorithm"]
        return self._app if is_right else _sign(key, parameters)


def _refusal(code: str) -> _Wsgi:
    return Response(json.dumps({"__type": code, "message": "no"}), 400, content_type="application/x-amz-json-1.1")


def _sign(key: Any, parameters: dict[str, Any]) -> _Wsgi:
    """moto 5 hashes a hash again, and takes a salt as long as can be; AWS's is as long as the hash."""
    given, private = base64.b64decode(parameters["Message"]), key.private_key.private_key
    algorithm = parameters["SigningAlgorithm"]
    hashed: Any = {"256": hashes.SHA256(), "384": hashes.SHA384()}[algorithm[-3:]]
    if parameters["MessageType"] == "DIGEST":
        hashed = Prehashed(hashed)
    if algorithm.startswith("ECDSA"):
        signature = private.sign(given, ec.ECDSA(hashed))
    elif algorithm.startswith("RSASSA_PSS"):
        signature = private.sign(given, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashed)
    else:
        signature = private.sign(given, padding.PKCS1v15(), hashed)
    said = {"KeyId": key.arn, "Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": algorithm}
    return Response(json.dumps(said), content_type="application/x-amz-json-1.1")

"""What a request asks for, as its sender wrote it: method and raw path, whatever the framework. For proofs of possession.

The host is never looked at: under which URL an API stands, its owner says.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from watchword.resource.credentials import IncomingRequest

_WSGI_SAFE = "/!$&'()*+,;=:@-._~"


def find_target(request: IncomingRequest) -> tuple[str, str] | None:
    """Return method and path, or nothing where the request does not tell: a bare mapping of headers, for instance.

    An ASGI scope (also in ``scope`` of a framework's request), a WSGI environment (also in ``environ``), or an object with
    ``method`` and ``raw_path``. A websocket is a GET.
    """
    if isinstance(request, (dict, Mapping)):  # in this order: asking an abstract class takes longer
        return _of_mapping(request)
    for name in ("scope", "environ"):
        inner = getattr(request, name, None)
        if isinstance(inner, Mapping):
            return _of_mapping(inner)
    return _pair(getattr(request, "method", None), getattr(request, "raw_path", None))


def _of_mapping(request: Mapping[str, object]) -> tuple[str, str] | None:
    kind = request.get("type")
    if kind in ("http", "websocket"):
        path = request.get("raw_path")
        raw = path.decode("latin-1") if isinstance(path, bytes) and path else _quoted(request.get("path"), "utf-8")
        return _pair("GET" if kind == "websocket" else request.get("method"), raw)
    if "REQUEST_METHOD" in request:
        path = f"{request.get('SCRIPT_NAME', '')}{request.get('PATH_INFO', '')}"
        return _pair(request["REQUEST_METHOD"], _quoted(path, "latin-1"))
    return None


def _quoted(path: object, encoding: str) -> object:
    """A path that was decoded can only be encoded again: who encoded what needs not be, or a slash, is refused."""
    return quote(path, safe=_WSGI_SAFE, encoding=encoding) if isinstance(path, str) else None


def _pair(method: object, path: object) -> tuple[str, str] | None:
    if not isinstance(method, str) or not isinstance(path, str):
        return None
    return method, path.partition("?")[0]

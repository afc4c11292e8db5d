"""The access token of a request, whatever the framework: from the ``Authorization`` header alone. RFC 6750 §2.1.

A token in the query or in the body is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from watchword.errors import InvalidRequest, InvalidToken
from watchword.protocol.challenge import parse_authorization

_HEADER = b"authorization"
_SCOPE_TYPES = ("http", "websocket")
_WSGI_HEADER = "HTTP_AUTHORIZATION"
_WSGI_VERSIONS = ((1, 0), (1, 1))


class HasHeaders(Protocol):
    """A request of Starlette, httpx2, httpx, requests, Flask, Django, aiohttp: anything with ``headers``."""

    @property
    def headers(self) -> object:
        """A mapping of names to values, or pairs of them."""
        ...


IncomingRequest = Mapping[str, object] | HasHeaders
"""An ASGI scope, a WSGI environment, an object with ``headers``, or a mapping of headers."""


def find_bearer(request: IncomingRequest) -> str:
    """Return the token that came with the request.

    Raises:
        InvalidToken: token.missing, token.scheme (credentials of another kind).
        InvalidRequest: authorization.several, authorization.syntax.
    """
    credentials = parse_authorization(_authorization_values(request))
    if credentials is None:
        raise InvalidToken("token.missing")
    scheme, token = credentials
    if scheme != "bearer":
        raise InvalidToken("token.scheme")
    return token


def _authorization_values(request: IncomingRequest) -> Sequence[bytes]:
    """Return every value of the header, repetitions included: which of them is meant is not ours to guess."""
    headers = _headers(request)
    if isinstance(headers, list):  # ASGI: pairs of bytes
        return [value for name, value in headers if len(name) == len(_HEADER) and name.lower() == _HEADER]
    values: list[bytes] = []
    for name, value in _pairs(headers):
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        if text.lower() == _HEADER.decode():
            values.extend(_encode(each) for each in (value if isinstance(value, (list, tuple)) else (value,)))
    return values


def _headers(request: IncomingRequest) -> object:
    if not isinstance(request, Mapping):
        return request.headers
    if request.get("wsgi.version") in _WSGI_VERSIONS:  # PEP 3333; no header has a value that is no text
        return {_HEADER: request[_WSGI_HEADER]} if _WSGI_HEADER in request else {}
    headers = request.get("headers") if request.get("type") in _SCOPE_TYPES else None
    return request if headers is None or isinstance(headers, (str, bytes)) else headers  # those may be headers so named


def _pairs(headers: object) -> Iterator[tuple[str | bytes, object]]:
    """Walk the headers of any framework: all have ``items``, or are pairs. What is neither raises, and nobody passes."""
    items = getattr(headers, "items", None)
    found = items() if callable(items) else headers
    if not isinstance(found, Iterable):
        raise TypeError("a request has headers")
    yield from found


def _encode(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return str(value).encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidRequest("authorization.syntax") from None

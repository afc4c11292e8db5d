"""The access token of a request, whatever the framework: from the ``Authorization`` header alone. RFC 6750 §2.1, RFC 9449 §7.1.

A token in the query or in the body is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from watchword.errors import InvalidRequest, InvalidToken
from watchword.protocol.challenge import parse_authorization

_HEADER = b"authorization"
_SCOPE_TYPES = ("http", "websocket")
_SCHEMES = ("bearer", "dpop")
_WSGI_VERSIONS = ((1, 0), (1, 1))


class HasHeaders(Protocol):
    """A request of Starlette, httpx2, httpx, requests, Flask, Django, aiohttp: anything with ``headers``."""

    @property
    def headers(self) -> object:
        """A mapping of names to values, or pairs of them."""
        ...


IncomingRequest = Mapping[str, object] | HasHeaders
"""An ASGI scope, a WSGI environment, an object with ``headers``, or a mapping of headers."""


def find_token(request: IncomingRequest) -> tuple[str, str]:
    """Return the scheme, in lower case, and the token that came with the request.

    Raises:
        InvalidToken: token.missing, token.scheme (credentials of another kind than Bearer and DPoP).
        InvalidRequest: authorization.several, authorization.syntax.
    """
    credentials = parse_authorization(header_values(request, _HEADER))
    if credentials is None:
        raise InvalidToken("token.missing")
    if credentials[0] not in _SCHEMES:
        raise InvalidToken("token.scheme")
    return credentials


def find_scheme(request: IncomingRequest) -> str:
    """Return the scheme that a request uses, in lower case; ``""`` where there is none, or more than one."""
    try:
        credentials = parse_authorization(header_values(request, _HEADER))
    except InvalidRequest:
        return ""
    return credentials[0] if credentials is not None else ""


def header_values(request: IncomingRequest, wanted: bytes) -> Sequence[bytes]:
    """Return every value of a header, repetitions included: which of them is meant is not ours to guess.

    ``wanted`` is in lower case.
    """
    headers = _headers(request, wanted)
    if isinstance(headers, list):  # ASGI: pairs of bytes
        return [value for name, value in headers if len(name) == len(wanted) and name.lower() == wanted]
    values: list[bytes] = []
    for name, value in _pairs(headers):
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        if text.lower() == wanted.decode():
            values.extend(_encode(each) for each in (value if isinstance(value, (list, tuple)) else (value,)))
    return values


def _headers(request: IncomingRequest, wanted: bytes) -> object:
    if not isinstance(request, (dict, Mapping)):  # in this order: asking an abstract class takes longer
        return request.headers
    if request.get("wsgi.version") in _WSGI_VERSIONS:  # PEP 3333; no header has a value that is no text
        key = "HTTP_" + wanted.decode().upper().replace("-", "_")
        return {wanted: request[key]} if key in request else {}
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

"""What is checked of every request before its body is looked at: method, host, encoding."""

from __future__ import annotations

from watchword.errors import InvalidRequest, MethodNotAllowed, Misdirected, UnsupportedContentEncoding
from watchword.server.entry import Request


def check_head(request: Request, *, methods: tuple[str, ...], hosts: frozenset[str]) -> None:
    """Accept a request whose method is served here, that names this server, and whose body is not compressed.

    ``hosts`` are lower-case ``host[:port]`` values. RFC 9112 §3.2: exactly one ``Host``; it is compared, never used.

    Raises:
        MethodNotAllowed: request.method
        InvalidRequest: request.host
        Misdirected: request.misdirected
        UnsupportedContentEncoding: request.content_encoding
    """
    if request.method not in methods:
        raise MethodNotAllowed("request.method", allow=", ".join(methods))
    named = request.header_values(b"host")
    if len(named) != 1 or named[0].decode("latin-1").lower() not in hosts:
        raise InvalidRequest("request.host")
    if request.peer.server_name and _name_of(named[0]) != request.peer.server_name:
        raise Misdirected("request.misdirected")
    if any(value.strip().lower() not in (b"", b"identity") for value in request.header_values(b"content-encoding")):
        raise UnsupportedContentEncoding("request.content_encoding")


def check_certificate_header(request: Request) -> None:
    """Accept a request without a header that names a client's certificate, or with one that a trusted proxy has set.

    Raises:
        InvalidRequest: certificate_header.untrusted, .repeated, .syntax, .chain_alone, .size, .two_certificates
    """
    if request.peer.certificate_problem:
        raise InvalidRequest(request.peer.certificate_problem)


def _name_of(host: bytes) -> str:
    """Return the host without its port."""
    text = host.decode("latin-1").lower()
    return text if text.endswith("]") else text.rpartition(":")[0] or text

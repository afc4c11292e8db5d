"""TLS from files that may be renewed while connections are open: new connections get the new certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.asgi.watched_files import WatchedFiles
from watchword.errors import BadSettings


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a certificate chain and of its private key, PEM."""

    certificate: Path
    private_key: Path


class LiveContext(ssl.SSLContext):
    """Hands every new connection to what is current, which is replaced as a whole: no handshake sees half a change."""

    _files: WatchedFiles[ssl.SSLContext]

    def __new__(cls, files: WatchedFiles[ssl.SSLContext]) -> LiveContext:
        """Make the context that the listener keeps."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._files = files
        return made

    def __init__(self, files: WatchedFiles[ssl.SSLContext]) -> None:
        """All is done."""

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 -- passed on as they are
        """Begin a connection."""
        return self._files.current.wrap_bio(*args, **named)


class Certificate(WatchedFiles[ssl.SSLContext]):
    """The certificate of a listener, as it was last read without fault; ``context`` is what the listener keeps."""

    def __init__(self, files: KeyPair) -> None:
        """Read the files.

        Raises:
            BadSettings: listen.certificate
        """
        self._files = files
        super().__init__(files.certificate, files.private_key)
        self.context = LiveContext(self)

    def _read(self) -> ssl.SSLContext:
        return load_context(self._files)


def load_context(files: KeyPair) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and newer, HTTP/1.1 only.

    Raises:
        BadSettings: listen.certificate
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.private_key, password=lambda: "")
    except (OSError, ValueError) as error:
        detail = (
            f"{files.certificate} and {files.private_key} cannot be used: {_cause(error)}; give a certificate chain and its "
            "own private key, PEM, the key without a passphrase"
        )
        raise BadSettings("listen.certificate", detail=detail) from error
    return context


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return getattr(error, "strerror", None) or "not PEM"

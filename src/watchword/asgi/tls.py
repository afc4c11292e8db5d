"""TLS from files that may be renewed while connections are open: new connections get the new certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from watchword.errors import BadSettings

log = structlog.get_logger("watchword.server")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a certificate chain and of its private key, PEM."""

    certificate: Path
    private_key: Path


class LiveContext(ssl.SSLContext):
    """Hands every new connection to ``current``, which is replaced as a whole: no handshake sees half a change."""

    current: ssl.SSLContext

    def __new__(cls) -> LiveContext:
        """Make the context that the listener keeps."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 -- passed on as they are
        """Begin a connection."""
        return self.current.wrap_bio(*args, **named)


class Certificate:
    """The certificate of a listener, as it was last read without fault."""

    def __init__(self, files: KeyPair) -> None:
        """Read the files.

        Raises:
            BadSettings: listen.certificate
        """
        self._files = files
        self._seen = self._settled = _versions(files)
        self.context = LiveContext()
        self.context.current = load_context(files)

    def watch(self) -> None:
        """Read the files again once they have changed and then stayed the same from one call to the next."""
        before, self._seen = self._seen, _versions(self._files)
        if self._seen == before != self._settled:
            self.reload()

    def catch_up(self) -> None:
        """Read the files again if they have changed since: a process may begin with what another read long ago."""
        if _versions(self._files) != self._settled:
            self.reload()

    def reload(self) -> None:
        """Read the files again. Files that do not go together, or cannot be read, change nothing and are logged."""
        self._seen = self._settled = _versions(self._files)
        try:
            self.context.current = load_context(self._files)
        except BadSettings as error:
            log.error("tls_rejected", reason=error.reason, detail=error.detail)  # noqa: TRY400 -- expected
        else:
            log.info("tls_reloaded", certificate=str(self._files.certificate))


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


def _versions(files: KeyPair) -> tuple[tuple[int, int, int], ...]:
    return tuple(_version(path) for path in (files.certificate, files.private_key))


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)

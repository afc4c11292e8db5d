"""The certificate that the way out shows to servers that ask for one: from files that may be renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

from watchword.ports.http import TransportError

Versions = tuple[tuple[int, int], ...]


class OwnCertificate:
    """A certificate chain and its key, PEM. What is renewed is shown on new connections."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self._context: ssl.SSLContext | None = None
        self._loaded: Versions = ()

    def show(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Have this context show it, now and after ``refresh``.

        Raises:
            TransportError: http.certificate
        """
        self._context = context
        self._load()
        return context

    def refresh(self) -> None:
        """Read the files again if they have changed. What does not go together (yet) is not shown."""
        if self._context is not None and self._versions() != self._loaded:
            self._load()

    def _load(self) -> None:
        certificate, private_key = self._files
        if self._context is None:
            return
        try:
            versions = self._versions()
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, private_key, password=lambda: "")
            self._context.load_cert_chain(certificate, private_key, password=lambda: "")
        except (OSError, ValueError) as error:
            if self._loaded:
                return  # half of it may have been written: until the other half is, the old one is good
            raise TransportError("http.certificate", detail=f"{certificate} and {private_key}: {error}") from None
        self._loaded = versions

    def _versions(self) -> Versions:
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_ino) for one in found)

"""``tls_client_auth`` and ``self_signed_tls_client_auth``: the certificate of the connection is the credential. RFC 8705 §2."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.client.credentials import Sealed
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import OTHERS, read_private_file
from watchword.protocol import names
from watchword.protocol.client_secret import redact

if TYPE_CHECKING:
    from watchword.ports.http import Transport


@dataclass(frozen=True, slots=True)
class ClientCertificate(Sealed):
    """A certificate to show. ``certificate`` is a file with its chain, ``private_key`` one that nobody else can read.

    Both are PEM, the key without a passphrase. They may be renewed: new connections show what is there then.

    Raises:
        LoginMisconfigured: credential.certificate, file.*
    """

    certificate: Path | str
    private_key: Path | str = field(repr=False)

    def __post_init__(self) -> None:
        read_private_file(Path(self.private_key), forbidden=OTHERS)
        self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def transport(self) -> Transport:
        """Return a transport that shows the certificate."""
        from watchword.adapters.outbound import OutboundTransport

        return OutboundTransport(certificate=(Path(self.certificate), Path(self.private_key)))

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that shows the certificate, for a client of an API: ``httpx2.Client(verify=client.ssl_context())``."""
        context = ssl.create_default_context()
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, self.private_key, password=lambda: "")
        except (OSError, ValueError) as error:
            detail = (
                f"{self.certificate} and {self.private_key} are not a certificate chain and its own key, PEM: {error}"
            )
            raise LoginMisconfigured("credential.certificate", detail=detail) from None


@dataclass(frozen=True, slots=True)
class TlsClientAuth(Sealed):
    """A client that shows a certificate, and nothing else: the files are those of ``ClientCertificate``.

    Which of the two methods it is, the server knows. Tokens are bound to the certificate: show it to the API, too, with
    ``ssl_context()``.

    Raises:
        LoginMisconfigured: credential.client_id, credential.certificate, file.*
    """

    client_id: str
    certificate: Path | str
    private_key: Path | str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_id.isprintable():
            raise LoginMisconfigured(
                "credential.client_id", detail="client_id is empty or has control characters in it"
            )
        self._shown()

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Set ``client_id`` in the form: the rest is said by the handshake."""
        form[names.CLIENT_ID] = self.client_id

    def hide(self, text: str) -> str:
        """Return the text without what looks like a secret or a token."""
        return redact(text)

    def transport(self) -> Transport:
        """Return a transport that shows the certificate."""
        return self._shown().transport()

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that shows the certificate, for a client of an API: ``httpx2.Client(verify=client.ssl_context())``."""
        return self._shown().ssl_context()

    def _shown(self) -> ClientCertificate:
        return ClientCertificate(self.certificate, self.private_key)

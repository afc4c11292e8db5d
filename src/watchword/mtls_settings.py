"""The settings of mutual TLS: a listener of its own, proxies that pass certificates on, and whom to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from watchword.errors import BadSettings, WatchwordError
from watchword.listening import ListenAddress
from watchword.protocol.metadata import check_issuer


def _to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class MutualTlsSettings(BaseModel):
    """What of the server's settings is about the certificates of clients."""

    mtls_listen: ListenAddress | None = Field(
        default=None,
        description="Where the listener for clients with certificates binds, host:port; none unless given.",
    )
    mtls_cert: Path | None = Field(default=None, description="Its certificate chain (PEM), unless that is tls_cert.")
    mtls_key: Path | None = Field(default=None, description="Its private key (PEM), unless that is tls_key.")
    mtls_url: str | None = Field(
        default=None, description="The URL under which clients with certificates reach this server, like the issuer."
    )
    client_ca: Path | None = Field(
        default=None, description="Certificates of the authorities that say who a client is (PEM)."
    )
    client_crl: Path | None = Field(
        default=None, description="Their lists of revoked certificates (PEM); with it, every certificate needs one."
    )
    client_certificate_header: Annotated[Literal["none", "rfc9440", "nginx", "envoy"], BeforeValidator(_to_lower)] = (
        Field(default="none", description="How a trusted proxy passes the client's certificate on.")
    )

    @property
    def takes_certificates(self) -> bool:
        """Whether a client can show a certificate in any way."""
        return self.mtls_listen is not None or self.client_certificate_header != "none"

    def check_mtls(self, tls_cert: Path | None, tls_key: Path | None, trusted_proxies: tuple[str, ...]) -> None:
        """Return if these settings go together, and with those of the public listener.

        Raises:
            BadSettings: settings.mtls
        """
        if (self.mtls_cert is None) != (self.mtls_key is None):
            raise _bad("mtls_cert and mtls_key go together: give both files, or neither")
        if self.mtls_listen is not None and self.mtls_cert is None and (tls_cert is None or tls_key is None):
            raise _bad("mtls_listen needs a certificate: give mtls_cert and mtls_key, or tls_cert and tls_key")
        if self.client_crl is not None and self.client_ca is None:
            raise _bad("client_crl goes with client_ca: give the authorities whose lists they are")
        if self.client_certificate_header != "none" and not trusted_proxies:
            raise _bad("client_certificate_header is believed of trusted proxies only: name them in trusted_proxies")
        if not self.takes_certificates and (self.client_ca or self.mtls_cert or self.mtls_url):
            raise _bad(
                "nobody can show a certificate: give mtls_listen, or client_certificate_header behind a proxy, or leave out "
                "client_ca, mtls_cert and mtls_url"
            )
        if self.mtls_url is not None:
            self._check_url(self.mtls_url)

    def _check_url(self, url: str) -> None:
        try:
            check_issuer(url, allow_loopback_http=False)
        except WatchwordError as error:
            raise _bad(f"mtls_url {url!r} cannot be used: write an https URL like the issuer ({error})") from error


def _bad(detail: str) -> BadSettings:
    return BadSettings("settings.mtls", detail=f"{detail}.")

"""A certificate and its key, read from PEM files, for who wants to know how they stand."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from watchword.errors import Fault


class CertificateProblem(Fault):
    """It cannot be used: reasons ``certificate.unreadable``, ``certificate.form``, ``certificate.key``."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The first certificate of a chain. ``names`` are DNS names and addresses it is for."""

    not_before: datetime
    not_after: datetime
    names: frozenset[str]

    def covers(self, host: str) -> bool:
        """Tell whether it is for this host: by name, by one label's wildcard, or by address."""
        host = host.lower()
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


def read_certificate(certificate: Path, private_key: Path) -> CertificateFacts:
    """Return the facts of a certificate that its key belongs to.

    Raises:
        CertificateProblem: certificate.unreadable, certificate.form, certificate.key
    """
    try:
        chain, secret = certificate.read_bytes(), private_key.read_bytes()
    except OSError as error:
        detail = f"{error.filename} cannot be read: {error.strerror}"
        raise CertificateProblem("certificate.unreadable", detail=detail) from error
    try:
        found = x509.load_pem_x509_certificates(chain)[0]
        key = load_pem_private_key(secret, None)
    except (ValueError, TypeError) as error:
        detail = f"{certificate} or {private_key} is not PEM, or is encrypted"
        raise CertificateProblem("certificate.form", detail=detail) from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if found.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise CertificateProblem("certificate.key", detail=f"{private_key} is not the key of {certificate}")
    return CertificateFacts(found.not_valid_before_utc, found.not_valid_after_utc, _names(found))


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network]
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset([*(name.lower() for name in names.get_values_for_type(x509.DNSName)), *map(str, addresses)])

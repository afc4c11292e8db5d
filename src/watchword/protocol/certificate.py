"""A client's certificate, taken in as if it came from an enemy: read whole, its key judged, its times told. RFC 5280, RFC 8705.

That whoever shows it holds its key is proved by the TLS handshake and by nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from watchword.errors import WatchwordError
from watchword.protocol.confirmation import x5t_s256
from watchword.protocol.distinguished_name import DistinguishedName, InvalidName, name_of
from watchword.protocol.key_strength import is_small_order_or_no_point, is_weak_modulus

MAX_SIZE: Final = 16_384
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_EXPONENT: Final = 65_537
MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises at what is no certificate."""


class InvalidCertificate(WatchwordError):
    """A certificate that lets nobody in.

    Reasons: certificate.size, certificate.malformed, certificate.key_kind, certificate.key_size, certificate.key_weak,
    certificate.not_yet, certificate.expired, certificate.authority (it is one itself), certificate.usage, certificate.chain,
    certificate.revoked, certificate.revocation_unknown.
    """


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What of a certificate decides. ``thumbprint`` is its ``x5t#S256``, ``spki`` the DER of its public key."""

    der: bytes = field(repr=False)
    thumbprint: str
    spki: bytes = field(repr=False, compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    subject: DistinguishedName | None = field(repr=False, compare=False)
    """Nothing if it is empty, or cannot be compared: then no rule on it holds."""
    names: x509.SubjectAlternativeName | None = field(repr=False, compare=False)
    parsed: x509.Certificate = field(repr=False, compare=False)

    def check_time(self, now: datetime) -> None:
        """Return if it is valid now. Both ends belong to the time. RFC 5280 §4.1.2.5.

        Raises:
            InvalidCertificate: certificate.not_yet, certificate.expired
        """
        check_time(self.not_before, self.not_after, now)


def check_time(not_before: datetime, not_after: datetime, now: datetime) -> None:
    """Return if now is between the two, ends included.

    Raises:
        InvalidCertificate: certificate.not_yet, certificate.expired
    """
    if now < not_before:
        raise InvalidCertificate("certificate.not_yet")
    if now > not_after:
        raise InvalidCertificate("certificate.expired")


def parse_certificate(der: bytes) -> ClientCertificate:
    """Return the certificate, every part of it read now, its key one that is worth something, its purpose a client's.

    What says nothing of its use may be used by a client; what does must name signing, and client authentication.

    Raises:
        InvalidCertificate: certificate.size, certificate.malformed, certificate.key_kind, certificate.key_size,
            certificate.key_weak, certificate.usage
    """
    if not 0 < len(der) <= MAX_SIZE:
        raise InvalidCertificate("certificate.size")
    try:
        parsed = x509.load_der_x509_certificate(der)
        extensions = {one.oid: one.value for one in parsed.extensions}
        certificate = _take(der, parsed, extensions.values())
        key = parsed.public_key()
    except MALFORMED as error:
        raise InvalidCertificate("certificate.malformed", detail=type(error).__name__) from None
    _check_key(key)
    for extension in extensions.values():
        _check_purpose(extension)
    return certificate


def _take(der: bytes, parsed: x509.Certificate, extensions: Iterable[x509.ExtensionType]) -> ClientCertificate:
    if parsed.version is not x509.Version.v3:
        raise ValueError("version")
    try:
        subject = name_of(parsed.subject)
    except InvalidName:
        subject = None
    names = next((one for one in extensions if isinstance(one, x509.SubjectAlternativeName)), None)
    return ClientCertificate(
        der,
        x5t_s256(der),
        parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        parsed.not_valid_before_utc,
        parsed.not_valid_after_utc,
        subject,
        names,
        parsed,
    )


def _check_key(key: object) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise InvalidCertificate("certificate.key_size")
        numbers = key.public_numbers()
        if numbers.e != _EXPONENT or is_weak_modulus(numbers.n):
            raise InvalidCertificate("certificate.key_weak")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise InvalidCertificate("certificate.key_kind")
    elif isinstance(key, ed25519.Ed25519PublicKey):
        if is_small_order_or_no_point(key.public_bytes_raw()):
            raise InvalidCertificate("certificate.key_weak")
    else:
        raise InvalidCertificate("certificate.key_kind")


def _check_purpose(extension: x509.ExtensionType) -> None:
    if isinstance(extension, x509.KeyUsage) and not extension.digital_signature:
        raise InvalidCertificate("certificate.usage")
    if isinstance(extension, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CLIENT_AUTH not in extension:
        raise InvalidCertificate("certificate.usage")

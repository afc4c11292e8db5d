"""Which certificates are an agent's: one rule on what an authority wrote into it, or the certificate or key itself.

RFC 8705 §2.1.2 and §2.2. A rule on names trusts an authority to give the name to nobody else; a pin trusts none.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.base64url import b64url_encode
from watchword.protocol.certificate import ClientCertificate, InvalidCertificate, parse_certificate
from watchword.protocol.distinguished_name import InvalidName, parse_name
from watchword.protocol.public_keys import InvalidKey, import_public_jwk

SUBJECT_DN: Final = "subject_dn"
SAN_DNS: Final = "san_dns"
SAN_URI: Final = "san_uri"
SAN_IP: Final = "san_ip"
SAN_EMAIL: Final = "san_email"
X5T_S256: Final = names.X5T_S256
SPKI_SHA256: Final = "spki_sha256"
JWK: Final = "jwk"
PEM: Final = "pem"

NAME_RULES: Final = (SUBJECT_DN, SAN_DNS, SAN_URI, SAN_IP, SAN_EMAIL)
"""What ``tls_client_auth`` goes by; the members of RFC 8705 §2.1.2 without their ``tls_client_auth_``."""

PINS: Final = (X5T_S256, SPKI_SHA256)
"""What ``self_signed_tls_client_auth`` goes by."""

_SHA256_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]{1,2000}")
_MAILBOX: Final = re.compile(r"[!#-'*+\--9=?A-Z^-~]{1,64}@[A-Za-z0-9.-]{1,253}")


class InvalidRule(WatchwordError):
    """A rule that cannot be registered. ``detail`` is for the operator.

    Reasons: rule.several (not exactly one), rule.value, rule.certificate.
    """


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """One rule: ``kind`` is of ``NAME_RULES`` or ``PINS``, ``value`` in the spelling in which it is kept."""

    kind: str
    value: str

    @property
    def is_pin(self) -> bool:
        """Whether it names the certificate or the key itself, so that no authority has to be asked."""
        return self.kind in PINS

    def to_details(self) -> dict[str, object]:
        """Return the JSON object in which it is stored."""
        return {self.kind: self.value}

    @classmethod
    def from_details(cls, details: Mapping[str, object]) -> CertificateRule:
        """Return the rule that was stored."""
        ((kind, value),) = details.items()
        return cls(kind, str(value))

    def holds_for(self, certificate: ClientCertificate) -> bool:
        """Tell whether this certificate is the agent's. Whether it is valid is another question."""
        if self.kind == X5T_S256:
            return certificate.thumbprint == self.value
        if self.kind == SPKI_SHA256:
            return spki_sha256(certificate.spki) == self.value
        if self.kind == SUBJECT_DN:
            return certificate.subject is not None and certificate.subject == parse_name(self.value)
        return self.value in _NAMES_OF[self.kind](certificate.names or ())


def spki_sha256(spki: bytes) -> str:
    """Return the name of a public key: base64url of the SHA-256 of its DER."""
    return b64url_encode(hashlib.sha256(spki).digest()).decode()


def parse_rule(details: Mapping[str, object]) -> CertificateRule:
    """Return the rule that an operator writes: exactly one member, of ``NAME_RULES``, ``PINS``, ``jwk`` or ``pem``.

    A certificate (``pem``) is pinned by its thumbprint, a ``jwk`` by its key; its first ``x5c``, if any, by its thumbprint.

    Raises:
        InvalidRule
    """
    if len(details) != 1:
        detail = f"give exactly one of {', '.join((*NAME_RULES, *PINS, JWK, PEM))}"
        raise InvalidRule("rule.several", detail=detail)
    ((kind, value),) = details.items()
    if kind == JWK:
        return _pin_jwk(value)
    if kind not in _CHECKS:
        raise InvalidRule("rule.several", detail=f"{kind[:40]} is no rule: give one of {', '.join((*_CHECKS, JWK))}")
    if not isinstance(value, str):
        raise InvalidRule("rule.value", detail=f"{kind} is a text")
    return _CHECKS[kind](value.strip())


def _dns(value: str) -> CertificateRule:
    value = value.lower()
    if not _DNS_NAME.fullmatch(value):
        raise InvalidRule("rule.value", detail="san_dns is a host name without wildcard and without a dot at the end")
    return CertificateRule(SAN_DNS, value)


def _uri(value: str) -> CertificateRule:
    if not _URI.fullmatch(value):
        raise InvalidRule("rule.value", detail="san_uri is an absolute URI, compared character by character")
    return CertificateRule(SAN_URI, value)


def _ip(value: str) -> CertificateRule:
    try:
        return CertificateRule(SAN_IP, str(ipaddress.ip_address(value)))
    except ValueError:
        raise InvalidRule("rule.value", detail="san_ip is one IPv4 or IPv6 address") from None


def _email(value: str) -> CertificateRule:
    if not _MAILBOX.fullmatch(value):
        raise InvalidRule("rule.value", detail="san_email is one address, as in agent@example.com")
    return CertificateRule(SAN_EMAIL, _lower_domain(value))


def _subject(value: str) -> CertificateRule:
    try:
        parse_name(value)
    except InvalidName as error:
        detail = f"subject_dn is a name as in CN=reader,O=Example ({error.reason}; {error.detail})".replace("; )", ")")
        raise InvalidRule("rule.value", detail=detail) from None
    return CertificateRule(SUBJECT_DN, value)


def _thumbprint(kind: str) -> Callable[[str], CertificateRule]:
    def check(value: str) -> CertificateRule:
        if not _SHA256_TEXT.fullmatch(value):
            raise InvalidRule("rule.value", detail=f"{kind} is a SHA-256 in base64url without padding: 43 characters")
        return CertificateRule(kind, value)

    return check


def _pem(value: str) -> CertificateRule:
    """Pin the one certificate of a file; what else is in it would not be looked at."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(value.encode())
        return CertificateRule(X5T_S256, parse_certificate(certificate.public_bytes(Encoding.DER)).thumbprint)
    except ValueError:
        raise InvalidRule("rule.certificate", detail="pem is one certificate, PEM") from None
    except InvalidCertificate as error:
        raise InvalidRule("rule.certificate", detail=f"the certificate cannot be used: {error.reason}") from None


def _pin_jwk(value: object) -> CertificateRule:
    if not isinstance(value, Mapping):
        raise InvalidRule("rule.value", detail="jwk is a JSON object")
    chain = value.get("x5c")
    if isinstance(chain, list) and chain and isinstance(chain[0], str):
        return _pem(f"-----BEGIN CERTIFICATE-----\n{chain[0]}\n-----END CERTIFICATE-----\n")
    try:
        key = import_public_jwk(
            value, algorithm="RS256" if value.get("kty") == "RSA" and "alg" not in value else None
        ).key
    except InvalidKey as error:
        raise InvalidRule("rule.value", detail=f"the jwk cannot be used: {error.reason}") from None
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
        raise InvalidRule("rule.value", detail="the jwk cannot be used: key.type")
    return CertificateRule(SPKI_SHA256, spki_sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))


_CHECKS: Final[Mapping[str, Callable[[str], CertificateRule]]] = MappingProxyType(
    {
        SUBJECT_DN: _subject,
        SAN_DNS: _dns,
        SAN_URI: _uri,
        SAN_IP: _ip,
        SAN_EMAIL: _email,
        X5T_S256: _thumbprint(X5T_S256),
        SPKI_SHA256: _thumbprint(SPKI_SHA256),
        PEM: _pem,
    }
)


def _lower_domain(mailbox: str) -> str:
    """RFC 5280 §7.5: of an address, only the host is without case."""
    local, _, domain = mailbox.rpartition("@")
    return f"{local}@{domain.lower()}"


_NAMES_OF: Final[Mapping[str, Callable[[Iterable[x509.GeneralName]], set[str]]]] = MappingProxyType(
    {
        SAN_DNS: lambda names: {one.value.lower() for one in names if isinstance(one, x509.DNSName)},
        SAN_URI: lambda names: {one.value for one in names if isinstance(one, x509.UniformResourceIdentifier)},
        SAN_IP: lambda names: {str(one.value) for one in names if isinstance(one, x509.IPAddress)},
        SAN_EMAIL: lambda names: {_lower_domain(one.value) for one in names if isinstance(one, x509.RFC822Name)},
    }
)
"""What a certificate says of each kind, in the spelling of the rules. A wildcard equals no rule."""

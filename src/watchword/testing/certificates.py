"""Authorities and certificates of clients, right and wrong ones, made for tests."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""

CLIENT: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
LIFE: Final = timedelta(days=30)
SIGNS: Final = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
ENCIPHERS: Final = x509.KeyUsage(False, False, True, False, False, False, False, False, False)


def new_key() -> Key:
    """Return a key of the usual kind."""
    return ec.generate_private_key(ec.SECP256R1())


def name(*parts: tuple[x509.ObjectIdentifier, str] | str) -> x509.Name:
    """Return a name; a bare text is a common name."""
    pairs = [(NameOID.COMMON_NAME, part) if isinstance(part, str) else part for part in parts]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate, its key, and the intermediates that belong to it."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate as it goes over the wire."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The intermediates."""
        return tuple(one.public_bytes(Encoding.DER) for one in self.chain)

    @property
    def pem(self) -> bytes:
        """Certificate and intermediates."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The key, in the clear."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write both below a folder; return where: certificate, key."""
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return certificate, key

    def load_into(self, context: ssl.SSLContext, folder: Path, stem: str = "client") -> ssl.SSLContext:
        """Have a client show it."""
        context.load_cert_chain(*self.write(folder, stem))
        return context


def make(
    subject: x509.Name,
    issuer: x509.Name,
    signer: Key,
    *,
    key: Key,
    now: datetime,
    extensions: Iterable[Extension] = (),
    life: timedelta = LIFE,
    age: timedelta = timedelta(days=1),
) -> x509.Certificate:
    """Return a certificate of exactly these parts, ``age`` old and valid for ``life`` from now on."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - age)
        .not_valid_after(now + life)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


class Authority:
    """Gives certificates to clients, takes them back, and makes authorities below it."""

    def __init__(
        self,
        common_name: str = "Test Root",
        *,
        now: datetime | None = None,
        above: Authority | None = None,
        length: int | None = None,
        constraints: Iterable[Extension] = (),
        life: timedelta = LIFE,
    ) -> None:
        """Make one: by itself, or ``above`` it another."""
        self.now: datetime = (above.now if above else now) or datetime.now(UTC).replace(microsecond=0)
        self.key = new_key()
        self.name = name(common_name)
        self._revoked: list[x509.RevokedCertificate] = []
        signer, issuer = (above.key, above.name) if above else (self.key, self.name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        extensions: list[Extension] = [
            (x509.BasicConstraints(True, length), True),
            (usage, True),
            (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
            *constraints,
        ]
        self.certificate = make(self.name, issuer, signer, key=self.key, now=self.now, extensions=extensions, life=life)
        self.chain: tuple[x509.Certificate, ...] = (self.certificate, *above.chain) if above else ()

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        subject: x509.Name | str = "client",
        *,
        names: Sequence[x509.GeneralName] = (),
        key: Key | None = None,
        usage: x509.ExtendedKeyUsage | None = CLIENT,
        extensions: Iterable[Extension] = (),
        life: timedelta = LIFE,
        age: timedelta = timedelta(days=1),
    ) -> Held:
        """Return a certificate for a client, and its key."""
        key = key or new_key()
        every: list[Extension] = [(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)]
        every += [(usage, False)] if usage else []
        every += [(x509.SubjectAlternativeName(names), False)] if names else []
        whose = name(subject) if isinstance(subject, str) else subject
        made = make(
            whose, self.name, self.key, key=key, now=self.now, extensions=[*every, *extensions], life=life, age=age
        )
        return Held(made, key, self.chain)

    def revoke(self, held: Held | Authority) -> None:
        """Have the next list name it."""
        builder = x509.RevokedCertificateBuilder().serial_number(held.certificate.serial_number)
        self._revoked.append(builder.revocation_date(self.now).build())

    def list_revoked(
        self, *, life: timedelta = LIFE, signer: Key | None = None, extensions: Iterable[Extension] = ()
    ) -> bytes:
        """Return its list, PEM, valid for ``life`` from now on; signed by itself unless by another's key."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(self.now - timedelta(days=2)).next_update(self.now + life)
        for one in self._revoked:
            builder = builder.add_revoked_certificate(one)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(signer or self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def self_signed(
    subject: x509.Name | str = "client",
    *,
    now: datetime | None = None,
    key: Key | None = None,
    life: timedelta = LIFE,
    age: timedelta = timedelta(days=1),
    extensions: Iterable[Extension] = (),
) -> Held:
    """Return a certificate that only its key vouches for, as ``openssl req -x509`` makes it: it says it is an authority."""
    key = key or new_key()
    whose = name(subject) if isinstance(subject, str) else subject
    parts = [(x509.BasicConstraints(True, None), True), *extensions]
    now = now or datetime.now(UTC).replace(microsecond=0)
    return Held(make(whose, whose, key, key=key, now=now, extensions=parts, life=life, age=age), key)

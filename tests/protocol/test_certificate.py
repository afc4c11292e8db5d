from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests import rule
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.certificate import InvalidCertificate, parse_certificate
from watchword.protocol.confirmation import x5t_s256
from watchword.testing.certificates import ENCIPHERS, LIFE, SERVER, SIGNS, make, name, new_key, self_signed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

RFC8705_APPENDIX_A = (
    "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRs"
    "czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ_Au08_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0t"
    "H6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E-vwJD_D1AGHGzuri-hlV_PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQ"
    "j1L-SY"
)


@rule("R8705-3-01", "TRAP-17")
def test_the_thumbprint_is_that_of_the_rfc() -> None:
    assert x5t_s256(b64url_decode(RFC8705_APPENDIX_A.encode())) == "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"


def test_a_certificate_is_taken_in_whole() -> None:
    held = self_signed("reader", now=NOW)
    taken = parse_certificate(held.der)
    assert (taken.der, taken.thumbprint, taken.not_before, taken.not_after) == (
        held.der,
        x5t_s256(held.der),
        NOW - timedelta(days=1),
        NOW + LIFE,
    )


@rule("M1", "KF-66")
@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW - timedelta(days=1, seconds=1), "certificate.not_yet"),
        (NOW + LIFE + timedelta(seconds=1), "certificate.expired"),
        (NOW - timedelta(days=1), None),
        (NOW + LIFE, None),
    ],
)
def test_a_certificate_has_its_time(now: datetime, reason: str | None) -> None:
    taken = parse_certificate(self_signed(now=NOW).der)
    if reason is None:
        taken.check_time(now)
        return
    with pytest.raises(InvalidCertificate) as caught:
        taken.check_time(now)
    assert caught.value.reason == reason


def signed(key: object, extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()) -> bytes:
    """Return a certificate of any key, signed by another."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("a"))
        .issuer_name(name("b"))
        .public_key(key)  # type: ignore[arg-type]  # every kind there is
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + LIFE)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)  # type: ignore[arg-type]  # an EC key


@rule("E5", "KF-119")
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 1024).public_key(), "certificate.key_size"),
        (rsa.RSAPublicNumbers(65537, (1 << 16383) + 1).public_key(), "certificate.key_size"),
        (rsa.generate_private_key(3, 2048).public_key(), "certificate.key_weak"),
        (rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key(), "certificate.key_weak"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "certificate.key_kind"),
        (ec.generate_private_key(ec.SECP224R1()).public_key(), "certificate.key_kind"),
        (ed448.Ed448PrivateKey.generate().public_key(), "certificate.key_kind"),
        (dsa.generate_private_key(2048).public_key(), "certificate.key_kind"),
        (ed25519.Ed25519PublicKey.from_public_bytes(b"\1" + bytes(31)), "certificate.key_weak"),
    ],
)
def test_a_key_that_proves_little_is_refused(key: object, reason: str) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        parse_certificate(signed(key))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_the_usual_keys_are_taken(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    der = signed(key.public_key())
    assert parse_certificate(der).thumbprint == x5t_s256(der)


@rule("M3", "KF-68")
@pytest.mark.parametrize("extension", [SERVER, ENCIPHERS])
def test_a_certificate_for_something_else_is_refused(extension: x509.ExtensionType) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        parse_certificate(self_signed(now=NOW, extensions=[(extension, True)]).der)
    assert caught.value.reason == "certificate.usage"
    parse_certificate(self_signed(now=NOW, extensions=[(SIGNS, True)]).der)


GOOD = self_signed(now=NOW).der


@rule("KF-119", "E5")
@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (b"", "certificate.size"),
        (bytes(65_536), "certificate.size"),
        (GOOD + b"\0", "certificate.malformed"),
        (GOOD[:-1], "certificate.malformed"),
        (b"0" * 100, "certificate.malformed"),
        (b"-----BEGIN CERTIFICATE-----\n", "certificate.malformed"),
        (b64url_decode(RFC8705_APPENDIX_A.encode()), "certificate.malformed"),  # of version 1
        (
            signed(
                new_key().public_key(),
                ((x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\5\0"), True),),
            ),
            "certificate.malformed",
        ),
    ],
    ids=("empty", "long", "more", "less", "zeros", "pem", "version_1", "extension"),
)
def test_what_is_no_certificate_is_refused(der: bytes, reason: str) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        parse_certificate(der)
    assert caught.value.reason == reason


@rule("KF-119")
def test_every_cut_and_every_other_byte_ends_in_a_certificate_or_a_refusal() -> None:
    for at in range(len(GOOD)):
        for bad in (GOOD[:at], GOOD[:at] + bytes([GOOD[at] ^ 0x55]) + GOOD[at + 1 :]):
            with suppress(InvalidCertificate):
                parse_certificate(bad)
    assert parse_certificate(GOOD).der == GOOD


def test_a_subject_that_hides_something_is_no_subject() -> None:
    key = new_key()
    der = make(name("a\0b"), name("a\0b"), key, key=key, now=NOW).public_bytes(Encoding.DER)
    assert parse_certificate(der).subject is None

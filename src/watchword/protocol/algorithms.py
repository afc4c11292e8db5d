"""The signature algorithms we speak, one row each. RFC 7518 §3.1, RFC 9864 §2.2, RFC 8037 §3.1.

Signatures come in and go out in the form of JWS; their length and range are judged before any cryptography.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from watchword.protocol import names

Sign = Callable[[bytes], bytes]
"""Gives the JWS signature of a message."""
Verify = Callable[[bytes, bytes], None]
"""Takes a JWS signature and a message; returns if the signature is right, else raises ``WrongSignature``."""

LEGACY_EDDSA: Final = "EdDSA"
"""The polymorphic name that RFC 9864 deprecates. Taken for ``Ed25519``, and only where the caller's list names it."""


class WrongSignature(Exception):
    """The signature is not one of this message by this key, or is spelt in a way that none is."""


@dataclass(frozen=True, slots=True)
class Algorithm(ABC):
    """One way to sign: its name, and the ``kty`` and ``crv`` (empty for RSA) of the only keys that may use it.

    A key is bound once, by its type and curve, and from then on is nothing but a function: there is no operation that
    takes an algorithm's name and a key and hopes that they fit.
    """

    name: str
    kty: str
    crv: str

    @abstractmethod
    def generate(self) -> object:
        """Return a new private key object."""

    @abstractmethod
    def bind_private(self, key: object) -> Sign:
        """Return the function that signs with ``key``.

        Raises:
            TypeError: not a private key of the kind this algorithm is for.
        """

    @abstractmethod
    def bind_public(self, key: object) -> Verify:
        """Return the function that verifies with ``key``.

        Raises:
            TypeError: not a public key of the kind this algorithm is for.
        """


@dataclass(frozen=True, slots=True)
class Ecdsa(Algorithm):
    """RFC 7518 §3.4: r and s, each of the octets of the curve's order, big-endian.

    We sign deterministically (RFC 6979): one bad random number would give the key away. It costs 8 % of the rate.
    """

    curve: type[ec.EllipticCurve]
    order: int
    digest: hashes.HashAlgorithm

    def generate(self) -> ec.EllipticCurvePrivateKey:
        """Return a new key on the curve."""
        return ec.generate_private_key(self.curve())

    def bind_private(self, key: object) -> Sign:
        """Return the function that gives r||s."""
        if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, self.curve)):
            raise TypeError(self.name)
        size = self._size()
        scheme = ec.ECDSA(self.digest, deterministic_signing=True)

        def sign(message: bytes) -> bytes:
            return _der_to_raw(key.sign(message, scheme), size)

        return sign

    def bind_public(self, key: object) -> Verify:
        """Return the function that refuses DER, other lengths, r or s outside 1..n-1 before it touches the curve."""
        if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, self.curve)):
            raise TypeError(self.name)
        size, scheme = self._size(), ec.ECDSA(self.digest)
        zero, order = bytes(size), self.order.to_bytes(size, "big")

        def verify(signature: bytes, message: bytes) -> None:
            r, s = signature[:size], signature[size:]
            if not (len(signature) == 2 * size and zero < r < order and zero < s < order):  # big-endian, of one length
                raise WrongSignature
            try:
                key.verify(_raw_to_der(r, s), message, scheme)
            except InvalidSignature:
                raise WrongSignature from None

        return verify

    def _size(self) -> int:
        return (self.order.bit_length() + 7) // 8


@dataclass(frozen=True, slots=True)
class Rsa(Algorithm):
    """RFC 7518 §3.3 and §3.5: as many octets as the modulus."""

    padding: padding.AsymmetricPadding

    def generate(self) -> rsa.RSAPrivateKey:
        """Return a new key of 2048 bits."""
        return rsa.generate_private_key(65537, 2048)

    def bind_private(self, key: object) -> Sign:
        """Return the function that signs."""
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(self.name)
        return lambda message: key.sign(message, self.padding, _SHA256)

    def bind_public(self, key: object) -> Verify:
        """Return the function that refuses other lengths before the exponentiation."""
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError(self.name)
        size = (key.key_size + 7) // 8

        def verify(signature: bytes, message: bytes) -> None:
            if len(signature) != size:
                raise WrongSignature
            try:
                key.verify(signature, message, self.padding, _SHA256)
            except InvalidSignature:
                raise WrongSignature from None

        return verify


@dataclass(frozen=True, slots=True)
class Ed25519(Algorithm):
    """RFC 8037 §3.1, RFC 8032 §5.1: R and S, 64 octets."""

    def generate(self) -> ed25519.Ed25519PrivateKey:
        """Return a new key."""
        return ed25519.Ed25519PrivateKey.generate()

    def bind_private(self, key: object) -> Sign:
        """Return the function that gives R||S."""
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise TypeError(self.name)
        return key.sign

    def bind_public(self, key: object) -> Verify:
        """Return the function that refuses other lengths, and S not below the group's order (RFC 8032 §5.1.7)."""
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise TypeError(self.name)

        def verify(signature: bytes, message: bytes) -> None:
            if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ED25519_ORDER:
                raise WrongSignature
            try:
                key.verify(signature, message)
            except InvalidSignature:
                raise WrongSignature from None

        return verify


def _der_to_raw(der: bytes, size: int) -> bytes:
    """Return r||s of a signature that our own library has just made: two integers, each of one length octet (X.690 §8.3).

    Through ``decode_dss_signature`` it takes four times as long, 3 % of the signing rate.
    """
    second = 4 + der[3]
    return der[4:second][-size:].rjust(size, b"\0") + der[second + 2 :][-size:].rjust(size, b"\0")


def _raw_to_der(r: bytes, s: bytes) -> bytes:
    """Return the two integers, neither of them 0 nor over 48 octets, in DER: as short as can be, and positive (X.690 §8.3).

    Through ``encode_dss_signature`` it takes twice as long, 1 % of the verification rate.
    """
    r, s = r.lstrip(b"\0"), s.lstrip(b"\0")
    if r[0] & 0x80:
        r = b"\0" + r
    if s[0] & 0x80:
        s = b"\0" + s
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


_SHA256: Final = hashes.SHA256()
_PSS: Final = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=32)  # RFC 7518 §3.5: the salt is as long as the hash

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P384_ORDER: Final = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
)
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Ecdsa(names.ES256, "EC", "P-256", ec.SECP256R1, P256_ORDER, _SHA256),
            Ecdsa(names.ES384, "EC", "P-384", ec.SECP384R1, P384_ORDER, hashes.SHA384()),
            Ed25519(names.ED25519, "OKP", "Ed25519"),
            Rsa(names.PS256, "RSA", "", _PSS),
            Rsa(names.RS256, "RSA", "", padding.PKCS1v15()),
        )
    }
)
"""Every algorithm that we sign with and verify. No symmetric one is among them, and none can be added by a setting."""

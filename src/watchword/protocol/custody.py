"""Keys that others keep for us: what they say of a key, and what they sign, brought into the forms of JOSE. RFC 7518 §3, §6.

Whoever keeps the key has the private half; here is only what everybody may know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from watchword.protocol import names
from watchword.protocol.algorithms import ALGORITHMS, WrongSignature
from watchword.protocol.public_keys import InvalidKey, import_public_jwk, jwk_of, jwk_of_pem

DIGESTS: Final[Mapping[str, str]] = MappingProxyType(
    {names.ES256: "sha256", names.ES384: "sha384", names.PS256: "sha256", names.RS256: "sha256"}
)
"""The hash that each algorithm signs, as ``hashlib`` calls it. Ed25519 signs the message itself. RFC 7518 §3.1."""

_COORDINATES: Final = {"P-256": 32, "P-384": 48}


def digest(algorithm: str, message: bytes) -> bytes:
    """Return what of the message is signed with this algorithm, where a keeper takes hashes only.

    Raises:
        InvalidKey: key.algorithm: it signs no hash.
    """
    if algorithm not in DIGESTS:
        raise InvalidKey("key.algorithm")
    return hashlib.new(DIGESTS[algorithm], message).digest()


def own_jwk(jwk: Mapping[str, object], algorithm: str) -> dict[str, str]:
    """Return the JWK of a key that somebody keeps for us, as it stands in the key set: ``kid`` is its thumbprint.

    Members beside those of the key are left behind, a ``kid`` of the keeper's among them.

    Raises:
        InvalidKey: it is not a key for this algorithm, or not one that we would accept from others.
    """
    members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if jwk.get(name) is not None}
    return dict(import_public_jwk(members, algorithm=algorithm).jwk)


def own_jwk_of_pem(text: str, algorithm: str) -> dict[str, str]:
    """Return the JWK of a public key in PEM; see ``own_jwk``."""
    return own_jwk(jwk_of_pem(text), algorithm)


def own_jwk_of_der(der: bytes, algorithm: str) -> dict[str, str]:
    """Return the JWK of a SubjectPublicKeyInfo in DER (RFC 5280 §4.1); see ``own_jwk``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("key.encoding") from None
    return own_jwk(jwk_of(key), algorithm)


def raw_signature(der: bytes, algorithm: str) -> bytes:
    """Return r||s of an ECDSA signature in DER (RFC 3279 §2.2.3), each as long as the order of the curve. RFC 7518 §3.4.

    Raises:
        WrongSignature: it is no such signature, or its numbers are too long for the curve.
    """
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    size = _COORDINATES[ALGORITHMS[algorithm].crv]
    try:
        r, s = decode_dss_signature(der)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError):
        raise WrongSignature from None

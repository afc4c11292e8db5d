"""The public half of a key in a PKCS #11 token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pkcs11
from pkcs11 import Attribute, KeyType

from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.protocol import names
from watchword.protocol.jose import InvalidKey, b64url_encode, import_public_jwk

CURVES: Final = {
    names.ES256: bytes.fromhex("06082a8648ce3d030107"),
    names.ES384: bytes.fromhex("06052b81040022"),
    names.ED25519: bytes.fromhex("06032b6570"),
}
"""What the curves are called in DER."""


def find_algorithm(public: pkcs11.Key, wanted: str = "") -> str:
    """Return what such a key signs with; an RSA key PS256, unless RS256 is wanted.

    Raises:
        NoSigningKey: keys.algorithm
    """
    if public.key_type is KeyType.RSA:
        found = wanted if wanted == names.RS256 else names.PS256
    elif public.key_type is KeyType.EC_EDWARDS:
        found = names.ED25519
    elif public.key_type is KeyType.EC:
        curve = public[Attribute.EC_PARAMS]
        found = next((name for name, known in CURVES.items() if known == curve), "")
    else:
        found = ""
    if not found or wanted not in ("", found):
        raise NoSigningKey(
            "keys.algorithm", detail=f"the key in the token is none for {wanted or 'any algorithm here'}"
        )
    return found


def public_jwk(public: pkcs11.Key, algorithm: str) -> Mapping[str, str]:
    """Return the public half, judged as strictly as a stranger's."""
    try:
        return import_public_jwk(_members(public, algorithm), algorithm=algorithm).jwk
    except InvalidKey as error:
        raise CustodyUnavailable("custody.failed", detail=f"the token shows no usable public key: {error}") from error


def _members(public: pkcs11.Key, algorithm: str) -> Mapping[str, object]:
    if algorithm in (names.PS256, names.RS256):
        modulus, exponent = public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]
        return {"kty": "RSA", "n": _text(modulus.lstrip(b"\0")), "e": _text(exponent.lstrip(b"\0"))}
    point = public[Attribute.EC_POINT]
    size = {names.ES256: 65, names.ES384: 97}.get(algorithm, 32)
    raw = point[-size:]  # in a DER OCTET STRING, or, of some tokens, bare
    if algorithm == names.ED25519:
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
    half = size // 2
    crv = "P-256" if algorithm == names.ES256 else "P-384"
    return {"kty": "EC", "crv": crv, "x": _text(raw[1 : 1 + half]), "y": _text(raw[1 + half :])}


def _text(number: bytes) -> str:
    return b64url_encode(number).decode("ascii")

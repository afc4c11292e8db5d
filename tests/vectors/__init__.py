"""Published vectors, each file with its source, and fixed keys made of them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc import jwk as joserfc_jwk

from watchword.protocol.private_keys import PrivateKey


def load(name: str) -> dict[str, Any]:
    """Return one file of vectors."""
    vectors: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    return vectors


def private_key(jwk: dict[str, str], algorithm: str) -> PrivateKey:
    """Return the key of a published private JWK."""
    key = joserfc_jwk.import_key({**jwk}).private_key
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PrivateKey.from_pkcs8(der, algorithm)


@cache
def key_for(algorithm: str) -> PrivateKey:
    """Return a fixed key for an algorithm: the same in every run."""
    rs256, es256 = load("rfc7515")["vectors"]
    if algorithm in ("RS256", "PS256"):
        return private_key({**rs256["jwk"], "d": rs256["d"]}, algorithm)
    if algorithm == "ES256":
        return private_key({**es256["jwk"], "d": es256["d"]}, algorithm)
    if algorithm == "Ed25519":
        rfc8037 = load("rfc8037")
        return private_key({**rfc8037["jwk"], "d": rfc8037["d"]}, algorithm)
    return ecdsa_key(int(load("rfc6979")["vectors"][2]["x"], 16), algorithm)


def ecdsa_key(scalar: int, algorithm: str) -> PrivateKey:
    """Return the key of a published private scalar."""
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}[algorithm]
    der = ec.derive_private_key(scalar, curve).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return PrivateKey.from_pkcs8(der, algorithm)

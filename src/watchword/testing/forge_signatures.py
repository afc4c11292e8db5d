"""Octets that are no signature, and public keys as the secrets that libraries have taken them for."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from watchword.protocol.algorithms import ED25519_ORDER, P256_ORDER, P384_ORDER
from watchword.protocol.private_keys import PrivateKey, generate_private_key


def wrong_signatures_of(key: PrivateKey, message: bytes) -> dict[str, bytes]:
    """Return, by name, what is not ``key``'s signature of ``message``: wrong in length, range, form, key or message."""
    right = key.sign(message)
    half = len(right) // 2
    return {
        "all zero": bytes(len(right)),
        "all ones": b"\xff" * len(right),
        "one octet less": right[:-1],
        "one octet more": right + b"\0",
        "two octets more": right + b"\0\0",
        "a zero before": b"\0" + right,
        "half": right[:half],
        "twice": right + right,
        "halves exchanged": right[half:] + right[:half],
        "another message's": key.sign(message + b"."),
        "another key's": generate_private_key(key.algorithm).sign(message),
        **_out_of_range(key.algorithm, right),
    }


def public_key_spellings(key: PrivateKey) -> dict[str, bytes]:
    """Return the public half, by the name of its spelling."""
    public = key.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    spellings = {
        "PEM": pem,
        "PEM without its last line feed": pem.rstrip(b"\n"),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM behind spaces": b"  " + pem,
        "PEM behind a byte order mark": b"\xef\xbb\xbf" + pem,
        "DER": der,
        "x5c text": base64.b64encode(der),
        "JWK": json.dumps(dict(key.public_jwk)).encode(),
        "JWK member": key.public_jwk["n" if isinstance(public, rsa.RSAPublicKey) else "x"].encode(),
        "OpenSSH": public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        "nothing": b"",
    }
    if isinstance(public, rsa.RSAPublicKey):
        spellings["PKCS #1 PEM"] = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
    return spellings


def _out_of_range(algorithm: str, right: bytes) -> dict[str, bytes]:
    """ECDSA with r or s at and beyond its bounds, and in DER; Ed25519 with S beyond the group's order."""
    if algorithm == "Ed25519":
        s = int.from_bytes(right[32:], "little") + ED25519_ORDER
        return {"S + L": right[:32] + s.to_bytes(32, "little"), "S = 0": right[:32] + bytes(32)}
    order = {"ES256": P256_ORDER, "ES384": P384_ORDER}.get(algorithm)
    if order is None:
        return {}
    size = len(right) // 2
    first, second = right[:size], right[size:]
    edges = {"0": 0, "n": order, "n+1": order + 1, "2**k-1": 2 ** (8 * size) - 1}
    values = {name: number.to_bytes(size, "big") for name, number in edges.items()}
    der = encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))
    return {
        "DER": der,
        "DER cut": der[: len(right)],
        **{f"r = {name}": value + second for name, value in values.items()},
        **{f"s = {name}": first + value for name, value in values.items()},
        **{f"r = s = {name}": value + value for name, value in values.items()},
    }

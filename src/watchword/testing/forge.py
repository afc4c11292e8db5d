"""Makers of tokens that must be refused: for every door through which a token can come in.

Each takes the key, header and claims of a token that would be accepted, so that what is wrong is wrong alone.
``Forgery.reason`` is what ``watchword.protocol.jose`` says of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from watchword.protocol.base64url import b64url_encode
from watchword.protocol.private_keys import PrivateKey, generate_private_key
from watchword.testing.forge_json import BAD_DATES, not_objects, to_json, with_raw_member, with_repeated_members
from watchword.testing.forge_signatures import public_key_spellings, wrong_signatures_of

__all__ = [
    "BAD_DATES",
    "Forgery",
    "all_forgeries",
    "flip_bits",
    "sign",
    "sign_raw",
    "signed_with_public_key",
    "unsecured",
    "with_raw_member",
    "wrong_headers",
    "wrong_payloads",
    "wrong_serialisations",
    "wrong_signatures",
    "wrong_types",
]


@dataclass(frozen=True, slots=True)
class Forgery:
    """A bad token, what is bad about it, and the reason of the refusal."""

    name: str
    token: str = field(repr=False)
    reason: str

    def __str__(self) -> str:
        return self.name


Members = Mapping[str, object]

NONE_SPELLINGS: Final = (
    "none",
    "None",
    "NONE",
    "nOnE",
    "nonE",
    " none",
    "none ",
    "none\u0000",
    "n\u00f6ne",
    "",
    "null",
    "NoNe",
)


def sign_raw(key: PrivateKey, header: bytes, payload: bytes) -> str:
    """Return a token of any bytes at all, properly signed."""
    message = b64url_encode(header) + b"." + b64url_encode(payload)
    return (message + b"." + b64url_encode(key.sign(message))).decode("ascii")


def sign(key: PrivateKey, header: Members, claims: Members) -> str:
    """Return a token of any header and claims, properly signed."""
    return sign_raw(key, to_json(header), to_json(claims))


def flip_bits(token: str) -> Iterator[str]:
    """Give every text that differs from ``token`` in one bit of one character."""
    octets = token.encode("latin-1")
    for index in range(len(octets)):
        for bit in range(8):
            flipped = bytes([octets[index] ^ (1 << bit)])
            yield (octets[:index] + flipped + octets[index + 1 :]).decode("latin-1")


def unsecured(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """Tokens without an algorithm: no signature, an empty one, or the right one under the wrong name. ABUSE KF-1."""
    for spelling in NONE_SPELLINGS:
        signed = sign(key, {**header, "alg": spelling}, claims)
        message = signed.rpartition(".")[0]
        yield Forgery(f"alg {spelling!r}, signed", signed, "jws.algorithm")
        yield Forgery(f"alg {spelling!r}, empty signature", f"{message}.", "jws.form")
        yield Forgery(f"alg {spelling!r}, a signature of one octet", f"{message}.AA", "jws.algorithm")
    for value in _NO_TEXTS:
        yield Forgery(f"alg {value!r}", sign(key, {**header, "alg": value}, claims), "jws.algorithm")
    without = {name: value for name, value in header.items() if name != "alg"}
    yield Forgery("no alg", sign(key, without, claims), "jws.algorithm")
    message = sign(key, header, claims).rpartition(".")[0]
    yield Forgery("empty signature", f"{message}.", "jws.form")
    yield Forgery("no signature", message, "jws.form")


def signed_with_public_key(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """HMACs whose secret is the public key, in the spellings that libraries have taken for one. ABUSE KF-2, KF-8, KF-12."""
    for spelling, secret in public_key_spellings(key).items():
        for algorithm, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
            message = _message({**header, "alg": algorithm}, claims)
            mac = hmac.new(secret, message, digest).digest()
            yield Forgery(f"{algorithm} with {spelling}", _token(message, mac), "jws.algorithm")
        message = _message(header, claims)
        mac = hmac.new(secret, message, hashlib.sha256).digest()
        yield Forgery(f"{header['alg']}, in truth HS256 with {spelling}", _token(message, mac), "jws.signature")


def wrong_signatures(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """Signatures of the wrong length, range, form, key or message. ABUSE KF-23 to KF-25."""
    message = _message(header, claims)
    for name, signature in wrong_signatures_of(key, message).items():
        yield Forgery(f"signature: {name}", _token(message, signature), "jws.signature")


def wrong_serialisations(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """A good token in spellings that are not the compact one. RFC 7515 §7.1; ABUSE KF-4, KF-15, KF-17, KF-26, KF-32."""
    token = sign(key, header, claims)
    head, payload, signature = token.split(".")
    for name, text in _other_forms(head, payload, signature).items():
        yield Forgery(name, text, "jws.form")
    yield Forgery("a million dots", "." * 1_000_000, "jws.size")
    yield Forgery("a header of a million characters", f"{'e' * 1_000_000}.{payload}.{signature}", "jws.size")
    for name, junk in _JUNK.items():
        yield Forgery(f"{name} behind the header", f"{head}{junk}.{payload}.{signature}", "jws.base64")
        yield Forgery(f"{name} behind the payload", f"{head}.{payload}{junk}.{signature}", "jws.base64")
        yield Forgery(f"{name} behind the signature", f"{token}{junk}", "jws.base64")
        middle = f"{signature[:9]}{junk}{signature[9:]}"
        yield Forgery(f"{name} within the signature", f"{head}.{payload}.{middle}", "jws.base64")
    if len(signature) % 4:
        yield Forgery("trailing bits", f"{head}.{payload}.{_with_trailing_bit(signature)}", "jws.base64")


def wrong_headers(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """Properly signed tokens whose header must not be understood, or brings a key. RFC 7515 §4, RFC 7797, RFC 8725 §3."""
    own = dict(generate_private_key(key.algorithm).public_jwk)
    yield Forgery("header with its own key", sign(key, {**header, "jwk": own}, claims), "jws.key_in_header")
    for reason, extra in _WRONG_MEMBERS:
        yield Forgery(f"header with {extra}"[:120], sign(key, {**header, **extra}, claims), reason)
    good, payload = to_json(header), to_json(claims)
    for name, raw in not_objects(good).items():
        yield Forgery(f"header: {name}", sign_raw(key, raw, payload), "jws.header")
    for name, raw in with_repeated_members(header).items():
        yield Forgery(f"header: {name}", sign_raw(key, raw, payload), "jws.duplicate")


def wrong_types(key: PrivateKey, header: Members, claims: Members, *, allowed: frozenset[str]) -> Iterator[Forgery]:
    """Properly signed tokens of every other kind: whatever is not in ``allowed`` (lower case). RFC 8725 §3.11, §3.12."""
    for typ in _TYPES:
        for spelling in dict.fromkeys((typ, typ.upper(), f"application/{typ}", f"application/application/{typ}")):
            if spelling.lower().removeprefix("application/") not in allowed:
                yield Forgery(f"typ {spelling!r}", sign(key, {**header, "typ": spelling}, claims), "jws.typ")
    for value in _NO_TEXTS:
        yield Forgery(f"typ {value!r}", sign(key, {**header, "typ": value}, claims), "jws.typ")
    if "" not in allowed:
        without = {name: value for name, value in header.items() if name != "typ"}
        yield Forgery("no typ", sign(key, without, claims), "jws.typ")


def wrong_payloads(key: PrivateKey, header: Members, claims: Members) -> Iterator[Forgery]:
    """Properly signed tokens whose payload is not one strict JSON object. RFC 7519 §7.2; ABUSE J17 to J19."""
    head = to_json(header)
    for name, raw in not_objects(to_json(claims)).items():
        yield Forgery(f"payload: {name}", sign_raw(key, head, raw), "jws.claims")
    for name, raw in with_repeated_members(claims).items():
        yield Forgery(f"payload: {name}", sign_raw(key, head, raw), "jws.duplicate")
    inner = sign(key, header, claims)
    yield Forgery("payload: a token", sign_raw(key, head, inner.encode()), "jws.claims")


def all_forgeries(key: PrivateKey, header: Members, claims: Members, *, allowed: frozenset[str]) -> Iterator[Forgery]:
    """Everything above. ``allowed`` are the values of ``typ`` that the door admits."""
    yield from unsecured(key, header, claims)
    yield from signed_with_public_key(key, header, claims)
    yield from wrong_signatures(key, header, claims)
    yield from wrong_serialisations(key, header, claims)
    yield from wrong_headers(key, header, claims)
    yield from wrong_types(key, header, claims, allowed=allowed)
    yield from wrong_payloads(key, header, claims)


def _other_forms(head: str, payload: str, signature: str) -> dict[str, str]:
    json_form = {"protected": head, "payload": payload, "signature": signature}
    return {
        "flattened JSON": json.dumps(json_form),
        "general JSON": json.dumps({"payload": payload, "signatures": [json_form]}),
        "general JSON without signatures": json.dumps({"payload": payload, "signatures": []}),
        "general JSON without the member": json.dumps({"payload": payload}),
        "empty": "",
        "one segment": head,
        "two segments": f"{head}.{payload}",
        "four segments": f"{head}.{payload}.{signature}.{signature}",
        "five segments": f"{head}.{payload}.{signature}.{payload}.{signature}",
        "a dot before": f".{head}.{payload}.{signature}",
        "a dot behind": f"{head}.{payload}.{signature}.",
        "no header": f".{payload}.{signature}",
        "no payload": f"{head}..{signature}",
        "only dots": "..",
        "not ASCII": f"{head}.{payload}\u00e9.{signature}",
        "full-width dot": f"{head}\uff0e{payload}.{signature}",
        "byte order mark": f"\ufeff{head}.{payload}.{signature}",
    }


def _message(header: Members, claims: Members) -> bytes:
    return b64url_encode(to_json(header)) + b"." + b64url_encode(to_json(claims))


def _token(message: bytes, signature: bytes) -> str:
    return (message + b"." + b64url_encode(signature)).decode("ascii")


def _with_trailing_bit(segment: str) -> str:
    """Spell the same octets in another way: the last character has bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]


_NO_TEXTS: Final[tuple[object, ...]] = ("", None, 0, 1, True, False, [], ["ES256"], {})

_JUNK: Final = {
    "=": "=",
    "==": "==",
    "space": " ",
    "line feed": "\n",
    "tab": "\t",
    "+": "+",
    "/": "/",
    "~": "~",
    "NUL": "\0",
}

_TYPES: Final = (
    "JWT",
    "at+jwt",
    "client-authentication+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "logout+jwt",
    "statuslist+jwt",
    "token-introspection+jwt",
    "oauth-id-jag+jwt",
    "txntoken+jwt",
    "wit+jwt",
    "at-jwt",
    "at+jwt ",
    "x/at+jwt",
    "at+jwt+jwt",
)

_CRITS: Final[tuple[object, ...]] = ([], ["exp"], ["b32"], ["alg"], ["x", "x"], "exp", None, {}, [1], True)
_KIDS: Final[tuple[object, ...]] = (1, None, ["a"], {"a": 1}, True)
_ALGS: Final = ("HS256", "ES256K", "ES512", "RS512", "RS1", "ed25519", "es256", "RSA1_5", "dir", "ECDH-ES", "A128KW")

_WRONG_MEMBERS: Final[tuple[tuple[str, Members], ...]] = (
    *(("jws.crit", {"crit": value}) for value in _CRITS),
    *(("jws.b64", {"b64": value}) for value in (False, True, None, "false")),
    ("jws.b64", {"b64": False, "crit": ["b64"]}),
    ("jws.key_in_header", {"jwk": None}),
    ("jws.key_in_header", {"jku": "https://attacker.example/jwks.json"}),
    ("jws.key_in_header", {"x5u": "file:///etc/passwd"}),
    ("jws.key_in_header", {"x5c": ["MIIB"]}),
    ("jws.key_in_header", {"x5c": []}),
    ("jws.encrypted", {"enc": "A256GCM"}),
    ("jws.encrypted", {"zip": "DEF"}),
    *(("jws.nested", {"cty": value}) for value in ("JWT", "jwt", "application/jwt", "at+JWT", 1)),
    *(("jws.header", {"kid": value}) for value in _KIDS),
    *(("jws.algorithm", {"alg": value}) for value in _ALGS),
    ("jws.algorithm", {"alg": "PBES2-HS256+A128KW", "p2c": 2_000_000_000, "p2s": "AAAA"}),
)

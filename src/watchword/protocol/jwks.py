"""Sets of public keys, both halves: what a server publishes, what a verifier makes of another's. RFC 7517 §5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from watchword.protocol import names
from watchword.protocol.jose import LEGACY_EDDSA, InvalidKey, PublicKey, import_public_jwk

MAX_KEYS: Final = 64
"""Keys in one set. A larger set is refused whole: reading keys costs time."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one owner, by ``kid``. ``refused`` tells, for each of the others, why: the reasons of ``InvalidKey``.

    A key of another owner has no business here: the same ``kid`` may name different keys of different owners.
    """

    keys: Mapping[str, PublicKey]
    refused: tuple[str, ...] = field(default=())

    def find(self, kid: str, algorithm: str) -> PublicKey | None:
        """Return the key of exactly this ``kid``, if this is its algorithm. ``kid`` is opaque; nothing is guessed."""
        key = self.keys.get(kid)
        meant = names.ED25519 if algorithm == LEGACY_EDDSA else algorithm
        return key if key is not None and key.algorithm == meant else None


def build_jwks(keys: Iterable[Mapping[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Return the document to publish: of every key its public members, ``kid``, ``use`` and ``alg``, and nothing else.

    Raises:
        InvalidKey: key.private, and whatever else ``import_public_jwk`` refuses; key.members: ``kid`` or ``alg`` is
            missing; key.duplicate: two keys with one ``kid``.
    """
    published: dict[str, dict[str, str]] = {}
    for jwk in keys:
        key = import_public_jwk(jwk)
        if names.KID not in jwk or names.ALG not in jwk:
            raise InvalidKey("key.members")
        if key.kid in published:
            raise InvalidKey("key.duplicate")
        published[key.kid] = dict(key.jwk)
    return {"keys": list(published.values())}


def parse_jwks(document: object, *, rsa_algorithm: str | None = None) -> KeySet:
    """Return the usable keys of a JWK Set; the others are left out, as RFC 7517 §5 asks.

    Left out are also keys that come with their private half, and all keys of a ``kid`` that occurs twice.
    ``rsa_algorithm`` is for RSA keys without ``alg``, which are left out otherwise.

    Raises:
        InvalidKey: jwks.form: not an object with a ``keys`` array; jwks.size: more than ``MAX_KEYS``.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidKey("jwks.form")
    if len(entries) > MAX_KEYS:
        raise InvalidKey("jwks.size")
    usable: list[PublicKey] = []
    refused: list[str] = []
    kids: list[str] = []
    for entry in entries:
        try:
            key = _take(entry, rsa_algorithm)
        except InvalidKey as error:
            refused.append(error.reason)
            kids.append(_kid(entry))
        else:
            usable.append(key)
            kids.append(key.kid)
    taken = Counter(kids)
    keys = {key.kid: key for key in usable if taken[key.kid] == 1}
    return KeySet(keys, (*refused, *["key.duplicate"] * (len(usable) - len(keys))))


def _kid(entry: object) -> str:
    kid = entry.get(names.KID) if isinstance(entry, dict) else None
    return kid if isinstance(kid, str) else ""


def _take(entry: object, rsa_algorithm: str | None) -> PublicKey:
    if not isinstance(entry, dict):
        raise InvalidKey("key.type")
    needs_algorithm = entry.get("kty") == "RSA" and names.ALG not in entry
    return import_public_jwk(entry, algorithm=rsa_algorithm if needs_algorithm else None)

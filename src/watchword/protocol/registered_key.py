"""What an agent registers to prove itself with a key of its own: public keys, or where to find them. RFC 7591 §2, RFC 7517.

Only public halves are ever taken. A key is bound to one algorithm when it is registered (RFC 8725 §3.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.jose import LEGACY_EDDSA, InvalidKey, PublicKey, import_public_jwk
from watchword.protocol.url import InvalidUrl, check_secure_url

MAX_REGISTERED: Final = 16
"""Keys of one registered set."""

MAX_KID: Final = 256
"""Characters."""

_MEMBERS: Final = ("jwk", "jwks", "jwks_uri")
_SETTINGS: Final = (names.ALG, "strict")


class InvalidRegistration(WatchwordError):
    """What was sent cannot be registered: registered_key.form, registered_key.url, registered_key.algorithm,
    registered_key.too_many, registered_key.duplicate, registered_key.kid; or a reason of ``InvalidKey``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """The public keys of one credential, or the URL of their set.

    ``algorithm`` is the only one that its keys may be used with, empty for each key's own; RSA keys that do not say which they
    are for need it. ``is_strict``: assertions must name their type and have the audience as a plain string.
    """

    keys: tuple[PublicKey, ...] = ()
    jwks_uri: str = ""
    algorithm: str = ""
    is_strict: bool = False

    def to_details(self) -> dict[str, object]:
        """Return what is stored and shown: ``from_details`` gives the same again."""
        details: dict[str, object] = {"jwks_uri": self.jwks_uri} if self.jwks_uri else self._keys_as_stored()
        if self.algorithm:
            details[names.ALG] = self.algorithm
        if self.is_strict:
            details["strict"] = True
        return details

    def _keys_as_stored(self) -> dict[str, object]:
        jwks = [dict(key.jwk) for key in self.keys]
        return {"jwk": jwks[0]} if len(jwks) == 1 else {"jwks": {"keys": jwks}}


def from_details(details: Mapping[str, object]) -> RegisteredKey:
    """Return what is registered by exactly one of ``jwk``, ``jwks`` and ``jwks_uri``; ``alg`` and ``strict`` may stand beside.

    Every key of a set must be usable: what can never work is told when it is registered, not at the first login.

    Raises:
        InvalidRegistration: registered_key.form, registered_key.url, registered_key.algorithm, registered_key.too_many,
            registered_key.duplicate, registered_key.kid, and the reasons of ``import_public_jwk``.
    """
    given = [name for name in _MEMBERS if name in details]
    if len(given) != 1 or not set(details) <= {*_MEMBERS, *_SETTINGS}:
        raise InvalidRegistration("registered_key.form", detail="give one of jwk, jwks and jwks_uri")
    strict, algorithm = details.get("strict", False), _algorithm(details)
    if not isinstance(strict, bool):
        raise InvalidRegistration("registered_key.form", detail="strict is true or false")
    value = details[given[0]]
    if given[0] == "jwks_uri":
        return RegisteredKey(jwks_uri=_url(value), algorithm=algorithm, is_strict=strict)
    keys = _keys([value] if given[0] == "jwk" else _entries(value), algorithm)
    return RegisteredKey(keys=keys, algorithm=algorithm, is_strict=strict)


@lru_cache(maxsize=4096)
def read_details(text: str) -> RegisteredKey:
    """Return what a stored text of ``to_details`` says; importing a key is dear, so the same text is read once.

    Raises:
        InvalidRegistration, ValueError: not such a text.
    """
    return from_details(json.loads(text))


def choose_key(keys: Sequence[PublicKey], *, kid: str, algorithm: str) -> PublicKey | None:
    """Return the one key among a client's that a token names, or nothing. RFC 7515 §4.1.4.

    With a ``kid``: that of this name and algorithm. Without: the only one of this algorithm. Where two different keys fit,
    none does: nothing is tried out.
    """
    meant = names.ED25519 if algorithm == LEGACY_EDDSA else algorithm
    fitting = [key for key in keys if key.algorithm == meant and kid in ("", key.kid)]
    distinct = {tuple(sorted(key.jwk.items())) for key in fitting}
    return fitting[0] if len(distinct) == 1 else None


def _algorithm(details: Mapping[str, object]) -> str:
    value = details.get(names.ALG, "")
    if value != "" and value not in names.SIGNING_ALGORITHMS:
        raise InvalidRegistration("registered_key.algorithm")
    return str(value)


def _url(value: object) -> str:
    try:
        return check_secure_url(value if isinstance(value, str) else "", allow_loopback_http=False).text
    except InvalidUrl as error:
        raise InvalidRegistration("registered_key.url", detail=error.reason) from error


def _entries(value: object) -> list[object]:
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidRegistration("registered_key.form", detail="jwks is an object with an array of keys")
    if len(entries) > MAX_REGISTERED:
        raise InvalidRegistration("registered_key.too_many")
    return entries


def _keys(entries: Sequence[object], algorithm: str) -> tuple[PublicKey, ...]:
    keys = tuple(_import(entry, algorithm) for entry in entries)
    if len({key.kid for key in keys}) < len(keys):
        raise InvalidRegistration("registered_key.duplicate")
    return keys


def _import(entry: object, algorithm: str) -> PublicKey:
    if not isinstance(entry, dict):
        raise InvalidRegistration("registered_key.form", detail="a key is a JSON object")
    try:
        key = import_public_jwk(entry, algorithm=algorithm or None)
    except InvalidKey as error:
        raise InvalidRegistration(error.reason, detail=error.detail) from error
    if len(key.kid) > MAX_KID:
        raise InvalidRegistration("registered_key.kid")
    return key

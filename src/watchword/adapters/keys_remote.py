"""What every custody elsewhere has in common: a key as it is stored, and the way it is found again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.ports.keys import KeyState, SigningKey


def new_key(
    algorithm: str, public_jwk: Mapping[str, str], reference: Mapping[str, str], *, now: datetime
) -> SigningKey:
    """Return a key that was just made elsewhere; ``reference`` is what its custody needs to find it."""
    return SigningKey(
        kid=public_jwk["kid"],
        algorithm=algorithm,
        state=KeyState.PREPARED,
        public_jwk=dict(public_jwk),
        created_at=now,
        sealed=json.dumps(reference, separators=(",", ":"), sort_keys=True).encode(),
    )


def read_reference(key: SigningKey, *members: str) -> tuple[str, ...]:
    """Return these members of the reference.

    Raises:
        NoSigningKey: keys.reference: it is not one that this custody wrote.
    """
    try:
        reference = json.loads(key.sealed)
    except ValueError:
        reference = None
    if isinstance(reference, dict) and reference.keys() == set(members):
        values = tuple(reference[member] for member in members)
        if all(isinstance(value, str) for value in values):
            return values
    raise NoSigningKey("keys.reference", detail=f"key {key.kid} has no reference of this custody")


def check_supported(algorithm: str, supported: Mapping[str, object], custody: str) -> None:
    """Return if keys of this algorithm can be had there.

    Raises:
        NoSigningKey: keys.algorithm.
    """
    if algorithm not in supported:
        names = ", ".join(supported)
        raise NoSigningKey("keys.algorithm", detail=f"{custody} has no keys for {algorithm!r}; it has them for {names}")


def refused(reason: str, detail: str) -> CustodyUnavailable | NoSigningKey:
    """Return the fault: that of one key, where the reason is ``keys.…``, or else of its custody."""
    return (NoSigningKey if reason.startswith("keys.") else CustodyUnavailable)(reason, detail=detail)


def refuse_answer(what: str, cause: Exception | None = None) -> NoReturn:
    """Refuse an answer that is not what its custody promises to say.

    Raises:
        CustodyUnavailable: custody.answer.
    """
    raise CustodyUnavailable("custody.answer", detail=what) from cause

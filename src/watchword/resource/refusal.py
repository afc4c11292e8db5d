"""The answers of a protected resource that does not let a request in: RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watchword.errors import (
    InsufficientScope,
    InvalidDpopProof,
    InvalidToken,
    MethodNotAllowed,
    OAuthError,
    UseDpopNonce,
)
from watchword.protocol import names
from watchword.protocol.challenge import build_challenge
from watchword.protocol.descriptions import describe

if TYPE_CHECKING:
    from watchword.resource.possession import Possession

RETRY_AFTER_SECONDS: Final = 5
NO_CREDENTIALS: Final = frozenset({"token.missing", "token.scheme"})
"""Reasons for which no error is named: the client may not have known that a token is needed (RFC 6750 §3.1)."""

NOT_VALID: Final = "token.not_valid"
"""One sentence for every token that was sent and not accepted: which check failed is for the log of this side."""

_TOLD: Final = NO_CREDENTIALS | {"token.no_proofs"}
"""What is said all the same, for it is of this API and not of the token."""

_COMMON: Final = (("content-type", "application/json"), ("cache-control", "no-store"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A complete answer, for any framework. Header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def build_refusal(
    error: Exception,
    *,
    realm: str,
    resource_metadata: str = "",
    scopes: Iterable[str] = (),
    possession: Possession | None = None,
    scheme: str = "",
) -> Refusal:
    """Return the answer to a request that was not let in because of ``error``.

    ``scopes`` is what the request would have needed, as far as that is known; ``resource_metadata`` is the URL of the
    RFC 9728 document. ``possession`` is the verifier's: it says which schemes are challenged for. ``scheme`` is the one that
    the request used, whose challenge tells the error. An error that is no ``OAuthError`` is a fault of this side: 503, and no
    word about it.
    """
    if not isinstance(error, OAuthError):
        return _build_unavailable()
    description = _describe(error)
    status = 401 if isinstance(error, InvalidDpopProof) else error.status
    members = {names.ERROR_DESCRIPTION: description}
    if error.reason not in NO_CREDENTIALS:
        members = {names.ERROR: error.error, **members}
    common = {}
    needed = error.scope if isinstance(error, InsufficientScope) else tuple(scopes)
    if needed and status in (401, 403):
        common[names.SCOPE] = " ".join(needed)
    if resource_metadata:
        common["resource_metadata"] = resource_metadata
    headers = [*_COMMON]
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", error.allow))
    else:
        said = members if names.ERROR in members else {}
        is_dpop = isinstance(error, InvalidDpopProof) or scheme.lower() == names.DPOP.lower()
        headers.append(("www-authenticate", _challenges(realm, said, common, possession, is_dpop=is_dpop)))
    if isinstance(error, UseDpopNonce):
        headers.append((names.DPOP_NONCE_HEADER, error.nonce))
    return Refusal(status, tuple(headers), _encode(members))


def _challenges(
    realm: str, error: Mapping[str, str], common: Mapping[str, str], possession: Possession | None, *, is_dpop: bool
) -> str:
    """Return a challenge for every scheme that is taken here; the error stands in that of the scheme that was used.

    One header: RFC 9110 §11.6.1 allows it, and no framework loses a part of it. RFC 9449 §7.1, §7.2.
    """
    algorithms = possession.dpop_algorithms if possession is not None else ()
    built: list[str] = []
    if possession is None or not possession.is_required or not algorithms:
        said = {} if is_dpop and algorithms else error
        built.append(build_challenge(names.BEARER, {"realm": realm, **said, **common}))
    if algorithms:
        said = error if is_dpop or not built else {}
        challenge = build_challenge(names.DPOP, {"realm": realm, **said, **common, "algs": " ".join(algorithms)})
        built.insert(0 if is_dpop else len(built), challenge)
    return ", ".join(built)


def _describe(error: OAuthError) -> str:
    if isinstance(error, InvalidToken) and error.reason not in _TOLD:
        return describe(NOT_VALID, {})
    return describe(error.reason, error.facts)


def _build_unavailable() -> Refusal:
    members = {
        names.ERROR: "temporarily_unavailable",
        names.ERROR_DESCRIPTION: describe("verifier.unavailable", {}),
    }
    return Refusal(503, (*_COMMON, ("retry-after", str(RETRY_AFTER_SECONDS))), _encode(members))


def _encode(members: dict[str, str]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()

"""The answers of a protected resource that does not let a request in: RFC 6750 §3, RFC 9728 §5.1."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from watchword.errors import InsufficientScope, InvalidToken, MethodNotAllowed, OAuthError
from watchword.protocol import names
from watchword.protocol.challenge import build_challenge
from watchword.protocol.descriptions import describe

RETRY_AFTER_SECONDS: Final = 5
NO_CREDENTIALS: Final = frozenset({"token.missing", "token.scheme"})
"""Reasons for which no error is named: the client may not have known that a token is needed (RFC 6750 §3.1)."""

NOT_VALID: Final = "token.not_valid"
"""One sentence for every token that was sent and not accepted: which check failed is for the log of this side."""

_COMMON: Final = (("content-type", "application/json"), ("cache-control", "no-store"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A complete answer, for any framework. Header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def build_refusal(error: Exception, *, realm: str, resource_metadata: str = "", scopes: Iterable[str] = ()) -> Refusal:
    """Return the answer to a request that was not let in because of ``error``.

    ``scopes`` is what the request would have needed, as far as that is known; ``resource_metadata`` is the URL of the
    RFC 9728 document. An error that is no ``OAuthError`` is a fault of this side: 503, and no word about it.
    """
    if not isinstance(error, OAuthError):
        return _build_unavailable()
    description = _describe(error)
    members = {names.ERROR_DESCRIPTION: description}
    parameters = {"realm": realm}
    if error.reason not in NO_CREDENTIALS:
        members = {names.ERROR: error.error, **members}
        parameters |= members
    needed = error.scope if isinstance(error, InsufficientScope) else tuple(scopes)
    if needed and error.status in (401, 403):
        parameters[names.SCOPE] = " ".join(needed)
    if resource_metadata:
        parameters["resource_metadata"] = resource_metadata
    headers = [*_COMMON]
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", error.allow))
    else:
        headers.append(("www-authenticate", build_challenge(names.BEARER, parameters)))
    return Refusal(error.status, tuple(headers), _encode(members))


def _describe(error: OAuthError) -> str:
    if isinstance(error, InvalidToken) and error.reason not in NO_CREDENTIALS:
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

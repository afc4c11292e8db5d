"""Which resource a token is for: ``resource`` (RFC 8707 §2), ``audience``, or what the scopes say.

A token has exactly one audience. Identifiers are compared as they were sent: no case folding, no slash added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from watchword.errors import InvalidTarget
from watchword.protocol.url import InvalidUrl, check_secure_url

MAX_IDENTIFIER: Final = 512
"""Characters."""

_NAMED_IN_MESSAGES = 5
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*:(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~\-]*")
_HTTP = re.compile(r"https?:", re.IGNORECASE)


def parse_target(resources: tuple[str, ...], audiences: tuple[str, ...]) -> str | None:
    """Return the one resource that a request names, or nothing where it names none.

    Raises:
        InvalidTarget: target.several, target.syntax, target.fragment, target.insecure, target.disagree.
    """
    if len(resources) > 1 or len(audiences) > 1:
        raise InvalidTarget("target.several")
    named = {_check_uri(text) for text in resources} | {check_identifier(text) for text in audiences}
    if len(named) > 1:
        raise InvalidTarget("target.disagree")
    return named.pop() if named else None


def check_identifier(text: str) -> str:
    """Return the identifier if a resource may have it: a plain name such as ``my-api``, or an absolute URI.

    Raises:
        InvalidTarget: target.syntax, target.fragment, target.insecure.
    """
    if len(text) <= MAX_IDENTIFIER and _PLAIN_NAME.fullmatch(text):
        return text
    return _check_uri(text)


def choose_resource(
    named: str | None, scopes: tuple[str, ...], owned: Mapping[str, frozenset[str]], default: str | None
) -> str:
    """Return the identifier of the resource the token is for.

    The one that is named; else the only one that owns every scope asked for; else the agent's default.
    ``owned`` maps the identifiers this agent has a permission for to the scopes of each.

    Raises:
        InvalidTarget: target.unknown, target.ambiguous.
    """
    if named is not None:
        if named not in owned:
            raise InvalidTarget("target.unknown")
        return named
    candidates = [identifier for identifier, names in owned.items() if names.issuperset(scopes)]
    if len(candidates) == 1:
        return candidates[0]
    if default is not None and default in owned:
        return default
    raise InvalidTarget("target.ambiguous", facts={"resources": _enumerate(candidates or list(owned))})


def _check_uri(text: str) -> str:
    if "#" in text:
        raise InvalidTarget("target.fragment")
    if len(text) > MAX_IDENTIFIER or _URI.fullmatch(text) is None:
        raise InvalidTarget("target.syntax")
    if _HTTP.match(text):
        _check_url(text)
    return text


def _check_url(text: str) -> None:
    try:
        check_secure_url(text, allow_loopback_http=True)
    except InvalidUrl as error:
        raise InvalidTarget("target.insecure" if error.reason == "url.insecure" else "target.syntax") from None


def _enumerate(identifiers: list[str]) -> str:
    """Name the first few: the agent is authenticated, and these are its own."""
    shown = sorted(identifiers)[:_NAMED_IN_MESSAGES]
    more = len(identifiers) - len(shown)
    return (", ".join(shown) or "none: it has no permission yet") + (f" and {more} more" if more else "")
